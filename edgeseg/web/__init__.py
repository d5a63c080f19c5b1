"""Web: dashboard, HTTP API, metrics and health of a node, in threads of their own.

``routes`` is the table of paths, ``schemas`` their JSON; together they are /openapi.json. ``handlers`` answer
and know no HTTP library; ``server`` and ``streaming`` alone import aiohttp; ``site`` puts it all together.
``latest``, ``picture_cache``, ``history_recorder`` and ``live_feed`` take events and never make the pipeline
wait.
"""
