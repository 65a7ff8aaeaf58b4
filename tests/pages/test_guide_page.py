"""The page Guide: every guide opens, whole, with links that lead where they say."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from app_pages import open_page, ran
from streamlit.testing.v1 import AppTest

from app.link.options import GUIDES
from app.link.spec import OPENING, from_query
from app.views.guide import page, text

pytestmark = pytest.mark.slow

every_guide = pytest.mark.parametrize("name", GUIDES)


def shown(app: AppTest) -> str:
    return "\n".join(str(one.value) for one in (*app.header, *app.subheader, *app.main.markdown))


def test_every_file_is_a_guide_with_a_title() -> None:
    assert {path.stem for path in (text.ROOT / "app" / "guide").iterdir()} == set(GUIDES) - {text.START}
    assert tuple(page.TITLES) == GUIDES


@every_guide
def test_it_opens_and_is_whole(name: str) -> None:
    app = open_page("guide", guide=name)
    read = text.read(name)
    assert [one.value for one in app.title] == ["Guide"]
    assert [one.value for one in app.header] == [read.title]
    assert [one.value for one in app.subheader] == [section.heading for section in read.sections]
    words = shown(app)
    # All that is written in the file is on the page: every line without a link; a link's line has its label.
    written = re.sub(
        r"<!--.*?-->|<picture>.*?</picture>|^## ?|^# ", "", text.path_of(name).read_text(), flags=re.M | re.S
    )
    assert [line for line in written.splitlines() if "](" not in line and line.strip() not in words] == []
    assert len(words.split()) > 200


@every_guide
def test_nothing_shows_that_is_only_for_the_repository(name: str) -> None:
    words = re.sub(r"```.*?```|`[^`\n]+`", "", shown(open_page("guide", guide=name)), flags=re.S)
    assert not re.search(r"<!--|</?[a-z]+[ >]|\.md\)", words)


@every_guide
def test_its_links_carry_the_view_to_a_guide_that_exists(name: str) -> None:
    app = open_page("guide", guide=name, p=80)
    for target in text.links(shown(app)):
        if target.startswith("#"):
            assert target[1:] in {section.anchor for section in text.read(name).sections}
        elif "://" not in target:
            spec, notices = from_query(dict(parse_qsl(urlsplit(target).query)))
            assert (spec.p, notices) == (80.0, [])
            place = urlsplit(target).fragment
            assert not place or place in {section.anchor for section in text.read(spec.guide.guide).sections}


def test_links_are_turned_and_code_is_not() -> None:
    written = (
        "[a](own-data.md#x) `[b](own-data.md)` [c](../../assets/README.md) [d](https://e.org) [f](../../README.md)"
    )
    turned = text.with_links(written, "tour", GUIDES, lambda guide, place: f"?{guide}#{place}")
    assert turned == (
        "[a](?own-data#x) `[b](own-data.md)` c (`assets/README.md`) [d](https://e.org) [f](?start#)"
    )  # fmt: skip


def test_comments_in_code_are_no_headings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "one.md"
    file.write_text(
        "# One\n\nfirst <!-- unseen -->\n\n```python\n# no heading\n<!-- seen -->\n```\n\n## It's two\n\nlast\n"
    )
    monkeypatch.setattr(text, "path_of", lambda name: file)
    read = text.read("made up for this test")
    assert (read.title, [section.anchor for section in read.sections]) == ("One", ["its-two"])
    assert "unseen" not in read.intro
    assert "# no heading\n<!-- seen -->" in read.intro


def test_the_choice_is_part_of_the_link_and_pages_turn() -> None:
    app = open_page("guide")
    assert app.session_state["spec"] == OPENING
    for step in (1, 2):
        app.button(key="guide_Next").click()
        ran(app)
        assert app.session_state["spec"].guide.guide == GUIDES[step]
        assert app.query_params["guide"] == GUIDES[step]
    app.button(key="guide_Previous").click()
    ran(app)
    assert app.session_state["spec"].guide.guide == GUIDES[1]


@pytest.mark.parametrize(("name", "missing"), [(GUIDES[0], "Previous"), (GUIDES[-1], "Next")])
def test_the_first_and_the_last_end_the_row(name: str, missing: str) -> None:
    keys = {button.key for button in open_page("guide", guide=name).button}
    assert {"guide_Previous", "guide_Next"} - keys == {f"guide_{missing}"}


def test_it_needs_neither_weights_nor_images() -> None:
    app = open_page("guide", model="resnet50", guide="serving")
    assert app.header[0].value == "Serving a team"
    assert not app.info


def test_a_guide_that_is_not_there_is_named() -> None:
    app = open_page("guide", guide="cooking")
    assert app.session_state["spec"].guide.guide == text.START
    assert "guide=cooking" in app.warning[0].value.replace("\\", "")
