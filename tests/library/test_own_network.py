"""A network of the user's: the guide's example is trained, loaded by ASH_PLUGINS, extracted, explored on every page."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from app_pages import ENTRY, forget_plugins, open_page
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from app.backend import banks as banks_
from app.backend import evaluations, samples, setups
from app.link.spec import RunSpec
from ash import plugins
from ash.__main__ import main
from ash.data import file_hash, get_dataset
from ash.models import cuts_of, get_model, offered_models

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = Path(__file__).parents[1] / "own_network.py"
MODEL, SETS = "digits_net", ("digits8", "gratings", "letters", "textures")


def sections() -> list[str]:
    """The pages of the app, read from its entry file, which runs when it is imported."""
    (found,) = (
        node.value
        for node in ast.parse(ENTRY.read_text()).body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "SECTIONS"
    )
    assert found is not None
    return [page[0] for pages in ast.literal_eval(found).values() for page in pages]


def trained(folder: Path) -> Path:
    """The example in a folder of its own, with its weights beside it, as the guide says how."""
    file = Path(shutil.copy(EXAMPLE, folder))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # such small layers are slower on more
    done = subprocess.run([sys.executable, file.name], cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="module", autouse=True)
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The trained example as the plug-in of this process."""
    file = trained(tmp_path_factory.mktemp("own"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(plugins.VARIABLE, str(file))
        forget_plugins()
        yield file
    forget_plugins()
    assert MODEL not in offered_models()


@pytest.fixture(scope="module")
def banks(example: Path) -> None:
    """The activations of its data sets: at the penultimate placement by the command line, at the other by the app."""
    arguments = ["extract", "--model", MODEL, *(part for name in SETS for part in ("--data", name))]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "digits8: 898 x 128 x 1 x 1" in done.output
    assert len(list(banks_.compute_banks(setups.setup(RunSpec(model=MODEL, placement="5"))))) > 1


def words(app: AppTest) -> str:
    elements = (*app.markdown, *app.caption, *app.info, *app.warning, *app.error)
    return "\n".join(str(one.value) for one in elements).replace("\\", "")


def test_the_guide_shows_the_file() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "app/guide/own-network.md").read_text(), re.DOTALL)
    (shown,) = (block for block in blocks if "register_model" in block)
    assert shown.strip() in EXAMPLE.read_text()
    assert len([line for line in shown.splitlines() if line.strip()]) <= 40


def test_it_is_known_by_its_weights_and_cut_by_tracing(example: Path) -> None:
    entry = get_model(MODEL)
    assert offered_models()[MODEL] == entry.label
    assert entry.weights_hash() == file_hash(example.with_suffix(".pt"))
    assert list(entry.placements) == ["5", "6"]
    assert [cut.name for cut in cuts_of(MODEL)] == [str(n) for n in range(8)]
    assert next(cut.name for cut in cuts_of(MODEL) if cut.penultimate) == entry.penultimate
    digits, again = get_dataset("digits8"), get_dataset("digits8")
    assert (digits.fingerprint, len(digits), set(digits.labels)) == (again.fingerprint, 898, set(range(10)))
    assert plugins.registered() == {example: {"data set": ("digits8", "digits8_train", "gratings"), "model": (MODEL,)}}
    assert not plugins.problems()


@pytest.mark.usefixtures("banks")
def test_shaping_helps_it() -> None:
    """That the network has learned something, and that the sweep is about it: nothing finer."""
    table = evaluations.measure(setups.setup(RunSpec(model=MODEL)), "energy")
    mean = table[table["ood"] == "mean"].iloc[0]
    assert mean.id_accuracy > 90
    assert set(table["ood"]) == {*SETS[1:], "mean"}


@pytest.mark.usefixtures("banks")
@pytest.mark.parametrize("placement", ["penultimate", "5"])
@pytest.mark.parametrize("page", sections())
def test_every_page_opens_with_it(page: str, placement: str) -> None:
    app = open_page(page, model=MODEL, placement=placement)
    assert app.session_state["spec"].model == MODEL
    assert len(app.title) == 1
    assert not app.error
    assert "missing" not in words(app)
    assert "The activations of this placement" not in words(app)  # which are then missing


@pytest.mark.usefixtures("banks")
def test_one_image_through_it_by_the_app_is_the_networks_own_output() -> None:
    at = setups.setup(RunSpec(model=MODEL))
    one = samples.sample(at, "ash_s@90", "digits8", 3)
    entry = get_model(MODEL)
    with torch.inference_mode():
        logits = entry.build()(entry.preprocess.build()(get_dataset("digits8").image(3))[None])
    torch.testing.assert_close(torch.from_numpy(one.logits), logits[0])
    assert one.picture.shape == (8, 8)


def test_the_first_page_does_not_wait_for_torch(example: Path) -> None:
    code = "import sys, app.sidebar, app.views.tradeoff.page; from app.backend import registry, setups\n"
    code += f"assert '{MODEL}' in registry.models(); setups.ood_choices('demo', ''); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_library_says_what_the_plug_in_brings(example: Path) -> None:
    text = words(open_page("library", model=MODEL))
    assert f"{example} brings the data sets digits8, digits8_train and gratings and the model {MODEL}." in text


def test_weights_that_are_not_there_yet_are_asked_for(example: Path) -> None:
    weights = example.with_suffix(".pt")
    weights.rename(weights.with_suffix(".away"))
    try:
        text = words(open_page("tradeoff", model=MODEL))
        assert f"Put the weights of My network on digits at {weights}." in text
        assert "ash fetch" not in text
    finally:
        weights.with_suffix(".away").rename(weights)
