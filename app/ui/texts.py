"""The texts of `app/copy`: lessons and questions, read once and checked when they are read."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "copy"
CONTROLS = frozenset({"preset", "model", "placement", "variant", "p", "sets"})  # of the sidebar
START = frozenset({"model", "variant", "p", "sets"})  # beside the picture that is followed
PREDICT = frozenset({"model", "sets"})  # beside the questions of the Shape lab
_SHOWN = re.compile(r"^\[(chart|predict|pictures): ([a-z_]+)\]$", re.MULTILINE)
_PACE = 170  # words a minute, read with care
_CHART_MINUTES = 1.0  # to look at a chart and move its control


@dataclass(frozen=True)
class Lesson:
    """One lesson: `line` says in one sentence what it is about.

    `view` is the page of the explorer that it opens, `loads` the variant that it loads there.

    `controls`: what the sidebar shows. `parts`: (kind, text) in order; kind is `text` (markdown), `chart`, `predict`
    or `pictures` (the name of a chart or control, of a question, of pictures of sets).
    """

    id: str
    title: str
    question: str
    line: str
    view: str
    loads: str
    controls: frozenset[str]
    parts: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """All that is written, with its placeholders."""
        written = "\n\n".join(text for kind, text in self.parts if kind == "text")
        return "\n\n".join((self.title, self.question, self.line, written))

    @property
    def minutes(self) -> int:
        """How long it takes to read it and to look at its charts."""
        charts = sum(kind in ("chart", "predict") for kind, _ in self.parts)
        return max(1, round(len(self.text.split()) / _PACE + _CHART_MINUTES * charts))


@dataclass(frozen=True)
class Question:
    """A question with three answers, id -> text; by which number it is judged; the paragraph that explains it."""

    id: str
    title: str
    question: str
    answers: dict[str, str]
    judged: str
    why: str

    @property
    def text(self) -> str:
        """All that is written, with its placeholders."""
        return "\n\n".join((self.title, self.question, *self.answers.values(), self.judged, self.why))


class CopyError(ValueError):
    """A file of `app/copy` is not written as it should be."""


@cache
def lessons() -> dict[str, Lesson]:
    """Lesson id -> lesson, in the order of the files."""
    return {one.id: one for one in (_lesson(path) for path in sorted(FOLDER.glob("lesson_*.md")))}


@cache
def questions() -> dict[str, Question]:
    """Question id -> question, in the order of the files."""
    return {one.id: one for one in (_question(path) for path in sorted(FOLDER.glob("question_*.md")))}


def controls(lesson: str) -> frozenset[str] | None:
    """What the sidebar shows beside a lesson; None for all of it, where no lesson is open."""
    return lessons()[lesson].controls if lesson in lessons() else None


def _lesson(path: Path) -> Lesson:
    head, body = _read(path)
    wanted = frozenset(head["controls"].replace(",", " ").split())
    if not wanted <= CONTROLS:
        raise CopyError(f"{path.name}: the sidebar has no {', '.join(sorted(wanted - CONTROLS))}.")
    parts, end = [], 0
    for found in _SHOWN.finditer(body):
        parts += [("text", body[end : found.start()].strip()), (found[1], found[2])]
        end = found.end()
    parts.append(("text", body[end:].strip()))
    return Lesson(
        id=head["id"],
        title=head["title"],
        question=head["question"],
        line=head["line"],
        view=head["view"],
        loads=head["loads"],
        controls=wanted,
        parts=tuple(part for part in parts if part[1]),
    )


def _question(path: Path) -> Question:
    head, body = _read(path)
    answers = {key.removeprefix("answer_"): text for key, text in head.items() if key.startswith("answer_")}
    if len(answers) != 3:
        raise CopyError(f"{path.name} has {len(answers)} answers, not three.")
    return Question(head["id"], head["title"], head["question"], answers, head["judged"], body)


def _read(path: Path) -> tuple[dict[str, str], str]:
    """The lines `key: text` between two lines `---`, and what follows."""
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    return dict(line.split(": ", 1) for line in front.strip().splitlines()), body.strip()
