"""The arrows of the architecture, and that reading a method does not wait for torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imported(path: Path) -> set[str]:
    """Every module a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files("ash"), ids=lambda path: path.stem)
def test_the_library_knows_nothing_of_the_app(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported(path)} & {"app", "streamlit", "plotly"}


@pytest.mark.parametrize("path", files("app/charts"), ids=lambda path: path.stem)
def test_charts_know_nothing_of_streamlit(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported(path)} & {"streamlit"}
    assert not any(name.startswith(("app.views", "app.backend")) for name in imported(path))


OUTSIDE = [path for path in files("app") if path.parent.name != "backend"]
# modules of ash that touch no model, bank or device
PURE = {
    "errors",
    "names",
    "methods",
    "variants",
    "metrics",
    "scores",
    "shaping",
    "traces",
    "tables",
    "paper",
    "reports",
    "report_files",
    "results",
}
NO_TORCH = (
    "plugins",
    "methods",
    "variants",
    "fitting",
    "bank",
    "models",
    "data",
    "fetching",
    "extracting.cost",
    "paper",
    "reports",
)


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.stem)
def test_only_the_backend_touches_models_and_banks(path: Path) -> None:
    used = {name.split(".")[1] for name in imported(path) if name.startswith("ash.")}
    assert used & MODULES <= PURE


MODULES = {path.stem for path in (ROOT / "ash").iterdir()}


@pytest.mark.slow
def test_the_first_page_is_drawn_without_torch() -> None:
    names = ", ".join(f"ash.{name}" for name in NO_TORCH)
    code = f"import sys, {names}, app.backend, app.sidebar, app.views.tradeoff.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_every_exported_name_is_there() -> None:
    import ash

    for name in ash.__all__:
        assert callable(getattr(ash, name)), name
    for name in ash.__all__:  # submodules loaded on the way must not hide a function
        assert callable(getattr(ash, name)), name
