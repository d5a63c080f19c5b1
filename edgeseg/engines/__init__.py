"""Runtimes behind one seam: a batch of uint8 RGB pictures in, named arrays out."""
