"""System: the machine around the daemon. Imports errors and clock alone."""
