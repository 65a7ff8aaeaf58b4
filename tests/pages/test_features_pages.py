"""Every page on a network that is a folder of features; the guide's ten lines write such a folder."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from app_pages import charts, forget_plugins, open_page, ran, texts
from features_folder import write_folder
from streamlit.testing.v1 import AppTest
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ash
from app.backend import evaluations, requirements, setups
from app.link.spec import RunSpec
from ash import plugins

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAME = "feature_folder"


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of features, named as `ash-explorer --features` names it."""
    path = tmp_path_factory.mktemp("features") / NAME
    write_folder(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(plugins.VARIABLE, str(path))
        forget_plugins()
        yield path
    forget_plugins()


def html_of(app: AppTest) -> str:
    return " ".join(str(one.proto.body) for one in app.get("html"))


PAGES: dict[str, tuple[str, dict[str, Any], str]] = {
    "tradeoff": ("tradeoff", {}, "samples of what the network knows"),
    "scores": ("scores", {}, "accepts 95 %"),
    "scores of a fit": ("scores", {"method": "knn"}, "accepts 95 %"),
    "activations": ("activations", {}, "of which there are no images"),
    "placements": ("placements", {}, "at the penultimate layer"),
    "story": ("samples", {}, "of which there are no images"),
    "grid": ("samples", {"look": "grid"}, "of which there are no images"),
    "one": ("samples", {"look": "one"}, "of which there are no images"),
    "own": ("samples", {"look": "own"}, "no image can be sent through it"),
    "lab": ("lab", {}, "12 values of one sample"),
    "predict": ("lab", {"room": "predict"}, "What do you predict?"),
    "relu": ("lab", {"room": "relu"}, "At p = "),
    "lessons": ("lessons", {}, "measured on the network in the sidebar"),
    "paper": ("paper", {}, f"On {NAME}, another network"),
    "models": ("library", {}, f"the model {NAME}"),
    "data": ("library", {"shelf": "data"}, f"the model {NAME}"),
    "banks": ("library", {"shelf": "activations"}, "computed here"),
    "guide": ("guide", {"guide": "own-network"}, "Features, in ten lines"),
}


@pytest.mark.parametrize("case", PAGES)
def test_every_page_opens_with_it(case: str) -> None:
    page, query, said = PAGES[case]
    app = open_page(page, model=NAME, **query)
    words = "\n".join([texts(app), *(one.value for one in app.subheader), *(one.value for one in app.title)])
    assert said in words.replace("**", "")
    assert "do not ship" not in texts(app)
    assert "does not ship" not in html_of(app)


@pytest.mark.parametrize("lesson", ["inputs", "pruning", "shaping", "choosing", "placing", "reporting"])
def test_every_lesson_is_measured_on_it(lesson: str) -> None:
    app = open_page("lessons", model=NAME, lesson=lesson)
    if further := [one for one in app.button if (one.key or "").startswith("read_on_")]:
        further[0].click().run()
    assert charts(app)


def test_what_has_no_image_has_a_tile() -> None:
    assert html_of(open_page("samples", model=NAME, look="grid")).count("no image") >= 24


def test_the_front_is_there_at_once() -> None:
    at = setups.setup(RunSpec(model=NAME))
    assert (at.id_set, at.ood) == (f"{NAME}.id", (f"{NAME}.noise", f"{NAME}.shapes"))
    assert not requirements.unready(RunSpec(model=NAME))
    table = evaluations.measure(at, "energy")
    assert table[table["ood"] == "mean"].iloc[0].id_accuracy > 60
    assert list(setups.id_choices(NAME)) == [f"{NAME}.id"]
    assert list(setups.ood_choices(NAME, at.id_set)) == list(at.ood)
    assert f"{NAME}.noise" not in setups.ood_choices("demo", "fashion_mnist")


@pytest.mark.parametrize("method", ["knn", "vim", "mahalanobis", "react@90%", "dice@10", "odin", "gradnorm"])
def test_methods_are_measured_at_once(method: str) -> None:
    assert requirements.lack(RunSpec(model=NAME), method) is None
    assert np.isfinite(evaluations.measure(setups.setup(RunSpec(model=NAME)), method)["auroc"]).all()


def test_what_perturbs_images_is_never_offered() -> None:
    missing = requirements.lack(RunSpec(model=NAME), "adascale")
    assert missing
    assert not missing.click
    assert "made of features" in missing.text
    here = requirements.more_scores(RunSpec(model=NAME))
    assert not {"adascale", "adascale_l"} & here.there.keys()
    assert "AdaSCALE, AdaSCALE-L cannot be chosen here: there are no images to perturb" in here.missing


def test_fewer_rows_are_offered_and_computed() -> None:
    app = open_page("tradeoff", model=NAME, n=100)
    app.button(key="prepare_button").click().run()
    ran(app)
    assert "100 samples of what the network knows" in texts(app)


def test_a_link_to_a_folder_that_is_gone_gets_a_sentence() -> None:
    assert "no_such_folder" in texts(open_page("tradeoff", model="no_such_folder"))


def test_a_folder_that_does_not_work_is_named_in_the_library(folder: Path) -> None:
    other = folder.with_name("broken")
    write_folder(other)
    (other / "head.npz").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(plugins.VARIABLE, f"{folder}{os.pathsep}{other}")
        forget_plugins()
        words = texts(open_page("library", model=NAME))
    forget_plugins()
    assert "broken: the model 'broken' cannot be used: head.npz is missing" in words


def test_the_programs_of_views_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from app.ui import sample_code
    from app.ui.code import program

    spec = RunSpec(model=NAME)
    exec(program(spec), {"__name__": "__main__"})
    assert f"{NAME}.noise" in capsys.readouterr().out
    exec(sample_code.program(spec, f"{NAME}.id", 3), {"__name__": "__main__"})
    assert "class after kind" in capsys.readouterr().out


def test_the_guides_ten_lines_write_such_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "app/guide/own-network.md").read_text()
    block, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert text.index(block) < text.index("register_model")
    assert len([line for line in block.splitlines() if line.strip() and "import" not in line]) <= 13
    torch.manual_seed(0)
    head = nn.Linear(12, 3)
    model = nn.Sequential(nn.Conv2d(1, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()

    def loader(count: int) -> Any:
        return DataLoader(TensorDataset(torch.rand(count, 1, 8, 8), torch.arange(count) % 3), 16)

    sets = {"test": loader(50), "train": loader(60), "svhn": loader(40), "dtd": loader(30)}
    monkeypatch.chdir(tmp_path)
    exec(block, {"model": model, "head": head, **sets})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(plugins.VARIABLE, str(tmp_path / "mynet"))
        forget_plugins()
        entry = ash.get_model("mynet")
        assert (entry.ood_sets, len(entry.classes)) == (("mynet.dtd", "mynet.svhn"), 3)
        bank = ash.extract(entry, "penultimate", ash.get_dataset("mynet.id"))
        images = torch.cat([images for images, _ in sets["test"]])
        with torch.no_grad():
            assert np.array_equal(entry.build()(torch.from_numpy(bank.read().copy())).numpy(), model(images).numpy())
        assert bank.labels.tolist() == (torch.arange(50) % 3).tolist()
    forget_plugins()
