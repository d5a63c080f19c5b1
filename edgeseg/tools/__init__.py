"""Tools: what commands alone use. The daemon imports none of it."""
