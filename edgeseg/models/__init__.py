"""Models: which networks there are, where they are, what runs them."""
