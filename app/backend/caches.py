"""Streamlit's caches as this program uses them: no spinner, and what most functions take is hashed by its text."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import streamlit as st

if TYPE_CHECKING:
    from streamlit.runtime.caching.cache_utils import CachedFunc

P = ParamSpec("P")
R = TypeVar("R")
# Their text costs a tenth of all their fields, one by one.
_BY_TEXT: dict[str | type[Any], Callable[[Any], Any]] = {
    "app.backend.setups.Setup": repr,
    "ash.bank.BankIdentity": repr,
}


def cache_data(
    max_entries: int | None = None, ttl: float | None = None
) -> Callable[[Callable[P, R]], "CachedFunc[P, R]"]:
    """`st.cache_data`: every caller gets a copy."""
    return st.cache_data(max_entries=max_entries, ttl=ttl, show_spinner=False, hash_funcs=_BY_TEXT)


def cache_resource(
    max_entries: int | None = None, ttl: float | None = None
) -> Callable[[Callable[P, R]], "CachedFunc[P, R]"]:
    """`st.cache_resource`: all callers get the same object, which nobody changes."""
    return st.cache_resource(max_entries=max_entries, ttl=ttl, show_spinner=False, hash_funcs=_BY_TEXT)
