"""Picture health: detects covered, blurred, moved, frozen, dark and blown out cameras."""
