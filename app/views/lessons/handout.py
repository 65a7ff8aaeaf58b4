"""A lesson on paper: one HTML file with its pictures as SVG, which needs no network and prints on A4."""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import pandas as pd

from app.charts.line_chart import Against, Line, Spot, finding
from app.theme import PAPER

Place = Callable[[float, float], Spot]  # of a point in the picture
WIDE, HIGH = 640, 300  # of a picture
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 42  # room for the axes
_DASHES = {
    "solid": "",
    "dot": "2 4",
    "dash": "8 4",
    "longdash": "14 4",
    "dashdot": "8 3 2 3",
    "longdashdot": "14 3 2 3",
}
_NOTE = "In the explorer these pictures move with their controls."
_HATCH = (
    '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    f'<line x1="0" y1="0" x2="0" y2="5" stroke="{PAPER["ood"]}" stroke-width="2"/></pattern>'
)
_RING = 10  # pixels of its radius
_STYLE = """
@page { size: A4; margin: 18mm }
body { font: 11pt/1.5 Georgia, "Times New Roman", serif; color: #111; background: #fff; max-width: 46rem;
       margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 20pt; line-height: 1.2; margin: 0 0 .3rem }
h2 { font-size: 13pt; margin: 1.2rem 0 .3rem; break-after: avoid }
.question { font-style: italic; font-size: 12.5pt } .small { font-size: 9pt; color: #444; overflow-wrap: anywhere }
figure { margin: .8rem 0; break-inside: avoid } figcaption { font-size: 9.5pt } svg { width: 100%; height: auto }
table { border-collapse: collapse; font-size: 10pt; break-inside: avoid } td, th { border-bottom: 1px solid #999;
padding: .15rem .7rem .15rem 0; text-align: left } 
.predict { border: 1px solid #999; padding: 0 .8rem; break-inside: avoid }
.set_pictures { display: grid; grid-template-columns: repeat(4, 1fr); gap: .5rem .8rem; break-inside: avoid }
.set_pictures figure { margin: 0 } .set_pictures div { display: grid; grid-template-columns: repeat(3, 1fr); gap: 2px }
.set_pictures.few { grid-template-columns: repeat(7, 1fr) } .set_pictures.few div { grid-template-columns: 1fr }
.set_pictures img { width: 100%; aspect-ratio: 1; object-fit: cover } li { margin: .2rem 0 } p { orphans: 3; widows: 3 }
"""


@dataclass(frozen=True)
class Html:
    """A part of a handout that is HTML already, as pictures are."""

    text: str


Block: TypeAlias = pd.DataFrame | str | Html  # a table, markdown, HTML


def page(
    title: str,
    question: str,
    blocks: Sequence[tuple[str, str]],
    pictures: Mapping[str, Against],
    made: Mapping[str, Block],
    foot: str,
) -> str:
    """The handout. `blocks`: (`text`, markdown with its numbers filled in), or a kind and the name of what is shown.

    That is one of the `pictures`, or of what is `made`; others are controls of the page and are left out. `foot`: where
    the numbers come from, in a line or two.
    """
    body = []
    for kind, text in blocks:
        if kind == "text":
            body.append(markdown(text))
        elif text in pictures:
            shown = pictures[text]
            body.append(f"<figure>{svg(shown)}<figcaption>{html.escape(finding(shown))}</figcaption></figure>")
        elif text in made:
            body.append(_block(made[text]))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f'<p class="question">{html.escape(question)}</p>{"".join(body)}'
        f'<p class="small">{_NOTE} {html.escape(foot)}</p></body></html>'
    )


def _block(made: Block) -> str:
    if isinstance(made, str):
        return f'<div class="predict">{markdown(made)}</div>'
    return made.text if isinstance(made, Html) else _table(made)


def markdown(text: str) -> str:
    """The markdown that the lessons use as HTML: paragraphs, `##`, lists with `-`, bold, italics, code. Escaped."""
    made = []
    for block in re.split(r"\n\s*\n", text.strip()):
        rows = block.split("\n")
        if block.startswith("## "):
            made.append(f"<h2>{_inline(block[3:])}</h2>")
        elif all(row.startswith("- ") for row in rows):
            made.append("<ul>" + "".join(f"<li>{_inline(row[2:])}</li>" for row in rows) + "</ul>")
        elif block:
            made.append(f"<p>{_inline(' '.join(rows))}</p>")
    return "".join(made)


def _inline(text: str) -> str:
    """Bold, italics and code of one line; a backslash takes a sign as it is."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(html.escape(found[1]))
        return f"\0{len(kept) - 1}\0"

    line = html.escape(re.sub(r"\\([^\w\s])", keep, text))
    for sign, tag in ((r"\*\*", "strong"), (r"\*", "em"), ("`", "code")):
        line = re.sub(rf"{sign}(.+?){sign}", rf"<{tag}>\1</{tag}>", line)
    return re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], line)


def _table(frame: pd.DataFrame) -> str:
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    rows = ["".join(f"<td>{html.escape(str(value))}</td>" for value in row) for row in frame.itertuples(index=False)]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


# Pictures


def svg(shown: Against) -> str:
    """A picture as one SVG element, told apart in black and white by dashes and by names at the right."""
    (x0, x1), (y0, y1) = shown.window()
    names = [*(line.name for line in shown.lines), *([shown.level[0]] if shown.level else [])]
    key = 20 * len(names)
    high = HIGH + key

    def spot(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x0) / (x1 - x0) * (WIDE - LEFT - RIGHT)
        return round(across, 1), round(HIGH - BOTTOM - (y - y0) / (y1 - y0) * (HIGH - BOTTOM - TOP), 1)

    parts = [_HATCH] if shown.steps else []
    if shown.floor is not None:
        (right, foot), (_, top) = spot(min(max(shown.floor, x0), x1), y0), spot(x0, y1)
        parts.append(
            f'<rect x="{LEFT}" y="{top}" width="{right - LEFT:.1f}" height="{foot - top:.1f}" fill="#E4E4E4"/>'
        )
    parts.append(_axes(shown, (x0, x1), (y0, y1), spot))
    if shown.front:
        parts.append(_polyline([spot(*one) for one in shown.front], 'stroke="#BBB" stroke-width="7"'))
    if shown.at is not None:
        (x, top), (_, foot) = spot(shown.at, y1), spot(shown.at, y0)
        parts.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{foot}" stroke="#777"/>')
    if shown.level:
        (a, y), (b, _) = spot(x0, shown.level[1]), spot(x1, shown.level[1])
        parts.append(f'<line x1="{a}" y1="{y}" x2="{b}" y2="{y}" stroke="#111" stroke-dasharray="2 4"/>')
    for line in shown.lines:
        parts += _bars(shown, line, spot) if shown.steps else [_drawn(shown, line, [spot(*one) for one in line.points])]
    for x, y in (spot(*one) for one in shown.rings):
        parts.append(f'<circle cx="{x}" cy="{y}" r="{_RING}" fill="none" stroke="#111" stroke-width="2.5"/>')
    parts += [_key(name, HIGH + 20 * row, shown) for row, name in enumerate(names)]
    label = html.escape(finding(shown), quote=True)
    return f'<svg viewBox="0 0 {WIDE} {high}" role="img" aria-label="{label}" font-size="12">{"".join(parts)}</svg>'


def _bars(shown: Against, line: Line, spot: Place) -> list[str]:
    """The bars of a histogram, which ends where its last point says; of an OOD set those that are accepted hatched."""
    hatched, made = line is shown.lines[-1] and shown.at is not None, []
    for (left, height), (right, _) in pairwise(line.points):
        (x, top), (end, foot) = spot(left, height), spot(right, 0.0)
        accepted = hatched and left >= (shown.at or 0.0) - 1e-9
        fill = "url(#hatch)" if accepted else PAPER[line.role]
        edge = f'stroke="{PAPER[line.role]}" stroke-width="0.8"'
        faint = "" if accepted else ' fill-opacity="0.3"'
        box = f'x="{x}" y="{top}" width="{end - x:.1f}" height="{foot - top:.1f}"'
        made.append(f'<rect {box} fill="{fill}"{faint} {edge}/>')
    return made


def _drawn(shown: Against, line: Line, spots: Sequence[Spot]) -> str:
    """A line, or where there is a front its points as marks."""
    if not shown.front:
        return _polyline(spots, _stroke(line))
    return "".join(_mark(line, x, y) for x, y in spots)


def _mark(line: Line, x: float, y: float) -> str:
    centre = 'text-anchor="middle" dominant-baseline="central"'
    return f'<text x="{x}" y="{y}" {centre} font-size="11" fill="{PAPER[line.role]}">{line.mark.sign}</text>'


def _polyline(spots: Sequence[Spot], stroke: str) -> str:
    text = " ".join(f"{x},{y}" for x, y in spots)
    return f'<polyline points="{text}" fill="none" {stroke}/>'


def _stroke(line: Line) -> str:
    dash = _DASHES.get(line.mark.dash, "4 2")
    return f'stroke="{PAPER[line.role]}" stroke-width="2"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _key(name: str, y: int, shown: Against) -> str:
    """One line of the legend."""
    line = next((one for one in shown.lines if one.name == name), None)
    stroke = _stroke(line) if line else 'stroke="#111" stroke-dasharray="2 4"'
    sample = f'<line x1="{LEFT}" y1="{y + 8}" x2="{LEFT + 48}" y2="{y + 8}" {stroke}/>'
    if line and shown.front:
        sample = _mark(line, LEFT + 24, y + 8)
    elif line and shown.steps:
        fill = f'fill="{PAPER[line.role]}" fill-opacity="0.3"'
        hatch = (
            ""
            if line is shown.lines[0]
            else f'<rect x="{LEFT + 26}" y="{y + 2}" width="22" height="12" fill="url(#hatch)"/>'
        )
        sample = f'<rect x="{LEFT}" y="{y + 2}" width="{22 if hatch else 48}" height="12" {fill}/>{hatch}'
        name += ", accepted ones hatched" if hatch else ""
    return f'{sample}<text x="{LEFT + 56}" y="{y + 12}">{html.escape(name)}</text>'


def _axes(shown: Against, xs: tuple[float, float], ys: tuple[float, float], place: Place) -> str:
    (left, foot), (right, top) = place(xs[0], ys[0]), place(xs[1], ys[1])
    made = [f'<path d="M{left},{top}V{foot}H{right}" fill="none" stroke="#333"/>']
    for x in ticks(*xs):
        at, _ = place(x, ys[0])
        made.append(f'<text x="{at}" y="{foot + 16}" text-anchor="middle">{x:g}</text>')
    for y in ticks(*ys):
        _, at = place(xs[0], y)
        made.append(f'<text x="{left - 6}" y="{at + 4}" text-anchor="end">{y:g}</text>')
    made.append(f'<text x="{(left + right) / 2}" y="{foot + 34}" text-anchor="middle">{html.escape(shown.x)}</text>')
    middle = (foot + top) / 2
    turned = f'transform="rotate(-90 14 {middle})"'
    made.append(f'<text x="14" y="{middle}" text-anchor="middle" {turned}>{html.escape(shown.y)}</text>')
    return "".join(made)


def ticks(low: float, high: float) -> list[float]:
    """A few round numbers in a range."""
    raw = (high - low) / 6
    power = 10.0 ** len(str(int(raw))) / 10 if raw >= 1 else 1.0
    while power > raw:
        power /= 10
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= raw)
    first = int(low // step) + 1
    return [round(k * step, 10) for k in range(first, int(high // step) + 1)]
