"""The template of the lesson texts, small and strict: values, words that depend on a fact, and nothing else.

    {name}                               the value of that name
    {if fact}...{end}                    only where the fact holds
    {if fact}...{else}...{end}           one or the other
    {if not fact}...{end}

Conditions do not nest. A name that is not known, or a brace that is not one of these, is an error.
"""

import re
from collections.abc import Mapping

_CONDITION = re.compile(r"\{if (not )?([a-z_]+)\}(.*?)(?:\{else\}(.*?))?\{end\}", re.DOTALL)
_VALUE = re.compile(r"\{([a-z_]+)\}")


class TemplateError(ValueError):
    """A text asks for what is not there; the message names it."""


def fill(text: str, values: Mapping[str, str], facts: Mapping[str, bool]) -> str:
    """The text with its conditions decided and its values filled in."""

    def decide(found: re.Match[str]) -> str:
        negated, name, yes, no = found.groups()
        if name not in facts:
            raise TemplateError(f"There is no fact '{name}'; known: {', '.join(sorted(facts))}.")
        return yes if facts[name] != bool(negated) else no or ""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise TemplateError(f"There is no value '{found[1]}'; known: {', '.join(sorted(values))}.")
        return values[found[1]]

    decided = _CONDITION.sub(decide, text)
    rest = _VALUE.sub("", decided)
    if stray := re.search(r"[{}].{0,30}", rest):
        raise TemplateError(f"'{stray[0]}' is neither a value nor a condition.")
    return re.sub(r"[ \t]{2,}", " ", _VALUE.sub(value, decided))


def names(text: str) -> tuple[set[str], set[str]]:
    """The values and the facts that a text asks for, in whatever branch."""
    facts = {found[2] for found in _CONDITION.finditer(text)}
    words = set(_VALUE.findall(text)) - {"else", "end"}
    return words, facts


def without(text: str) -> str:
    """The text without anything in braces: what is typed."""
    return re.sub(r"\{[^{}]*\}", "", text)
