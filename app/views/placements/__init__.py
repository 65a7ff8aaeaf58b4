"""Placements: the same methods at every point of the network."""
