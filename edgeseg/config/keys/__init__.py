"""YAML keys: one file a key, with its schema, bounds, defaults and builder."""
