"""The top of the first page: the line for newcomers, and six images that stay while their verdicts change."""

from dataclasses import replace
from urllib.parse import parse_qsl

import numpy as np
import pytest
from app_pages import open_page
from streamlit.testing.v1 import AppTest

from app.backend import banks, evaluations, setups
from app.link.spec import OPENING, RunSpec, from_query
from app.ui import strip

pytestmark = pytest.mark.slow

PHOTOS, DENSENET, DEMO = "mobilenet_v2_photos", "densenet101_cifar10", "demo"
networks = pytest.mark.parametrize("model", [PHOTOS, DENSENET, DEMO])


def images(spec: RunSpec) -> list[tuple[str, int]]:
    return [(one.name, one.row) for one in strip.tiles(spec)]


def links(app: AppTest) -> list[RunSpec]:
    """Where the images lead."""
    found = [one.proto for one in app.get("page_link") if one.proto.label.endswith("Open in Samples")]
    assert {one.page for one in found} <= {"samples"}
    return [from_query(dict(parse_qsl(one.query_string)))[0] for one in found]


def written(app: AppTest) -> list[str]:
    return [one.proto.body for one in app.get("html")]


@networks
def test_the_six_stay_whatever_the_setting(model: str) -> None:
    spec = OPENING.having(model=model, variant="ash_s", p=0.0)
    assert len(images(spec)) == 6
    for other in ({"p": 90.0}, {"variant": "ash_b"}, {"variant": "none"}, {"other": "react@1.0+ash_s@80"}, {"tpr": 80}):
        assert images(spec.having(**other)) == images(spec)


@networks
def test_three_are_of_the_id_set_and_three_of_different_ood_sets_with_images(model: str) -> None:
    spec = OPENING.having(model=model)
    names = [name for name, _ in images(spec)]
    assert names[:3] == [setups.setup(spec).id_set] * 3
    assert len(set(names[3:])) == 3
    assert all(setups.whole_set(name).has_images for name in names[3:])


@networks
@pytest.mark.parametrize("method", ["none", "ash_s", "ash_b"])
def test_a_verdict_is_the_score_against_the_threshold(model: str, method: str) -> None:
    spec = OPENING.having(model=model, variant=method, p=85.0)
    for one in strip.tiles(spec):
        for text, said in ((str(spec.method), one.accepted), ("energy", one.before)):
            scores = evaluations.evaluation(setups.setup(spec), text)
            known = scores.id_scores
            score = (known if one.name == setups.setup(spec).id_set else scores.ood_scores[one.name])[one.row]
            accepted = np.mean(known > score) < 0.95  # fewer than 95 % of the ID images score higher
            assert said == accepted


def test_verdicts_change_as_the_setting_does() -> None:
    found = [strip.tiles(OPENING.having(p=p)) for p in (0.0, 60.0, 75.0, 90.0)]
    assert len({tuple(one.accepted for one in some) for some in found}) > 2
    assert any(one.before and not one.accepted for one in found[-1][3:])  # rejected by shaping alone
    assert {one.before for some in found for one in some} == {True, False}
    assert all([one.before for one in some] == [one.before for one in found[0]] for some in found)


def test_words_say_the_verdict_and_what_it_was_without_shaping() -> None:
    def words(is_id: bool, accepted: bool, before: bool, shaped: bool = True) -> tuple[str, str, str]:
        return strip.Tile("digits", 3, is_id, accepted, before).words(shaped)

    assert words(True, True, True) == ("accepted", "✓ right", "as before")
    assert words(False, True, True) == ("accepted", "✕ wrong", "as before")
    assert words(False, False, True) == ("rejected", "✓ right", "was accepted")
    assert words(True, True, False) == ("accepted", "✓ right", "was rejected")
    assert words(True, False, False, shaped=False) == ("rejected", "✕ wrong", "no shaping")


def test_few_ood_sets_give_several_images_each() -> None:
    both = strip.tiles(OPENING.having(ood=("emoji", "pages")))[3:]
    assert {one.name for one in both} == {"emoji", "pages"}
    assert len({(one.name, one.row) for one in both}) == 3
    alone = strip.tiles(OPENING.having(on="emoji"))[3:]
    assert [one.name for one in alone] == ["emoji"] * 3
    assert len({one.row for one in alone}) == 3


def test_sets_without_images_are_left_out_and_without_any_there_is_no_strip() -> None:
    spec = OPENING.having(model=DENSENET, ood=("isun", "dtd", "emoji"))
    assert {one.name for one in strip.tiles(spec)[3:]} == {"emoji"}
    assert strip.tiles(replace(spec, ood=("isun", "dtd"))) == []
    app = open_page("tradeoff", model=DENSENET, ood="isun,dtd")
    assert links(app) == []
    assert not [text for text in written(app) if "Known" in text]


def test_the_first_page_shows_them_and_leads_to_each_in_samples() -> None:
    app = open_page("tradeoff")
    assert {text for one in strip.tiles(OPENING) for text in one.words(True)} <= {
        part for text in written(app) for part in text.replace("<small>", ">").replace("<", ">").split(">")
    }
    assert sum("<img" in text for text in written(app)) == 6
    at = setups.setup(OPENING)
    for (name, row), link in zip(images(OPENING), links(app), strict=True):
        source = at.id_set if link.source == "id" else link.source
        title = setups.whole_set(source).names[link.sample]
        assert (source, title) == (name, banks.bank(at, name).names[row])
        assert link == OPENING.having(source=link.source, sample=link.sample, look="one")


def test_pictures_that_do_not_ship_say_so() -> None:
    app = open_page("tradeoff", model=DENSENET)
    assert sum("not shipped" in text for text in written(app)) == 3
    assert sum("<img" in text for text in written(app)) == 3
    assert len(links(app)) == 6


@pytest.mark.parametrize(
    ("query", "known", "kind", "unknown"),
    [
        ({}, "1,000", "photographs", "2,600"),
        ({"model": PHOTOS, "on": "emoji"}, "1,000", "photographs", "300"),
        ({"model": DEMO, "ood": "digits,noise"}, "3,000", "small grey pictures", "2,000"),
        ({"model": DENSENET}, "10,000", "small photographs", "11,525"),
    ],
)
def test_the_line_counts_what_the_numbers_are_on(query: dict[str, str], known: str, kind: str, unknown: str) -> None:
    app = open_page("tradeoff", **query)
    (line,) = [text.value for text in app.markdown if "Which does it accept?" in text.value]
    assert line.startswith(f"{known} {kind} ")
    assert f" {unknown} pictures" in line
