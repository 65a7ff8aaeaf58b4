"""Pages on an image of a user's own folder that cannot be shown: one clear sentence, and the way to another image."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

import ash
from app.backend import setups
from ash.data import get_dataset
from ash.models import get_model

ENTRY = Path(__file__).parents[2] / "app" / "main.py"
SET, COUNT = "own_pictures", 6
WHOLE, TRUNCATED, TEXT, GONE = 0, 1, 2, 3  # numbers of its images; 1 and 2 cannot be read
SAYS = {TRUNCATED: "1.png is not a readable image", TEXT: "2.png is not an image in a known format"}
PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "activations": ("activations", {}),
    "one sample": ("samples", {"look": "one"}),
    "lab": ("lab", {}),
    "modified ReLU": ("lab", {"room": "relu"}),
}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of six images in the data root, of which two are damaged, with activations of the others."""
    monkeypatch.setenv("ASH_DATA", str(tmp_path))
    monkeypatch.setenv("ASH_CACHE", str(tmp_path / "cache"))
    folder, digits = tmp_path / SET, get_dataset("digits")
    folder.mkdir()
    for number in range(COUNT):
        digits.image(number).save(folder / f"{number}.png")
    file = folder / f"{TRUNCATED}.png"
    file.write_bytes(file.read_bytes()[:-60])
    (folder / f"{TEXT}.png").write_text("no image")
    setups.look_again()
    ash.extract(get_model("demo"), "penultimate", get_dataset(SET))
    yield folder
    setups.look_again()


def page(name: str, sample: int, **query: str) -> AppTest:
    path, more = PAGES[name]
    app = AppTest.from_file(str(ENTRY), default_timeout=120)
    for key, value in {"ood": f"{SET},digits", "source": SET, "sample": str(sample), **more, **query}.items():
        app.query_params[key] = value
    app._page_hash = calc_hash(path)
    return sound(app.run())


def sound(app: AppTest) -> AppTest:
    """No traceback, and nothing that the program calls unexpected."""
    assert not app.exception
    assert not any("unexpected" in said for said in sentences(app))
    return app


def sentences(app: AppTest) -> list[str]:
    return [one.value.replace("\\", "") for one in app.error]


@pytest.mark.parametrize("name", PAGES)
def test_one_sentence_names_the_image_and_the_picker_leads_on(name: str) -> None:
    app = page(name, TRUNCATED)
    (said,) = sentences(app)
    assert SAYS[TRUNCATED] in said
    (said,) = sentences(sound(app.button(key="sample_next").click().run()))
    assert SAYS[TEXT] in said
    assert sentences(sound(app.button(key="sample_next").click().run())) == []
    assert app.session_state["spec"].sample == GONE
    assert len(sentences(sound(app.get_by_key("spec_sample").set_value(TRUNCATED).run()))) == 1
    assert sentences(sound(app.get_by_key("spec_source").set_value("digits").run())) == []


@pytest.mark.parametrize("name", PAGES)
def test_an_image_that_was_deleted_while_the_page_was_open(name: str, own: Path) -> None:
    app = page(name, WHOLE)
    assert sentences(app) == []
    (own / f"{GONE}.png").unlink()
    for _ in range(2):  # at once, or after a look at the folder
        sound(app.get_by_key("spec_sample").set_value(GONE).run())
        assert all(f"{GONE}.png cannot be read" in said for said in sentences(app))
        assert len(sentences(app)) <= 1
        assert sentences(sound(app.get_by_key("spec_sample").set_value(WHOLE).run())) == []
    assert sentences(page(name, WHOLE)) == []


@pytest.mark.parametrize("name", ["activations", "modified ReLU"])
def test_the_first_visit_after_an_image_was_deleted_says_so_and_the_next_run_looks_again(name: str, own: Path) -> None:
    assert len(setups.whole_set(SET)) == COUNT
    (own / f"{GONE}.png").unlink()
    app = page(name, WHOLE)
    assert all(f"{GONE}.png cannot be read" in said for said in sentences(app))
    assert sentences(sound(app.run())) == []
    assert len(setups.whole_set(SET)) == COUNT - 1
    assert sentences(sound(app.get_by_key("spec_sample").set_value(COUNT - 2).run())) == []


def test_the_image_beside_it_in_the_lab_can_be_changed_where_it_is_broken() -> None:
    app = page("modified ReLU", 0, source="id", pin=f"{SET}:{TRUNCATED}")
    assert SAYS[TRUNCATED] in sentences(app)[0]
    assert sentences(sound(app.get_by_key("lab_beside_number").set_value(WHOLE).run())) == []


def test_a_pinned_image_that_is_broken_can_be_let_go() -> None:
    app = page("one sample", WHOLE, pin=f"{SET}:{TEXT}")
    assert SAYS[TEXT] in sentences(app)[0]
    assert sentences(sound(app.button(key="one_unpin").click().run())) == []


def test_the_browser_of_thumbnails_says_which_have_no_picture() -> None:
    app = page("activations", WHOLE)
    app.session_state["sample_browse"] = True
    sound(app.run())
    (rows,) = [frame.value for frame in app.dataframe if "no picture" in frame.value]
    said = dict(zip(rows["number"], rows["no picture"], strict=True))
    assert {number: bool(words) for number, words in said.items()} == {n: n in SAYS for n in range(COUNT)}
    assert all(SAYS[number] in said[number] for number in SAYS)
    assert rows["image"].notna().tolist() == [n not in SAYS for n in range(COUNT)]
