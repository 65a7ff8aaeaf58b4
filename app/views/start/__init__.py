"""Start: the short way through the lessons, for who has never heard of it."""
