"""Lessons: short ones, with the numbers of the chosen network."""
