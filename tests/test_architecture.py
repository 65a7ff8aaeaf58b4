"""The arrows of the architecture, and that reading a method does not wait for torch."""

import ast
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from app.link.spec import RunSpec
from ash.variants import PRUNING

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


# Every module of the app may import what stands before it. A page imports no other page: what two share is in `ui`.
LAYERS = ("errors", "theme", "link", "charts", "backend", "serving", "ui", "views", "sidebar", "main")


def layer(name: str) -> int:
    return LAYERS.index(name.split(".")[1])


@pytest.mark.parametrize("path", files("app"), ids=lambda path: path.stem)
def test_arrows_of_the_app_point_one_way(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if name == "app.__init__":
        return
    others = {other for other in imported(path) if other.startswith("app.")}
    assert not {other for other in others if layer(other) > layer(name)}
    if name.startswith("app.views.") and path.stem != "__init__":
        pages = {other.split(".")[2] for other in others if other.startswith("app.views.")}
        assert pages <= {path.parent.name}


# what a page may read of another's options: which part of one sample was open, to leave it so where a bar leads
LEADS = {"scores": {"samples"}}


@pytest.mark.parametrize("path", files("app/views"), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_page_reads_no_options_of_another(path: Path) -> None:
    """What two pages read is a field of `RunSpec` itself."""
    pages = {one.name for one in fields(RunSpec) if "link" not in one.metadata}
    read = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "spec"
    }
    assert read & pages <= {path.parent.name, *LEADS.get(path.parent.name, ())}


def test_every_page_has_options_of_its_name() -> None:
    pages = {one.name for one in fields(RunSpec) if "link" not in one.metadata}
    assert pages == {path.name for path in (ROOT / "app/views").iterdir() if (path / "page.py").exists()}


@pytest.mark.parametrize("path", files("app"), ids=lambda path: path.stem)
def test_charts_know_nothing_of_streamlit(path: Path) -> None:
    used = imported(path)
    if path.parent.name == "charts" or ("plotly" in {name.split(".")[0] for name in used} and path.stem != "plot"):
        assert not {name.split(".")[0] for name in used} & {"streamlit"}
        assert not any(name.startswith("app.backend") for name in used)


@pytest.mark.parametrize("path", files("app"), ids=lambda path: path.stem)
def test_modules_are_imported_by_name(path: Path) -> None:
    assert "import_module(f" not in path.read_text()


def test_variants_are_asked_what_they_do_and_rarely_named() -> None:
    """Drawing, lessons about one variant and the default link name them; what they do is `Variant.does`."""
    named = [
        (path.name, node.value)
        for path in files("app")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in (*PRUNING, "react")
    ]
    assert len(named) <= 40
    files_with = {name for name, _ in named}
    assert not files_with & {"relu.py", "relu_live.py", "algorithm_facts.py", "algorithm_film.py", "algorithm_steps.py"}


def test_nothing_is_loose_at_the_top() -> None:
    assert {path.name for path in (ROOT / "app").glob("*.py")} == {
        "__init__.py", "main.py", "sidebar.py", "theme.py", "errors.py"
    }  # fmt: skip
    assert {path.name for path in (ROOT / "app/views").glob("*.py")} == {"__init__.py"}


OUTSIDE = [path for path in files("app") if path.parent.name != "backend"]
# modules of ash that touch no model, bank or device
PURE = {
    "errors",
    "names",
    "methods",
    "variants",
    "metrics",
    "drift",
    "scores",
    "shaping",
    "shapes",
    "traces",
    "tables",
    "paper",
    "protocol",
    "reports",
    "report_files",
    "results",
    "images",
    "shipped",
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
    "protocol",
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
