"""Home Assistant: discovery of the entities of a node."""
