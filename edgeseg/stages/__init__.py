"""Stages: what happens to a frame between the decoder and the rules."""
