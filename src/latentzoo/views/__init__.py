"""Scenes seen from elsewhere: one convention of cameras, orbits, surfaces."""
