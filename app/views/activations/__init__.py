"""Activations: before and after shaping."""
