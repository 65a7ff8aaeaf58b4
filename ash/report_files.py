"""A table of the paper beside what was measured, as files: CSV, and one page of HTML that needs no network.

Both say where their numbers come from. Imports no torch.
"""

import html
from collections.abc import Mapping

import pandas as pd

from ash import paper
from ash.reports import METRIC_LABELS, Count, counted
from ash.results import comments

SIGNS = {"published": "○", "measured": "●", "beside": "◇"}
ALIKE = "measured minus published, in points, only where network, weights and images are the paper's"


def csv_text(compared: pd.DataFrame, origin: Mapping[str, object]) -> str:
    """Every number as CSV under comment lines with its origin; `pandas.read_csv(..., comment="#")` reads it back."""
    return comments(origin) + compared.rename(columns={"value": "published"}).to_csv(index=False, float_format="%.4f")


_STYLE = """
:root {color-scheme: light dark; --ink: #1F2937; --muted: #5B6472; --line: #D5DAE1; --panel: #F4F6F8; --here: #0072B2;
  --back: #FFFFFF}
@media (prefers-color-scheme: dark) {:root {--ink: #E5E7EB; --muted: #A3ADBA; --line: #364152; --panel: #1B222C;
  --here: #56B4E9; --back: #11161D}}
body {font: 15px/1.45 sans-serif; color: var(--ink); background: var(--back); margin: 2rem auto; max-width: 92rem;
  padding: 0 1rem}
h1 {font-size: 1.5rem} h2 {font-size: 1.15rem; margin-top: 2rem}
.scroll {overflow-x: auto}
table {border-collapse: collapse; font-variant-numeric: tabular-nums}
caption {text-align: left; color: var(--muted); padding: 0.3rem 0}
th, td {padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top;
  white-space: nowrap}
th {background: var(--panel)} th:first-child, th:last-child, td:first-child, td.text {text-align: left}
td.text {white-space: normal; min-width: 14rem}
.published {color: var(--muted); font-style: italic}
.measured {color: var(--here); font-weight: 600}
.difference {font-size: 0.85em}
.beside {color: var(--muted)}
dl {display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.2rem}
dt {color: var(--muted)} dd {margin: 0; overflow-wrap: anywhere}
"""


def standing(count: Count, lines: str = "Of {} lines") -> str:
    """How the lines of some tables stand, in a sentence."""
    return (
        f"{lines.format(count.total)} {count.measured} are measured on the network they were published for, "
        f"{count.whole} of them with the paper's weights and all of its images; {count.elsewhere} on another network "
        f"only; {count.runnable} can be run but are not measured; {count.published} are published only."
    )


def html_text(table: int, compared: pd.DataFrame, origin: Mapping[str, object]) -> str:
    """One page that needs no network: the table as the paper has it with what was measured in each cell, and origin."""
    about, count = paper.TABLES[table], counted(compared)
    title = f"Table {table}: {about.title}"
    facts = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>" for name, value in origin.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(about.columns)} {html.escape(about.setting)}</p>
<p><span class="published">{SIGNS["published"]} published</span> in the paper,
<span class="measured">{SIGNS["measured"]} measured</span> on the same network; Δ: {html.escape(ALIKE)}. Elsewhere
<i>differs in</i> says what is not the paper's. {html.escape(_beside_words(compared))}{html.escape(standing(count))}</p>
<div class="scroll"><table>{_head(compared)}{_body(compared)}</table></div>
<h2>Where the numbers come from</h2><dl>{facts}</dl>
</body></html>
"""


def _columns(compared: pd.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(compared["ood"], compared["metric"], strict=True)))


def _beside_columns(compared: pd.DataFrame) -> list[tuple[str, str]]:
    return _columns(compared[compared["beside"].notna()])


def _beside_words(compared: pd.DataFrame) -> str:
    """What the columns of another network are, "" where there are none."""
    known = compared[compared["beside"].notna()]
    if known.empty:
        return ""
    name, ids, sets = known.iloc[0][["beside_on", "beside_id", "beside_sets"]]
    return (
        f"{SIGNS['beside']} is what {name} does, another network: on {ids}, means over {sets} OOD sets of its own. How "
        "far it lies from the published numbers is no error of either. "
    )


def _head(compared: pd.DataFrame) -> str:
    names = [f"{METRIC_LABELS[metric]}{f', {ood}' if ood else ''}" for ood, metric in _columns(compared)]
    others = []
    if beside := _beside_columns(compared):
        name = next(filter(None, compared["beside_on"]))
        others = [f"{SIGNS['beside']} {name}, {METRIC_LABELS[metric]}" for _, metric in beside]
    every = ("Method", *names, "Differs in", *others, "Images", "Device, date", "Status")
    return f"<thead><tr>{''.join(f'<th>{html.escape(name)}</th>' for name in every)}</tr></thead>"


def _body(compared: pd.DataFrame) -> str:
    rows = []
    for line, cells in compared.groupby(level="line", sort=False):
        values = {(cell["ood"], cell["metric"]): cell for _, cell in cells.iterrows()}
        inner = "".join(_number(values[name]) for name in _columns(compared))
        others = "".join(_beside(values[name]) for name in _beside_columns(compared))
        best = cells[cells["measured"].notna()]
        first = best.iloc[-1] if len(best) else cells.iloc[0]
        images = f"{int(first['n_id']):,} + {int(first['n_ood']):,}" if len(best) else ""
        when = ", ".join(filter(None, (str(first["device"]), str(first["date"])[:10])))
        status = ": ".join(filter(None, (str(first["status"]), str(first["note"]))))
        differs = ", ".join(dict.fromkeys(word for text in cells["differs_in"] for word in text.split(", ") if word))
        rows.append(
            f"<tr><td>{html.escape(str(line))}</td>{inner}<td>{html.escape(differs)}</td>{others}<td>{images}</td>"
            f'<td>{html.escape(when)}</td><td class="text">{html.escape(status)}</td></tr>'
        )
    return f"<tbody>{''.join(rows)}</tbody>"


def _number(cell: pd.Series) -> str:
    spread = f" ± {cell['plus_minus']:.2f}" if pd.notna(cell["plus_minus"]) else ""
    text = f'<span class="published">{SIGNS["published"]} {cell["value"]:.2f}{spread}</span>'
    if pd.notna(cell["measured"]):
        text += f'<br><span class="measured">{SIGNS["measured"]} {cell["measured"]:.2f}</span>'
    if pd.notna(cell["difference"]):
        difference = f"{cell['difference']:+.2f}".replace("-", "\N{MINUS SIGN}")
        text += f'<br><span class="difference">Δ {difference}</span>'
    return f"<td>{text}</td>"


def _beside(cell: pd.Series) -> str:
    known = pd.notna(cell["beside"])
    return f'<td><span class="beside">{SIGNS["beside"]} {cell["beside"]:.2f}</span></td>' if known else "<td></td>"
