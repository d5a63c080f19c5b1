"""Where pictures come from: one file for each kind, all behind ``Source``."""
