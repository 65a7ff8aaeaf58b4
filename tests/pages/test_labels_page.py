"""How the labels of an own folder or list were read is said where it is chosen: in the sidebar and in the Library."""

import html
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from library_driver import choose, data_fixture, opened, words  # noqa: F401  (fixtures)
from streamlit.testing.v1 import AppTest

from app.backend import setups
from ash.data import get_dataset

ENTRY = Path(__file__).parents[2] / "app" / "main.py"
SET = "own_garments"


def pictures(folder: Path, *names: str) -> None:
    images = get_dataset("fashion_mnist")
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        images.image(number).save(folder / name)


def by_name(data: Path) -> None:
    pictures(data / SET, "t_shirt/1.png", "Ankle boot/1.png", "Ankle boot/2.png")


def by_number(data: Path) -> None:
    pictures(data / SET, "0/1.png", "9/1.png", "9/2.png")


def in_splits(data: Path) -> None:
    pictures(data / SET, "train/0/1.png", "train/9/1.png", "val/9/2.png")


def listed_by_name(data: Path) -> None:
    pictures(data, "a.png", "b.png", "c.png")
    (data / f"{SET}.csv").write_text("image,label\na.png,t_shirt\nb.png,Ankle boot\nc.png,Ankle boot\n")


def listed_by_number(data: Path) -> None:
    pictures(data, "a.png", "b.png", "c.png")
    (data / f"{SET}.csv").write_text("image,label\na.png,0\nb.png,9\nc.png,9\n")


def foreign(data: Path) -> None:
    pictures(data / SET, "shirts/1.png", "boots/1.png")


def foreign_number(data: Path) -> None:
    pictures(data, "a.png", "b.png")
    (data / f"{SET}.csv").write_text("image,label\na.png,0\nb.png,10\n")


CASES = [
    (by_name, ("2 classes from folder names", "Ankle boot = 9", "0 images in")),
    (by_number, ("2 classes from folder names, read as class numbers", "9 = Ankle boot", "0 images in")),
    (in_splits, ("read as class numbers", "train, val are read together")),
    (listed_by_name, ("2 classes from ", "Ankle boot = 9")),
    (listed_by_number, ("2 classes from ", "9 = Ankle boot")),
    (foreign, ("'boots', 'shirts' are no classes of", "0 to 9")),
    (foreign_number, ("label 10, which is no class",)),
]


def in_the_sidebar(**query: str) -> str:
    app = AppTest.from_file(str(ENTRY), default_timeout=120)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return "\n".join(one.value for one in app.sidebar.caption).replace("\\", "")


@pytest.mark.parametrize(("made", "facts"), CASES, ids=[made.__name__ for made, _ in CASES])
def test_how_labels_were_read_is_said(made: Callable[[Path], None], facts: tuple[str, ...], data: Path) -> None:
    made(data)
    library, sidebar = html.unescape(words(choose(opened("data"), "data", SET))), in_the_sidebar(id=SET)
    for said in (library, sidebar):
        assert all(fact in said for fact in facts), said
    assert "As an ID set" in library
    assert not any(fact in in_the_sidebar() for fact in facts)  # only of a set that is chosen


def test_a_set_without_labels_has_nothing_to_say_of_them(data: Path) -> None:
    pictures(data / SET, "1.png", "2.png")
    assert "As an ID set" not in words(choose(opened("data"), "data", SET))


def test_an_id_set_that_is_taken_away_during_a_session_is_named_and_the_page_goes_on(data: Path) -> None:
    by_name(data)
    app = AppTest.from_file(str(ENTRY), default_timeout=120)
    app.query_params["id"] = SET
    app.run()
    assert app.session_state["spec"].id == SET
    shutil.rmtree(data / SET)
    setups.look_again()
    app.run()
    assert not app.exception
    assert not app.error
    assert app.session_state["spec"].id == ""
    assert [f"id={SET}, which is not known here" in one.value.replace("\\", "") for one in app.warning] == [True]
