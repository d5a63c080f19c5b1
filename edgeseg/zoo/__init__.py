"""The model zoo: networks, training, export. Needs the extra ``zoo``; the daemon never imports it."""
