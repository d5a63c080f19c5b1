"""Sources: one file for each kind, all behind ``Source``."""
