"""Failures that are expected: they become one sentence for the user. Anything else is a bug and keeps its traceback."""

import os


class AshError(ValueError):
    """Base of every expected failure: what is wrong, where, and what to do, in one or two sentences.

    The explorer and the command line show the sentence. An exception that is neither this nor an `OSError` is a fault
    of the program: it is logged with its traceback and called unexpected.
    """


class MethodError(AshError):
    """A method's text does not parse, or a method cannot be used as asked; the message says why, and what can be."""


EXPECTED = (AshError, OSError)  # a disk that is full, read-only or gone is nobody's bug either


def sentence(error: AshError | OSError) -> str:
    """What to tell a user of an expected failure."""
    if isinstance(error, AshError):
        return str(error)
    reason = error.strerror or str(error) or type(error).__name__
    files = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return f"{' -> '.join(files)}: {reason}." if files else f"The system refused a file or a connection: {reason}."
