"""Streamlit's caches as this program uses them: no spinner, and what most functions take is hashed by its text."""

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

import streamlit as st

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
# Their text costs a tenth of all their fields, one by one.
_BY_TEXT: dict[str | type[Any], Callable[[Any], Any]] = {
    "app.backend.setups.Setup": repr,
    "ash.bank.BankIdentity": repr,
}


class Cached(Protocol[P, R]):
    """A function whose results are kept."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def clear(self, *args: Any, **kwargs: Any) -> None:
        """Forget them all, or that of these arguments."""


def cache_data(max_entries: int | None = None, ttl: float | None = None) -> Callable[[Callable[P, R]], Cached[P, R]]:
    """`st.cache_data`: every caller gets a copy."""
    return st.cache_data(max_entries=max_entries, ttl=ttl, show_spinner=False, hash_funcs=_BY_TEXT)


def cache_resource(
    max_entries: int | None = None, ttl: float | None = None
) -> Callable[[Callable[P, R]], Cached[P, R]]:
    """`st.cache_resource`: all callers get the same object, which nobody changes."""
    return st.cache_resource(max_entries=max_entries, ttl=ttl, show_spinner=False, hash_funcs=_BY_TEXT)
