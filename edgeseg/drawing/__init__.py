"""Drawing: overlays on pictures, and videos of them."""
