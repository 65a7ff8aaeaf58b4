"""Six samples that tell what a method does, and the verdict on each in words. Pure: a table in, rows and text out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from app.charts import verdict_words
from app.charts.sample_table import Bools, Floats, Ints, SampleTable, class_words
from app.theme import count

SHOWN = 6


@dataclass(frozen=True)
class Scene:
    """One sample of the story: what it stands for, why it was chosen, its row."""

    title: str
    why: str
    row: int


def story(table: SampleTable) -> list[Scene]:
    """Up to SHOWN different samples: what an ID set has, what goes wrong, what shaping changed; then what is left."""
    scenes: list[Scene] = []
    for title, why, allowed, rank in _wanted(table):
        free = np.setdiff1d(np.flatnonzero(allowed), [scene.row for scene in scenes])
        if len(free) and len(scenes) < SHOWN:
            scenes.append(Scene(title, why, int(free[rank[free].argmin()])))
    return scenes


def _wanted(table: SampleTable) -> Iterator[tuple[str, str, Bools, Floats]]:
    """Title, reason, the rows that would do, and their rank: the smallest is chosen."""
    own, now = table.is_id, table.after
    accepted, margin, far = now.accepted, now.margin, -np.abs(table.change)
    yield "Confident ID", "the ID image farthest above the line", own & accepted, -margin
    yield "Borderline ID", "the accepted ID image closest to the line", own & accepted, margin
    yield "ID rejected", "the ID image farthest below the line", own & ~accepted, margin
    yield "OOD accepted by mistake", "the OOD image farthest above the line", ~own & accepted, -margin
    rescued = table.rescued & ~own if (table.rescued & ~own).any() else table.rescued
    yield "Rescued", "on the wrong side without shaping, moved farthest", rescued, far
    yield "Broken", "on the right side without shaping, moved farthest", table.broken, far
    yield "OOD rejected", "the OOD image farthest below the line", ~own & ~accepted, margin
    yield "Borderline OOD", "the rejected OOD image closest to the line", ~own & ~accepted, -margin


def verdict(table: SampleTable, row: int, tpr: float, emphasis: Callable[[str], str] = str) -> str:
    """`accepted as Sneaker, 0.4 IQR above the 95 % line`; `emphasis` marks the class, `tpr` in percent."""
    name = table.images.classes[table.after.predicted[row]]
    return verdict_words.verdict(name, float(table.after.margin[row]), tpr, emphasis)


def before(table: SampleTable, row: int, tpr: float) -> str:
    """The verdict without shaping, where it was another one; otherwise ""."""
    if table.before.accepted[row] == table.after.accepted[row]:
        return ""
    word = "accepted" if table.before.accepted[row] else "rejected"
    return f"without shaping {word}, {verdict_words.distance(float(table.before.margin[row]), tpr)}"


def truth(table: SampleTable, row: int) -> str:
    """The true class of an ID image; of an OOD image that it has none."""
    known = int(table.images.true[row])
    return class_words(table.images.classes[known] if known >= 0 else None, bool(table.is_id[row]))


def finding(table: SampleTable, rows: Ints, method: str, reference: str, tpr: float) -> str:
    """What shaping did to some of the samples: the sentence on top of the page."""
    every = count(len(table))
    among = f"{every} samples" if len(rows) == len(table) else f"{count(len(rows))} chosen samples ({every} in all)"
    wrong = int(np.count_nonzero(table.after.accepted[rows] != table.is_id[rows]))
    share = "all" if wrong == len(rows) > 1 else f"{count(wrong)} of"
    start = f"{method} puts {share} {among} on the wrong side of the {tpr:g} % line"
    if method == reference:
        return f"{start}. Choose a variant in the sidebar to see what shaping changes."
    rescued, broken = (int(np.count_nonzero(mask[rows])) for mask in (table.rescued, table.broken))
    return f"{start}: it rescues {count(rescued)} that {reference} gets wrong and breaks {count(broken)}."
