"""Plug-ins that do not work: each is reported with file, line and reason, on the Library too, and the rest works."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from app_pages import forget_plugins, open_page

from app.backend import registry, setups, store
from ash import plugins
from ash.data import DATASETS, DataError, get_dataset
from ash.methods import STEPS
from ash.models import MODELS, ModelError, get_model, offered_models, working_models

ROOT = Path(__file__).parents[2]
HEAD = "import ash\nimport numpy as np\n"
SET = HEAD + "ash.register_dataset('mine', 'Mine', 'id')(lambda: (np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2))\n"
MODEL = (
    "@ash.register_model('net', label='Net', preprocess=ash.Preprocess(8, 8, (0.5,), (0.5,)), classes=['a', 'b'],"
    " id_set='mine', ood_sets=['noise']{more})\n"
    "def net():\n"
    "    import torch\n"
    "    torch.manual_seed(0)\n"
    "    return {network}\n"
)
LAYERS = "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))"
NET = MODEL.format(network=LAYERS, more="")
Load = Callable[..., tuple[str, ...]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Write plug-ins a.py, b.py, ..., load them, and return what is wrong with them."""

    def write(*texts: str) -> tuple[str, ...]:
        files = [tmp_path / f"{letter}.py" for letter, _ in zip("abc", texts, strict=False)]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        monkeypatch.setenv(plugins.VARIABLE, ":".join(map(str, files)))
        forget_plugins()
        return tuple(map(str, plugins.problems()))

    before = set(MODELS), set(DATASETS), set(STEPS)
    yield write
    monkeypatch.delenv(plugins.VARIABLE)
    forget_plugins()
    assert (set(MODELS), set(DATASETS), set(STEPS)) == before
    assert plugins.texts() == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SET + "import no_such_module\n", "a.py, line 4: ModuleNotFoundError: No module named 'no_such_module'"),
        (SET + "def broken(:\n", "a.py, line 4: SyntaxError: invalid syntax"),
        (SET + "raise SystemExit(3)\n", "a.py, line 4: SystemExit: 3"),
        (SET + SET, "a.py, line 6: The data set 'mine' is registered twice: it is a.py's already"),
        (SET.replace("mine", "noise"), "a.py, line 3: There is a data set 'noise' already: give yours another name"),
        (SET.replace("mine", "mean"), "a.py, line 3: 'mean' means something else here"),
        (SET.replace("'id'", "'test'"), "a.py, line 3: The role of the data set 'mine' is id or ood, not 'test'"),
        (SET + NET.replace("'net'", "'demo'"), "a.py, line 4: There is a model 'demo' already"),
        (SET + NET.replace("'net'", "'resnet18'"), "a.py, line 4: There is a model 'resnet18' of torchvision"),
        (
            SET + NET.replace("['noise']", "'noise'"),
            "a.py, line 4: The classes and the OOD sets of 'net' are li",
        ),
        (SET + MODEL.format(network="0", more=", weigths='a.pt'"), "a.py, line 4: TypeError: "),
        (SET + "ash.register_method('ash_s', 'Mine')(abs)\n", "a.py, line 4: There is a method 'ash_s' already"),
    ],
)
def test_a_file_that_fails_leaves_nothing_behind(load: Load, text: str, problem: str) -> None:
    good = HEAD + "ash.register_method('same', 'Same')(lambda x, p: x)\n"
    (found,) = load(text, good)
    assert found.startswith(problem)
    assert "mine" not in DATASETS
    assert "net" not in MODELS
    assert "same" in STEPS
    assert "demo" in offered_models()


def test_files_that_cannot_be_run(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.VARIABLE, "gone.py:text.txt:.")
    forget_plugins()
    assert [str(problem) for problem in plugins.problems()] == [
        "gone.py: there is no such file",
        "text.txt: it is no Python file: its name must end in .py",
        f"{tmp_path.name}: it is a folder: name the files in it",
    ]


def test_two_files_with_one_name_and_a_module_beside_them(load: Load, tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("LABEL = 'Beside'\n")
    first = SET.replace("'Mine'", "LABEL").replace(HEAD, HEAD + "from beside_it import LABEL\n")
    (found,) = load(first, SET)
    assert found == "b.py, line 3: The data set 'mine' is registered twice: it is a.py's already"
    assert DATASETS["mine"].label == "Beside"


def test_the_text_that_numbers_are_known_by_is_the_one_that_was_run(load: Load, tmp_path: Path) -> None:
    """Whoever edits a plug-in, or a module beside it, under a running program does not rename what that computes."""
    (tmp_path / "part_of_it.py").write_text("def part(x):\n    return x + 1\n")
    text = HEAD + "from part_of_it import part\ndef double(x):\n    return 2 * part(x)\n"
    assert load(text) == ()
    module = next(module for name, module in sys.modules.items() if name.endswith("_a") and "ash_plugin" in name)
    before = store.path_of(["bank"], ["energy"])
    (tmp_path / "a.py").write_text(text.replace("2 *", "3 *"))
    (tmp_path / "part_of_it.py").write_text("def part(x):\n    return x + 2\n")
    assert "2 * part(x)" in inspect.getsource(module.double)
    assert "x + 1" in inspect.getsource(module.part)
    assert store.path_of(["bank"], ["energy"]) == before
    del sys.modules["part_of_it"]  # another program, which starts now
    load(text)
    assert store.path_of(["bank"], ["energy"]) != before, "only the module beside it differs"


@pytest.mark.parametrize(
    ("network", "more", "reason"),
    [
        ("1 / 0", "", "a.py, line 8: the model 'net' cannot be used: ZeroDivisionError: division by zero"),
        ("{}", "", "a.py, line 4: the model 'net' cannot be used: its function returns dict, not a torch.nn.Module"),
        (LAYERS.replace("4, 2", "4, 3"), "", "it makes 3 logits of an image; its 2 classes need as many"),
        (LAYERS.replace("64", "63"), "", "mat1 and mat2 shapes cannot be multiplied (3x64 and 63x4)"),
        (LAYERS, ", train_set='minx'", "There is no data set 'minx': did you mean mine?"),
        (LAYERS, ", placements={'9': 'Nine'}", "it has no placement '9': 0, 1, 2"),
        (LAYERS, ", presets={'Mine': 'ash_q@3'}", "'ash_q@3' is not a method; did you mean ash_"),
    ],
)
def test_a_model_that_does_not_work_is_not_offered(load: Load, network: str, more: str, reason: str) -> None:
    assert load(SET + MODEL.format(network=network, more=more)) == ()  # nothing is built before it is needed
    assert "net" in offered_models()
    assert "net" not in {entry.name for entry in working_models()}
    assert "net" not in offered_models()
    with pytest.raises(ModelError) as raised:
        get_model("net")
    (found,) = plugins.problems()
    assert reason in str(found)
    assert reason in str(raised.value)


def test_weights_in_the_function_are_known_by_their_hash(load: Load) -> None:
    assert load(SET + NET) == ()
    entry = get_model("net")
    assert (entry.present, entry.brings_weights, entry.placements) == (True, True, {"2": "Penultimate layer"})
    first = entry.weights_hash()
    assert entry.weights_hash() == first
    load(SET + NET.replace("seed(0)", "seed(1)"))
    assert get_model("net").weights_hash() != first
    load(SET + NET.replace("manual_seed(0)", "seed()"))
    with pytest.raises(ModelError, match="gives other weights at every call"):
        get_model("net").weights_hash()


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ("np.zeros((2, 8, 8))", "the images must be uint8, (n, H, W) or (n, H, W, 3); these are float64, (2, 8, 8)"),
        ("(np.zeros((2, 8, 8), np.uint8), [1])", "the labels must be 2 whole numbers, one for each image"),
        ("np.zeros((0, 8, 8), np.uint8)", "it has no images"),
        ("np.zeros((2, 8, 8), np.uint8)", "it is to be an ID set, so every image needs a label, 0 or more"),
        ("open('/no/such/file')", "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'"),
    ],
)
def test_a_data_set_that_cannot_be_made_says_why(load: Load, made: str, reason: str) -> None:
    assert load(HEAD + f"ash.register_dataset('mine', 'Mine', 'id')(lambda: {made})\n") == ()
    with pytest.raises(DataError, match="the data set 'mine' cannot be used") as raised:
        get_dataset("mine")
    assert reason in str(raised.value)
    assert DATASETS["mine"].status().state == "missing"
    assert str(plugins.problems()[0]).startswith(f"a.py, line 3: the data set 'mine' cannot be used: {reason}")


@pytest.mark.slow
def test_the_library_lists_them_and_the_other_pages_go_on(load: Load, tmp_path: Path) -> None:
    bad_set = "ash.register_dataset('bad', 'Bad', 'ood')(lambda: 1 / 0)\n"
    load(SET + bad_set + MODEL.format(network="None", more=""), "import no_such_module\n")
    (warning,) = open_page("library").warning
    text = warning.value.replace("\\", "")
    assert "The plug-ins have 3 problems; everything else works." in text
    assert "b.py, line 1: ModuleNotFoundError: No module named 'no_such_module'" in text
    assert "a.py, line 5: the model 'net' cannot be used: its function returns NoneType" in text
    assert "a.py, line 4: the data set 'bad' cannot be used: ZeroDivisionError: division by zero" in text
    shelf = open_page("library", shelf="data").dataframe[0].value
    assert shelf.loc["mine", "Number"] == 20
    assert "missing" in shelf.loc["bad", "Images"]
    app = open_page("tradeoff", model="net")
    assert app.session_state["spec"].model == next(iter(registry.models()))
    assert (
        app.warning[0].value.replace("\\", "")
        == f"The link says model=net, which is not known here: {next(iter(registry.models()))} is used."
    )


@pytest.mark.slow
def test_a_model_whose_images_fail_says_so_and_the_sidebar_stays(load: Load) -> None:
    load(SET.replace("20, 8, 8), np.uint8", "20, 8, 8), float") + NET)
    app = open_page("tradeoff", model="net")
    assert app.session_state["spec"].model == "net"
    assert "the images must be uint8" in "".join(block.value for block in app.markdown)
    app.selectbox(key="spec_model").select("demo").run()
    assert not app.exception
    assert app.session_state["spec"].model == "demo"


def test_a_set_of_a_plug_in_is_offered_to_every_model_without_being_made(load: Load) -> None:
    load(SET + "ash.register_dataset('more', 'More', 'ood')(lambda: np.zeros((9, 8, 8), np.uint8))\n")
    assert list(setups.ood_choices("demo", "fashion_mnist"))[-1] == "more"
    assert list(setups.id_choices("demo")) == ["fashion_mnist", "mine"]
    assert "_made" not in vars(DATASETS["more"])


@pytest.mark.slow
def test_the_command_line_warns_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import no_such_module\n")
    env = {"ASH_PLUGINS": str(tmp_path / "mine.py"), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-m", "ash", "data"], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "fashion_mnist" in done.stdout
    assert done.stderr == "Plug-in mine.py, line 1: ModuleNotFoundError: No module named 'no_such_module'.\n"


def test_a_program_may_register_again_and_is_no_plug_in() -> None:
    try:
        for label in ("One", "Two"):
            plugins.Registry.add(DATASETS, "program", DATASETS["noise"])
            assert label
        assert "program" in DATASETS.users()
        assert plugins.registered() == {}
    finally:
        del DATASETS["program"]
