"""The commands of `python -m ash`, a module for each topic; shared parts are in `shared` and `evaluating`."""
