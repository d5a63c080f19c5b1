"""READ ME FIRST: frame in, events out."""
