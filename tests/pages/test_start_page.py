"""Start: one click from the first page and back, six images, and one of them followed with the numbers of all pages."""

from urllib.parse import parse_qsl

import numpy as np
import pytest
from app_pages import open_page, texts
from streamlit.testing.v1 import AppTest

from app.backend import evaluations, samples
from app.link.spec import OPENING, RunSpec, from_query
from app.ui.lessons.facts import Here
from app.views.start import way
from ash.metrics import accepts, threshold_at_tpr

pytestmark = pytest.mark.slow

networks = pytest.mark.parametrize("model", ["mobilenet_v2_photos", "densenet101_cifar10", "demo"])


def links(app: AppTest) -> dict[str, tuple[str, RunSpec]]:
    """Label -> the page that a link of the page leads to, and its spec."""
    found = [one.proto for one in app.get("page_link")]
    return {one.label: (one.page, from_query(dict(parse_qsl(one.query_string)))[0]) for one in found}


def test_it_is_one_click_from_the_first_page_and_leads_back() -> None:
    there = links(open_page("tradeoff", p=70))["New here? Start"]
    assert there == ("start", RunSpec(p=70.0))
    back = [one for label, one in links(open_page("start", p=70)).items() if label.startswith("Back to Trade-off")]
    assert back == [("", RunSpec(p=70.0))] or back == [("tradeoff", RunSpec(p=70.0))]


@pytest.mark.parametrize("method", ["adascale@70", "odin", "knn"])
def test_a_method_that_lacks_something_says_what_as_the_other_pages_do(method: str) -> None:
    app = open_page("start", model="mobilenet_v2_photos", method=method)
    assert not app.exception
    assert not app.error
    (said,) = (one.value for one in open_page("scores", model="mobilenet_v2_photos", method=method).info)
    assert "cannot be shown yet" in said
    assert said in [one.value for one in app.info]


@networks
def test_it_shows_six_images_and_six_steps_with_their_lessons(model: str) -> None:
    app = open_page("start", model=model)
    leads = links(app)
    assert sum(label.endswith("Open in Samples") for label in leads) == 6
    lessons = {
        label: one.lessons.lesson for label, (page, one) in leads.items() if page == "lessons" and label != "Lessons"
    }
    assert lessons == {"Lesson 1": "inputs", "Lesson 2": "pruning", "Lesson 3": "shaping", "Lesson 4": "choosing"}
    assert leads["Your own images"][1].samples.look == "own"
    said = texts(app)
    for place, title in enumerate(("Picture", "Score", "Prune", "Shape", "Choose", "Your own photograph"), start=1):
        assert f"**{place}. {title}**" in said


@networks
@pytest.mark.parametrize("variant", ["ash_p", "ash_b", "ash_s", "react"])
def test_the_followed_image_has_the_numbers_of_its_evaluation(model: str, variant: str) -> None:
    here = Here(OPENING.having(model=model, variant=variant, p=80.0))
    one = way.followed(here)
    assert one.method.variant == ("ash_s" if variant == "react" else variant)
    row = list(samples.bank(here.at, one.data).names).index(one.name)
    for text, score, line in zip(("energy", str(one.method)), one.scores, one.lines, strict=True):
        found = evaluations.evaluation(here.at, text)
        assert score == pytest.approx(float(found.ood_scores[one.data][row]))
        assert line == pytest.approx(float(threshold_at_tpr(found.id_scores, 0.95)))
    rescuable = False
    before, after = (evaluations.evaluation(here.at, text) for text in ("energy", str(one.method)))
    for name in here.sets:
        old, new = accepts(before.ood_scores[name], one.lines[0]), accepts(after.ood_scores[name], one.lines[1])
        rescuable |= bool(np.any(old & ~new)) and one.picture is not None
    assert one.accepted == (True, False) or not rescuable
    words = [step.words for step in way.steps(one, "")]
    assert f"{one.kept:,}" in words[2]
    assert words[3].endswith("rejected." if not one.accepted[1] else "accepted.")
