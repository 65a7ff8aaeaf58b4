"""Lessons and questions: their texts (`texts`), the small template they are written in (`template`), their numbers.

A text in `app/copy` holds no number: every one is a placeholder, computed for the network that is chosen.
"""
