"""The kinds of fields a `RunSpec` has: default, URL key, what a link may say. No streamlit, no torch."""

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from ash.names import OF_TIMM, why_no_name

LEAST_SHARE = 0.001  # percent: one of 100,000 images
OFF = -1.0  # a budget of accuracy when any loss is fine
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,79}")  # of models, placements, questions, lessons
_TEXT = 80  # characters of a free text
_MOST_NAMES = 200  # of a list: the longest real one is all places where a network can be cut
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,20})?|\.[0-9]{1,20})(e[+-]?[0-9]{1,3})?", re.IGNORECASE | re.ASCII)
_SMALLEST, _LARGEST = 1e-38, 3.5e38  # a score is a float32: no number beyond its range can be meant


@dataclass(frozen=True)
class Key:
    """How one field is written in a link: `parse` raises ValueError on anything `wanted` does not describe."""

    key: str
    wanted: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str] = str


def choice(key: str, default: str, allowed: Collection[str], wanted: str) -> Any:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return field(default=default, metadata={"link": Key(key, f"{wanted} ({', '.join(allowed)})", parse)})


def name(key: str, default: str, wanted: str) -> Any:
    """The name of something the server knows, checked by `settle`; an empty text is the default."""

    def parse(text: str) -> str:
        if text and not _NAME.fullmatch(text):
            raise ValueError(text)
        return text or default

    return field(default=default, metadata={"link": Key(key, wanted, parse)})


def model(key: str, default: str) -> Any:
    """The name of a model, as `name`, or of one of timm's or of the model hub's; an empty text is the default."""

    def parse(text: str) -> str:
        if text and not _NAME.fullmatch(text) and not OF_TIMM.fullmatch(text):
            raise ValueError(text)
        return text or default

    return field(default=default, metadata={"link": Key(key, "a model name", parse)})


def set_name(key: str, default: str, wanted: str, *words: str) -> Any:
    """The name of a data set, checked by `settle`, or one of some reserved words; an empty text is the default."""

    def parse(text: str) -> str:
        if text and text not in words and why_no_name(text):
            raise ValueError(text)
        return text or default

    return field(default=default, metadata={"link": Key(key, wanted, parse)})


def names(key: str, wanted: str, empty: str, allowed: Callable[[str], object] = _NAME.fullmatch) -> Any:
    """Several names that are `allowed`, () by default; `empty` is how that is written."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split(","))) if text not in ("", empty) else ()
        if len(names) > _MOST_NAMES or not all(map(allowed, names)):
            raise ValueError(text)
        return names

    return field(default=(), metadata={"link": Key(key, wanted, parse, lambda names: ",".join(names) or empty)})


def set_names(key: str, wanted: str, empty: str) -> Any:
    """Several names of data sets."""
    return names(key, wanted, empty, lambda name: not why_no_name(name))


def read_number(text: str) -> float:
    """The number that a text says in plain decimal or scientific notation; ValueError where no link can mean it."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    zero = value == 0 and not re.search("[1-9]", text.lower().split("e")[0])
    if not (zero or _SMALLEST <= abs(value) <= _LARGEST):
        raise ValueError(text)
    return value + 0.0  # turns -0.0 into 0.0


def write_number(value: float) -> str:
    """The shortest text that reads back as exactly this number: `65`, `66.7`."""
    return str(int(value)) if float(value).is_integer() else repr(value)


def number(key: str, default: float, wanted: str, allowed: Callable[[float], bool]) -> Any:
    """A finite number that `allowed` admits."""

    def parse(text: str) -> float:
        value = read_number(text)
        if not allowed(value):
            raise ValueError(text)
        return value

    return field(default=default, metadata={"link": Key(key, wanted, parse, write_number)})


def budget(key: str) -> Any:
    """Points of accuracy that may be lost, or `OFF`, which is the default."""

    def parse(text: str) -> float:
        value = OFF if text in ("", "off") else read_number(text)
        if value not in (OFF, 0) and not LEAST_SHARE <= value <= 100:
            raise ValueError(text)
        return value

    def write(value: float) -> str:
        return "off" if value == OFF else write_number(value)

    return field(default=OFF, metadata={"link": Key(key, "'off' or points of accuracy in [0, 100]", parse, write)})


def index(key: str, wanted: str) -> Any:
    """A whole number of at most nine digits; 0 by default."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValueError(text)
        return int(text)

    return field(default=0, metadata={"link": Key(key, wanted, parse)})


def flag(key: str) -> Any:
    """Yes or no; no by default."""

    def parse(text: str) -> bool:
        if text not in ("0", "1"):
            raise ValueError(text)
        return text == "1"

    return field(default=False, metadata={"link": Key(key, "0 or 1", parse, lambda value: str(int(value)))})


def text(key: str, wanted: str) -> Any:
    """A short line of printable text; "" by default."""

    def parse(text: str) -> str:
        if len(text) > _TEXT or not text.isprintable():
            raise ValueError(text)
        return text.strip()

    wanted = f"{wanted} of at most {_TEXT} characters"
    return field(default="", metadata={"link": Key(key, wanted, parse)})


def interval(key: str, wanted: str) -> Any:
    """Two finite numbers, low <= high; () by default, which is everything."""

    def parse(text: str) -> tuple[float, ...]:
        if text in ("", "all"):
            return ()
        low, high = map(read_number, text.split(","))
        if low > high:
            raise ValueError(text)
        return low, high

    def write(value: tuple[float, ...]) -> str:
        return ",".join(write_number(one) for one in value) or "all"

    return field(default=(), metadata={"link": Key(key, wanted, parse, write)})
