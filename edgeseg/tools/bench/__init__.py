"""Bench: measures edgeseg on this machine, beside other ways of doing the same work."""
