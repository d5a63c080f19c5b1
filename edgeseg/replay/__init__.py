"""Replay: runs a clip through a pipeline and compares what it publishes."""
