"""Shared parts of the commands: options that several have, and terminal output."""
