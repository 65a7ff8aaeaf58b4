"""Lessons and questions: no typed number, every placeholder filled, answers computed, pages and handouts."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from app_pages import open_page as page
from app_pages import sent
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app.backend import evaluations, shipping
from app.backend import lessons as numbers
from app.charts.front import Setting
from app.charts.line_chart import Against, Line, figure, finding, table
from app.charts.placements import Place, Placements
from app.link.spec import RunSpec
from app.ui import texts
from app.ui.lessons import charts as lesson_charts
from app.ui.lessons import outcomes, questions, set_pictures, template
from app.ui.lessons.facts import Found, Here, best, reach
from app.ui.lessons.facts_choice import losses, thresholds
from app.ui.lessons.template import TemplateError, fill
from app.ui.lessons.words import gap, order
from app.views.lessons import handout
from app.views.lessons import page as lessons
from ash.methods import Method
from ash.metrics import auroc
from ash.shaping import ash_p

STRUCTURAL = re.compile(
    r"(?:Table|Figure|Algorithm) \d|Section \d\.\d|FPR95|95 %|p = 0\b|s1|s2"  # of the paper, or a definition
)
LESSONS, QUESTIONS = list(texts.lessons()), list(texts.questions())


@pytest.fixture(scope="module")
def here() -> Here:
    return Here(RunSpec())


@pytest.fixture(scope="module", params=["demo", "mobilenet_v2_photos", "densenet101_cifar10"])
def ships(request: pytest.FixtureRequest) -> Here:
    """Every network that ships."""
    return Here(RunSpec(model=request.param))


def words(app: AppTest) -> str:
    return " ".join(block.value for block in app.markdown)


# Texts


@pytest.mark.parametrize("text", [*texts.lessons().values(), *texts.questions().values()], ids=lambda one: one.id)
def test_no_number_is_typed(text: texts.Lesson | texts.Question) -> None:
    typed = STRUCTURAL.sub("", template.without(text.text))
    assert not re.findall(r".{0,20}\d.{0,20}", typed)


def test_a_typed_number_would_be_found() -> None:
    assert re.search(r"\d", STRUCTURAL.sub("", template.without("Table 5 has {auroc}, and 97.1 at p = 05")))


@pytest.mark.parametrize("name", LESSONS)
def test_every_placeholder_of_a_lesson_is_known_in_every_branch(name: str, ships: Here) -> None:
    found, lesson = lesson_charts.found(ships, name), texts.lessons()[name]
    check(lesson.text, found.values, found.facts)
    charts = {text for kind, text in lesson.parts if kind == "chart"}
    assert charts <= {*found.pictures, *lesson_charts._SPECIAL}
    (question,) = (text for kind, text in lesson.parts if kind == "predict")
    assert question in texts.questions()
    pictures = [text for kind, text in lesson.parts if kind == "pictures"]
    assert pictures
    for group in (one for text in pictures for one in set_pictures.GROUPS[text](ships)):
        assert group.title.startswith((*ships.labels.values(), ships.common()["id_set"]))
    assert all("{" not in text for kind, text in lessons.filled(lesson, found))
    assert "Recap" in lesson.text
    assert 3 <= lesson.minutes <= 7


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_right_answer_of_a_question_is_computed_and_one_of_the_three(name: str, ships: Here) -> None:
    question = texts.questions()[name]
    found = outcomes.earlier(ships, two_placements(80.0)) if name == "earlier" else questions.outcome(ships, name)
    assert found is not None
    assert found.right in question.answers
    check(question.text, ships.common() | found.values, ships.facts() | found.facts)


GARMENTS = re.compile(r"garment|cloth|fashion|sneaker|shirt|28 x 28|demo\b|photograph", re.IGNORECASE)


@pytest.mark.parametrize("text", [*texts.lessons().values(), *texts.questions().values()], ids=lambda one: one.id)
def test_no_text_counts_on_what_one_network_sees(text: texts.Lesson | texts.Question) -> None:
    assert not GARMENTS.findall(template.without(text.text))


def check(text: str, values: dict[str, str], facts: dict[str, bool]) -> None:
    """Everything that a text asks for in any branch is there, and no value is NaN."""
    asked, conditions = template.names(text)
    assert asked <= values.keys()
    assert conditions <= facts.keys()
    assert not [name for name, value in values.items() if "nan" in value.lower().split()]
    fill(text, values, facts)


def test_the_template_is_strict() -> None:
    assert (
        fill("{a} is {if up}up{else}down{end}{if not up}, alas{end}.", {"a": "x"}, {"up": False}) == "x is down, alas."
    )
    assert fill("{a}{if up} up{end}", {"a": "x {b}"}, {"up": True}) == "x {b} up"
    for text in ("{b}", "{if left}x{end}", "{a", "a}", "{if up}x", "{A}"):
        with pytest.raises(TemplateError):
            fill(text, {"a": "x"}, {"up": True})


def test_words_are_true_for_every_sign() -> None:
    assert gap(3.14, "it") == "3.1 points higher than it"
    assert gap(-1.0, "it") == "1.0 point lower than it"
    assert gap(-0.04, "it") == "the same as it"
    assert [order(value) for value in (0.6, -0.6, 0.4, -0.4)] == ["higher", "lower", "same", "same"]


# Numbers


def test_curves_are_those_of_the_trade_off(here: Here) -> None:
    rows = evaluations.table(here.at, "energy").query("ood == 'mean'").set_index("method")
    for variant in ("ash_p", "ash_b", "ash_s"):
        for one in here.curve(variant):
            row = rows.loc[f"{variant}@{one.p:g}"]
            assert (one.accuracy, one.auroc) == pytest.approx((row["id_accuracy"], row["auroc"]))
    assert here.point("ash_s", 65).auroc == pytest.approx(rows.loc["ash_s@65", "auroc"])


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 35.0, 65.0, 95.0, 99.0]))
def test_linear_scaling_is_pruning_times_the_ratio_of_sums(seed: int, p: float) -> None:
    x = np.random.default_rng(seed).integers(0, 4, (5, 12)).astype(np.float32)  # many ties, rows of zeros
    (shaped,) = numbers.linear_scaling(x, [p])
    pruned = ash_p(torch.from_numpy(x), p).numpy()
    s2 = pruned.sum(1, keepdims=True)
    expected = pruned * np.where(s2 > 0, x.sum(1, keepdims=True) / np.where(s2 > 0, s2, 1), 1)
    np.testing.assert_allclose(shaped, expected, rtol=1e-6)


def test_the_linear_curve_meets_the_unshaped_network_at_zero(here: Here) -> None:
    first = numbers.linear_curve(here.at, here.sets)[0]
    assert (first.accuracy, first.auroc) == pytest.approx((here.base.accuracy, here.base.auroc), abs=1e-3)


def test_what_a_held_out_set_costs(here: Here) -> None:
    found, sets = [], here.sets
    scrub = {p: evaluations.evaluation(here.at, f"ash_b@{p}") for p in range(0, 100, 5)}
    area = {p: {name: 100 * auroc(one.id_scores, one.ood_scores[name]) for name in sets} for p, one in scrub.items()}
    for left in sets:
        chosen = max(area, key=lambda p: np.mean([area[p][name] for name in sets if name != left]))
        found.append(max(row[left] for row in area.values()) - area[chosen][left])
    assert numbers.held_out(here.at, "ash_b", sets) == pytest.approx(np.mean(found), abs=1e-6)
    assert numbers.held_out(here.at, "ash_b", sets[:1]) is None


def test_reach_stops_at_the_first_loss() -> None:
    curve = tuple(numbers.Point(p, accuracy, p, 0.0) for p, accuracy in ((0, 90.0), (50, 89.2), (90, 80.0), (95, 90.0)))
    assert reach(curve, 90.0) == 50
    assert reach(curve, 99.0) is None
    assert best(curve).p == 95


def two_placements(at_the_earlier: float) -> Placements:
    def place(name: str, accuracy: float) -> Place:
        energy = Setting(Method(), 90.0, 90.0, 40.0, 90.0)
        pruned = Setting(Method("ash_p", 80), accuracy, 90.0, 40.0, 90.0)
        return Place(name, name, (10, 10), energy, (pruned,))

    places = (place("block", at_the_earlier), place("penultimate", 89.0), Place("other", "other", (0, 0)))
    return Placements(places, "ash_p", "energy", "auroc", (80.0,), ("penultimate", Method("ash_p", 80)))


@pytest.mark.parametrize(
    ("accuracy", "answer", "said"),
    [
        (70.0, "sooner", "loses 20.0 points of accuracy"),
        (89.2, "same", "loses 0.8 points of accuracy"),
        (90.0, "later", "keeps its accuracy"),
        (90.4, "later", "gains 0.4 points of accuracy"),
    ],
)
def test_earlier_placements_are_compared_by_their_losses(accuracy: float, answer: str, said: str, here: Here) -> None:
    found = outcomes.earlier(here, two_placements(accuracy))
    assert found.right == answer
    assert found.values["earliest_change"] == said
    assert found.facts["is_missing"]
    assert len(found.picture.lines) == 2


def test_differences_add_up_as_both_numbers_are_shown(ships: Here) -> None:
    values, harm = thresholds(ships).values, outcomes.harmed(ships).values
    for one, other, difference in (
        (values["local_auroc"], values["global_auroc"], values["threshold_gap"]),
        (harm["least_auroc"], harm["least_plain"], harm["least_gap"]),
    ):
        shown = float(one.split()[0]) - float(other.split()[0])
        assert difference.startswith(f"{abs(shown):.1f} point" if round(shown, 1) else "the same")


def test_placements_that_share_no_percentile_are_not_compared() -> None:
    shown = two_placements(70.0)
    first, last, other = shown.places
    odd = replace(first, settings=(replace(first.settings[0], method=Method("ash_p", 33)),))
    p, found = losses(replace(shown, places=(odd, last, other)))
    assert (p, [place.name for place, _ in found]) == (80.0, ["penultimate"])
    p, found = losses(shown)
    assert (p, [loss for _, loss in found]) == (80.0, pytest.approx([20.0, 1.0]))


def test_answers_follow_the_curves(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = {name: here.curve(name) for name in ("ash_p", "ash_b", "ash_s", "ash_rand")}

    def constant(auroc: float, accuracy: float) -> numbers.Curve:
        return tuple(numbers.Point(one.p, accuracy, auroc, 50.0) for one in flat["ash_s"])

    other = Here(RunSpec())
    monkeypatch.setattr(other, "curve", lambda name: constant(55.0, 91.0) if name == "ash_rand" else flat[name])
    assert outcomes.random_values(other).right == "little"
    monkeypatch.setattr(other, "curve", lambda name: constant(90.0, 91.0 if name == "ash_s" else 92.0))
    assert outcomes.scaled(other).right == "lower"
    assert outcomes.zero(other).right == ("keeps" if here.base.accuracy - 92.0 <= 0.5 else "loses")
    monkeypatch.setattr(numbers, "linear_curve", lambda *_: constant(89.9, 92.0))
    assert outcomes.exponent(other).right == "same"
    monkeypatch.setattr(numbers, "global_curve", lambda *_: constant(80.0, 92.0))
    assert outcomes.threshold(other).right == "higher"


# Pages


@pytest.mark.slow
def test_the_overview_opens_every_lesson() -> None:
    app = page("lessons")
    text = words(app)
    for name in LESSONS:
        assert texts.lessons()[name].title in text
        assert app.button(key=f"open_{name}")
    app.button(key="open_pruning").click().run()
    assert app.query_params["lesson"] == "pruning"
    assert app.title[0].value == texts.lessons()["pruning"].title


@pytest.mark.slow
@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_renders_with_its_controls_and_no_others(name: str) -> None:
    app = page("lessons", lesson=name)
    lesson = texts.lessons()[name]
    assert app.title[0].value == lesson.title
    (question,) = (text for kind, text in lesson.parts if kind == "predict")
    assert "Recap" not in words(app), "what follows the question answers it"
    app.button(key=f"read_on_{question}").click().run()
    assert "Recap" in words(app)
    assert app.button(key=f"answer_{question}_{next(iter(texts.questions()[question].answers))}")
    assert "{" not in words(app)
    shown = {one.key for one in (*app.sidebar.selectbox, *app.sidebar.slider)}
    assert ("spec_model" in shown) == ("model" in lesson.controls)
    assert ("spec_variant" in shown) == ("variant" in lesson.controls)
    assert "spec_placement" not in shown
    order = LESSONS.index(name)
    if order + 1 < len(LESSONS):
        app.button(key="next_bottom").click().run()
        assert app.query_params["lesson"] == LESSONS[order + 1]
        app.button(key="previous_top").click().run()
        assert app.query_params["lesson"] == name
    assert not app.exception


@pytest.mark.slow
def test_an_answer_is_not_judged_by_another_question() -> None:
    """With another budget the setting that wins is another one: it is asked anew, and the lesson stays open."""
    app = page("lessons", lesson="choosing", model="mobilenet_v2_photos")
    app.button(key="answer_chosen_other").click().run()
    assert "agrees" in app.success[0].value
    app.selectbox(key="spec_budget_lesson").set_value(2.0).run()
    assert not app.success
    assert app.button(key="answer_chosen_ash")
    assert "Recap" in words(app)
    app.button(key="answer_chosen_ash").click().run()
    assert "agrees" in app.success[0].value


@pytest.mark.slow
def test_another_network_asks_its_own_question() -> None:
    app = page("lessons", lesson="inputs", model="demo")
    app.button(key="read_on_sure").click().run()
    assert "Recap" in words(app)
    app.selectbox(key="spec_model").set_value("densenet101_cifar10").run()
    assert "Recap" not in words(app)


@pytest.mark.slow
def test_a_lesson_follows_its_slider(here: Here) -> None:
    app = page("lessons", lesson="pruning")
    app.button(key="answer_pruned_keeps").click().run()
    app.slider(key="spec_p_lesson").set_value(90).run()
    assert app.query_params["p"] == "90"
    assert f"{here.point('ash_p', 90).auroc:.1f} %" in words(app)


@pytest.mark.slow
def test_a_lesson_that_is_not_there_is_named() -> None:
    app = page("lessons", lesson="cooking")
    assert "lesson" in app.warning[0].value
    assert app.title[0].value == "Lessons"


@pytest.mark.slow
def test_the_curve_comes_after_the_answer(here: Here) -> None:
    app = page("lab", room="predict", question="zero")
    right = questions.outcome(here, "zero")
    assert right is not None
    with pytest.raises(KeyError):
        app.get_by_key("lesson_prediction_zero")
    assert "**0 of 10 right**" in words(app)
    app.button(key=f"answer_zero_{right.right}").click().run()
    chart = sent(app, "lesson_prediction_zero")["figure"]
    drawn = next(trace for trace in chart["data"] if trace["name"] == "ASH-B")
    assert drawn["y"] == pytest.approx([one.accuracy for one in here.curve("ash_b")], abs=1e-3)
    assert "agrees" in app.success[0].value
    assert "**1 of 10 right**" in words(app)
    app.button(key="question_arrow_forward").click().run()
    assert app.query_params["question"] == "scaled"
    wrong = next(name for name in texts.questions()["scaled"].answers if name != outcomes.scaled(here).right)
    app.button(key=f"answer_scaled_{wrong}").click().run()
    assert "Measured here" in app.info[0].value
    assert "**1 of 10 right**, 2 answered" in words(app)


@pytest.mark.slow
def test_a_question_about_placements_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "all_shipped", tuple)  # with none, only what is computed here is known
    app = page("lab", room="predict", question="earlier")
    assert "Third block" in app.info[0].value
    assert not [one for one in app.button if (one.key or "").startswith("answer_")]


@pytest.mark.slow
def test_a_question_about_placements_is_answered_from_what_was_measured_before() -> None:
    app = page("lab", room="predict", question="earlier")
    assert not app.info
    assert len([one for one in app.button if (one.key or "").startswith("answer_")]) == 3


# Pictures and handouts

PICTURE = Against(
    "p <x>",
    "AUROC (%)",
    (
        Line("a & <b>", "ash_s", ((0.0, 90.0), (50.0, 95.0), (95.0, 80.0))),
        Line("c", "muted", ((0.0, 91.0), (95.0, 92.0))),
    ),
    ("Energy", 90.5),
    50.0,
)


def test_a_picture_is_a_record_a_figure_and_a_table() -> None:
    drawn = figure(PICTURE, dark=True).checked()
    assert [trace.name for trace in drawn.data] == ["Energy", "a & <b>", "c"]
    assert finding(PICTURE) == "AUROC (%), highest: a & <b> 95.0 at p = 50; c 92.0 at p = 95. Dotted: Energy, 90.5."
    assert list(table(PICTURE)["c"].dropna()) == [91.0, 92.0]
    assert len({line.mark.dash for line in PICTURE.lines}) == 2


class Strict(HTMLParser):
    """Every tag closes, and nothing is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {name for name, _ in attrs} & {"href", "onload"}
        assert all(value and value.startswith("data:image/") for name, value in attrs if name == "src")
        assert tag not in ("script", "link", "iframe", "object")
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def printed(name: str, here: Here, found: Found) -> str:
    lesson = texts.lessons()[name]
    blocks = lessons.filled(lesson, found)
    foot = lessons.handout_foot(here, "<i>x</i>")
    return handout.page(lesson.title, lesson.question, blocks, found.pictures, lessons.printed(here, blocks), foot)


@pytest.mark.parametrize("name", LESSONS)
def test_a_handout_is_one_file_with_its_pictures(name: str, here: Here) -> None:
    found = lesson_charts.found(here, name)
    text = printed(name, here, found)
    parser = Strict()
    parser.feed(text)
    assert not parser.open
    assert "://" not in text
    assert "url(" not in text.replace("url(#hatch)", "")
    assert text.count("<svg ") == len(found.pictures)
    assert text.count("<img ") >= 2 * set_pictures.EACH * (name == "inputs") + 7 * (name not in ("inputs", "reporting"))
    assert "Measured here: " in text
    assert "&lt;i&gt;x&lt;/i&gt;" in text
    assert "\\" not in text
    assert "NaN" not in text
    assert "**" not in text


def test_a_handout_prints_the_marks_that_its_text_describes(here: Here) -> None:
    marks = {  # what a text says -> what is in the picture below it
        "inputs": {"Each bar": "<rect ", "hatched": "url(#hatch)"},
        "choosing": {
            "Each mark": ">●</text>",
            "grey steps": 'stroke="#BBB"',
            "The ring": "<circle ",
            "turns grey": "#E4E4E4",
        },
        "reporting": {},
    }
    for name, said in marks.items():
        text = printed(name, here, lesson_charts.found(here, name))
        for words_, mark in said.items():
            assert words_ in text
            assert mark in text
        assert len(text.rpartition('<p class="small">')[2]) < 500


def test_hatched_bars_are_those_that_are_accepted(here: Here) -> None:
    record = lesson_charts.found(here, "inputs").pictures["energy_scores"]
    assert record.at is not None
    drawn = handout.svg(record)
    accepted = sum(x >= record.at - 1e-9 for x, _ in record.lines[-1].points[:-1])
    assert drawn.count('fill="url(#hatch)" stroke') == accepted


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_judged_by_what_its_picture_rings(name: str, ships: Here) -> None:
    found = questions.outcome(ships, name)
    if found is None:
        pytest.skip("one placement alone")
    rings = found.picture.rings
    assert rings
    drawn = figure(found.picture, dark=False).checked()
    (trace,) = (one for one in drawn.data if one.name == "judged")
    assert list(zip(trace.x, trace.y, strict=True)) == [pytest.approx(one, abs=1e-3) for one in rings]
    values, facts = questions.filling(ships, found)
    judged = fill(texts.questions()[name].judged, values, facts)
    numbers_ = [float(one.replace("−", "-")) for one in re.findall(r"[-−]?\d+\.\d", judged)]
    for x, y in rings:
        assert any(abs(abs(one) - abs(side)) < 0.051 for one in numbers_ for side in (x, y)), (judged, x, y)


def test_names_in_a_handout_are_escaped() -> None:
    hostile = '<script>alert("x")</script> \\*not bold\\* **bold** "q"'
    text = handout.page(hostile, hostile, [("text", hostile), ("chart", "one")], {"one": PICTURE}, {}, hostile)
    assert "<script" not in text
    assert "<strong>bold</strong>" in text
    assert "*not bold*" in text
    assert "a &amp; &lt;b&gt;" in text


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_few_and_inside(low: float, width: float) -> None:
    found = handout.ticks(low, low + width)
    assert 1 <= len(found) <= 12
    assert all(low - 1e-6 * width <= one <= low + width * (1 + 1e-6) for one in found)
