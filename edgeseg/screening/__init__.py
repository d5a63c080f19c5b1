"""Screening: the motion gate, and picture health."""
