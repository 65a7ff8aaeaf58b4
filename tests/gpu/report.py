"""figures.json of the GPU check -> a Markdown table, on its own or between the markers of a page.

python tests/gpu/report.py gpu-check/figures.json [--into app/guide/speed.md]
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- gpu-check -->", "<!-- /gpu-check -->"


def table(made: dict[str, Any]) -> str:
    """A heading with card and date, and a row for every check."""
    checks = made["checks"]
    facts = next((one.get("figures", {}) for one in checks if one["check"] == "machine"), {})
    where = f"{facts.get('card', 'unknown')}, {made['date'][:10]}, torch {facts.get('torch', '?')}"
    rows = ["| check | result | figures |", "| --- | --- | --- |"]
    for one in checks:
        if one["check"] != "machine":
            figures = "; ".join(f"{name} {value}" for name, value in one.get("figures", {}).items())
            words = (figures or one.get("why", "")).replace("|", "/").replace("\n", " ")
            rows.append(f"| {one['check']} | {one['state']} | {words} |")
    return f"Measured on {where}:\n\n" + "\n".join(rows) + "\n"


def put_into(page: str, text: str) -> str:
    """A page with the table between its markers; ValueError where it has none."""
    if BEGIN not in page or END not in page:
        raise ValueError(f"The page has no markers {BEGIN} and {END}.")
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{text}{END}", page, flags=re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--into", type=Path)
    asked = parser.parse_args(arguments)
    made = json.loads(asked.figures.read_text())
    if asked.into is None:
        print(table(made))
    elif made["device"] != "cuda":
        parser.error("these figures are a rehearsal's, not a GPU's: they do not belong into that page")
    else:
        asked.into.write_text(put_into(asked.into.read_text(), table(made)))


if __name__ == "__main__":
    main()
