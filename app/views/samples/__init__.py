"""Samples: images that a method accepts, rejects, rescues or breaks."""
