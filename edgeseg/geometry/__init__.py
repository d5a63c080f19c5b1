"""Geometry: pure mathematics of polygons, ground planes and camera views."""
