"""Runtime: keeps the cameras of a node going."""
