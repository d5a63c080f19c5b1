"""The web server: dashboard, HTTP API, metrics and health, in a thread of its own.

``routes`` is the table of what there is, ``shapes`` the JSON of it, and both together are /openapi.json.
``telling``, ``showing``, ``keeping`` and ``doing`` answer, and know no HTTP library; ``server`` alone imports
aiohttp, ``site`` puts all together. ``board``, ``album``, ``chronicle`` and ``feed`` take what the pipeline
gives and never make it wait.
"""
