"""Sets of which activations ship and images do not: what pages show in place of an image, and what they leave out."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.backend import registry, requirements, samples, setups, thumbnails
from app.backend.evaluations import evaluation
from app.backend.uploads import Uploads
from app.link.spec import OPENING, RunSpec
from app.ui import pictures
from ash.data import DATASETS
from ash.datasets import dataset_entries
from ash.metrics import threshold_at_tpr
from ash.models import get_model
from tests.app_pages import open_page

pytestmark = pytest.mark.slow

DENSENET = RunSpec(model="densenet101_cifar10")
LISTED = "dtd"


def html_of(app: AppTest) -> str:
    return " ".join(str(one.proto.body) for one in app.get("html"))


def captions(app: AppTest) -> str:
    return " ".join(one.value for one in app.caption)


def test_a_card_has_a_tile_with_set_and_class_and_nothing_is_called_broken() -> None:
    app = open_page("samples", model="mobilenet_v2_photos", look="grid", among=LISTED)
    page = html_of(app)
    assert page.count("Textures, none of the classes, image does not ship") >= 24
    assert "No picture" not in page
    assert "python -m ash fetch dtd" in captions(app)


def test_an_id_image_that_does_not_ship_has_its_class_on_its_tile() -> None:
    assert "CIFAR-10, airplane, image does not ship" in html_of(
        open_page("samples", model="densenet101_cifar10", look="one", sample=0)
    )


@pytest.mark.parametrize("page", ["activations", "lab"])
def test_pages_about_one_sample_show_it_without_its_image(page: str) -> None:
    app = open_page(page, model="mobilenet_v2_photos", source=LISTED, sample=5)
    assert "image does not ship" in html_of(app)
    assert "python -m ash fetch dtd" in captions(app)


def test_a_sample_without_its_image_has_the_activation_that_ships() -> None:
    at = setups.setup(OPENING)
    one = samples.sample(at, "ash_s@80", LISTED, 5)
    assert one.picture is None
    assert one.x.size == 1280
    assert thumbnails.small_pictures([(LISTED, 5)])[0].absent
    assert samples.sample(at, "ash_s@80", "photos", 0).picture is not None


@pytest.mark.parametrize("change", [{"placement": "features.18.2"}, {"images": 100}])
def test_where_only_computing_helps_a_listed_set_is_left_out_and_said_to_be(change: dict[str, object]) -> None:
    spec = OPENING.having(**change)
    assert LISTED in setups.setup(OPENING).ood
    assert LISTED not in setups.setup(spec).ood
    assert LISTED not in setups.wider(setups.setup(spec)).ood
    assert list(setups.left_out(spec)) == [LISTED]
    assert not setups.left_out(OPENING)


def test_the_page_says_what_it_leaves_out() -> None:
    app = open_page("tradeoff", model="mobilenet_v2_photos", placement="features.18.2")
    assert "Left out here" in captions(app)
    assert "fetch dtd" in captions(app)


@pytest.mark.parametrize("change", [{"placement": "relu"}, {"images": 100}])
def test_an_id_set_that_is_listed_is_never_offered_to_be_computed(change: dict[str, object]) -> None:
    reason = requirements.unready(DENSENET.having(**change))
    assert "CIFAR-10" in reason
    assert "do not ship" in reason
    app = open_page("scores", model="densenet101_cifar10", **{{"images": "n"}.get(k, k): v for k, v in change.items()})
    assert not [one for one in app.button if one.key == "prepare_button"]
    app.button(key="what_ships").click().run()
    assert not app.exception
    assert not [one for one in app.info if "nothing can be measured" in one.value]


def test_placements_offer_no_computing_from_a_set_without_images() -> None:
    app = open_page("placements", model="densenet101_cifar10")
    offers = [one for one in app.button if str(one.key).startswith("compute_")]
    assert offers
    assert all(one.disabled for one in offers)
    assert "fetch cifar10" in captions(app)


def test_odin_on_a_listed_set_says_which_images_it_lacks() -> None:
    lack = requirements.lack(OPENING, "odin")
    assert lack is not None
    assert not lack.click
    assert "Textures" in lack.text
    assert lack.commands == ("python -m ash fetch dtd",)


def test_the_library_tells_activations_from_images_and_offers_to_fetch() -> None:
    app = open_page("library", model="densenet101_cifar10", shelf="data")
    assert "activations ship, images do not" in html_of(app)
    assert app.button(key="data_fetch")
    frame = next(one.value for one in app.dataframe if "Data set" in one.value.columns)
    row = frame.loc[frame["Name"] == "cifar10"].iloc[0]
    assert (row["Number"], row["Of"], row["On disk"]) == (0, 10_000, 0)


def test_a_photograph_is_shown_with_its_author_as_it_is_written() -> None:
    rows = setups.whole_set("photos").rows  # type: ignore[attr-defined]
    number = next(at for at, row in enumerate(rows) if "\\303\\251" in row["author"])
    said = pictures.credit("photos", number)
    assert "é" in said
    assert "CC BY 2.0" in said
    assert rows[number]["page"] in said
    assert pictures.credit("emoji", 0) == pictures.credit(LISTED, 0) == ""


def test_the_data_command_tells_activations_from_images() -> None:
    from click.testing import CliRunner

    from ash.commands.data import data

    every, one = (CliRunner().invoke(data, args).output for args in ([], [LISTED]))
    line = next(line for line in every.splitlines() if line.startswith("dtd "))
    assert "activations of 1,200" in line
    assert "fetch dtd" in one


def test_a_photograph_of_ones_own_has_its_class_and_verdict_under_the_opening_network() -> None:
    at, data = setups.setup(OPENING), setups.whole_set("photos")
    classes = registry.entry(OPENING.model).classes
    file = io.BytesIO()
    data.image(0).save(file, "PNG")
    own = Uploads()
    own.add("mine.png", file.getvalue())
    for _ in own.work(at, "energy", "ash_s@80"):
        pass
    (scored,) = own.scored.values()
    assert classes[scored.predicted[1]] == classes[data.labels[0]] == "giant panda"
    after = evaluation(at, "ash_s@80")
    assert scored.scores[1] == pytest.approx(float(after.id_scores[0]), rel=0.01)
    assert scored.scores[1] > threshold_at_tpr(after.id_scores, 0.95)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data root of one's own, and in it what ships: files that are not as they were are found in `images`."""
    monkeypatch.setenv("ASH_DATA", str(tmp_path))
    monkeypatch.setattr(dataset_entries, "SHIPPED", tmp_path)
    monkeypatch.setitem(DATASETS, "photos", replace(DATASETS["photos"], home=tmp_path))
    (tmp_path / "images").mkdir()
    setups.look_again()
    yield tmp_path
    monkeypatch.undo()
    setups.look_again()


def test_with_weights_of_ones_own_what_ships_is_said_to_be_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = get_model(DENSENET.model).build().state_dict()
    name = next(reversed(weights))
    (tmp_path / "checkpoints").mkdir()
    torch.save({**weights, name: weights[name] + 1}, tmp_path / "checkpoints" / f"{DENSENET.model}.pth")
    with monkeypatch.context() as patch:
        patch.setenv("ASH_DATA", str(tmp_path))
        setups.look_again()
        reason = requirements.unready(DENSENET)
        app = open_page("tradeoff", model=DENSENET.model)
    setups.look_again()
    assert "of other weights" in reason
    assert f"{DENSENET.model}.pth" in reason
    assert "of other weights" in " ".join(one.value for one in app.info)
    assert "what_ships" not in [one.key for one in app.button]  # a click could not bring it


def test_a_listed_set_whose_list_is_damaged_is_not_called_missing(folder: Path) -> None:
    (folder / "images" / "cifar10.csv").write_text("image,label\nno,number\n")
    assert "cannot be read" in requirements.unready(DENSENET)
    assert any("cifar10.csv" in sentence for sentence in requirements.unfetchable(DENSENET))
    assert "cannot be read" in " ".join(one.value for one in open_page("tradeoff", model=DENSENET.model).info)


@pytest.mark.parametrize("content", [b"no archive", None])
def test_a_set_that_ships_and_is_not_there_or_damaged_is_not_offered_to_be_fetched(
    folder: Path, content: bytes | None
) -> None:
    if content:
        (folder / "images" / "photos.zip").write_bytes(content)
    assert ("cannot be read" if content else "are missing") in requirements.unready(OPENING)
    assert "photos" not in requirements.needed(OPENING)
    assert any("demo build" in said or "photos.zip" in said for said in requirements.unfetchable(OPENING))
