"""Inference on other machines: which server, a second try, and what takes over while there is none.

``engine: kserve`` of a pipeline file. ``engines.kserve`` speaks with one server; here several are one engine.
"""

from edgeseg.kserve.remote_engine import RemoteEngine, open_remote

__all__ = ["RemoteEngine", "open_remote"]
