"""Guide: the README and the texts of `app/guide`."""
