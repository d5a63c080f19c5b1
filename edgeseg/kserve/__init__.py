"""KServe: inference on other machines, with several servers and a local fallback.

``engine: kserve`` of a pipeline file. ``kserve.client`` talks to one server; ``RemoteEngine`` makes several
servers and the fallback engine one ``Engine``. ``kserve.server`` is the other half, for ``edgeseg serve``.
"""

from edgeseg.kserve.remote_engine import RemoteEngine, open_remote

__all__ = ["RemoteEngine", "open_remote"]
