"""A guide's Markdown, as the page shows it: title, sections with anchors, links turned to where they lead. Pure.

The files are written for whoever reads them in the repository: they link to each other as files.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
START = "start"  # the name of the README
_CODE = r"^```.*?^```$|`[^`\n]*`"  # left as it is
_HEADING = re.compile(rf"{_CODE}|^(?P<marks>##?) (?P<heading>[^\n]+)$", re.MULTILINE | re.DOTALL)
# Pictures and comments of the repository's pages; Streamlit would show both as they are written.
_UNSHOWN = re.compile(rf"(?P<code>{_CODE})|<!--.*?-->\n?|<picture>.*?</picture>\n?", re.MULTILINE | re.DOTALL)
_LINK = re.compile(rf"(?P<code>{_CODE})|\[(?P<label>[^\]]+)\]\((?P<target>[^)\s]+)\)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Section:
    """A part of a guide below a heading of its own; `anchor` is that of its heading, as GitHub makes it."""

    heading: str
    anchor: str
    text: str


@dataclass(frozen=True)
class Guide:
    """One guide: its title, what stands before the first heading, and the sections."""

    title: str
    intro: str
    sections: tuple[Section, ...]


def path_of(name: str) -> Path:
    """The file of a guide."""
    return ROOT / "README.md" if name == START else ROOT / "app" / "guide" / f"{name}.md"


@cache
def read(name: str) -> Guide:
    """The guide of this name, without what is only for the repository; links still lead to files."""
    text = _UNSHOWN.sub(lambda found: found["code"] or "", path_of(name).read_text(encoding="utf-8"))
    heads = [found for found in _HEADING.finditer(text) if found["marks"]]
    ends = [head.start() for head in heads[1:]] + [len(text)]
    title, *sections = (
        Section(head["heading"], anchor(head["heading"]), text[head.end() : end].strip())
        for head, end in zip(heads, ends, strict=True)
    )
    return Guide(title.heading, title.text, tuple(sections))


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading: `Against the authors' code` -> `against-the-authors-code`."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def links(text: str) -> list[str]:
    """Where the links of a text lead, in order."""
    return [found["target"] for found in _LINK.finditer(text) if found["target"]]


def with_links(text: str, name: str, names: tuple[str, ...], address: Callable[[str, str], str]) -> str:
    """The text of guide `name` with its links turned.

    A link to one of the guides `names` leads to `address(guide, anchor)`. Other files of the repository are not served:
    they are named instead. Links to the web stay.
    """
    guides = {path_of(one): one for one in names}

    def turned(found: re.Match[str]) -> str:
        target = found["target"]
        if found["code"] or "://" in target or target.startswith("#"):
            return found[0]
        file, _, place = target.partition("#")
        path = Path(os.path.normpath(path_of(name).parent / file))
        if path in guides:
            return f"[{found['label']}]({address(guides[path], place)})"
        shown = path.relative_to(ROOT).as_posix()
        return f"`{shown}`" if found["label"] == shown else f"{found['label']} (`{shown}`)"

    return _LINK.sub(turned, text)
