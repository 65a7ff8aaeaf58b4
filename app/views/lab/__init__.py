"""Shape lab: the algorithms step by step."""
