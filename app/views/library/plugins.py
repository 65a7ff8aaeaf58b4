"""What the user's plug-ins bring, and what is wrong with them: file, line, reason."""

import streamlit as st

from app.backend import library
from app.errors import plain
from app.theme import count


def draw() -> None:
    """One line of what the plug-ins bring and a box of what is wrong; nothing where there are none."""
    contents = library.plugin_contents()
    if not contents:
        return
    with st.spinner("Trying the models and data sets of the plug-ins"):
        problems = library.plugin_problems()
    brought = [f"{file} brings {words(names)}" for file, names in contents.items() if names]
    if brought:
        st.caption(f":material/extension: {plain('; '.join(brought))}.")
    if problems:
        number = (
            "A plug-in has a problem" if len(problems) == 1 else f"The plug-ins have {count(len(problems))} problems"
        )
        lines = "".join(f"\n* {plain(problem)}" for problem in problems)
        st.warning(f"{number}; everything else works.\n{lines}", icon=":material/extension_off:")


def words(names: dict[str, tuple[str, ...]]) -> str:
    """`the model mine and the data sets a and b`."""
    parts = [f"the {kind}{'s' if len(some) > 1 else ''} {_listed(some)}" for kind, some in names.items()]
    return _listed(parts)


def _listed(some: tuple[str, ...] | list[str]) -> str:
    return " and ".join(filter(None, [", ".join(some[:-1]), some[-1]]))
