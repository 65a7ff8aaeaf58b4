"""One clear sentence instead of a traceback: the sentence of an expected failure, an id in the log for a bug."""

import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from ash.errors import EXPECTED, sentence

_LOG = logging.getLogger("ash.app")


def plain(text: str) -> str:
    """Text for a Streamlit element that reads markdown, shown as it is written, but what is in `backticks` as code.

    So a command in a sentence can be copied: as text Streamlit makes a dash of its ` -- `, escaped or not.
    """
    return re.sub(r"(?<!`)(`[^`\n]+`)(?!`)|([\\`*_{}\[\]()<>#+!|$~:-])", lambda one: one[1] or f"\\{one[2]}", text)


@contextmanager
def boundary() -> Iterator[None]:
    """Show an error of the block as a sentence. Every page runs inside one; a fragment needs its own."""
    try:
        yield
    except EXPECTED as error:
        _LOG.info("told to a user", exc_info=True)  # an OSError may still be worth a look
        st.error(plain(sentence(error)), icon=":material/error:")
    except Exception:
        number = uuid.uuid4().hex[:8]
        _LOG.exception("error %s", number)
        st.error(
            f"This page hit an unexpected error (id {number}). Reset the settings in the sidebar or reload the page; "
            "if it comes back, look for the id in the server's log.",
            icon=":material/error:",
        )
