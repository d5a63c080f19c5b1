"""Sandbox: Landlock and seccomp around a camera process."""
