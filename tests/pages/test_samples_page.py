"""The Samples page through the app: the story, filters in the link, the grid, the way from a bar of Scores."""

import html
import re
from urllib.parse import parse_qsl, unquote

import numpy as np
import pytest
from app_pages import figure, open_page, turn_to
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.backend import evaluations, sample_rows, setups
from app.backend import thumbnails as pictures
from app.charts.sample_table import NO_CLASS, Filters, SampleTable, select
from app.link.spec import RunSpec
from app.views.samples import pairs
from app.views.samples.filters import SHORTCUTS
from app.views.samples.grid import PER_PAGE
from ash.data import ImageError

pytestmark = pytest.mark.slow


def page(name: str = "samples", **query: object) -> AppTest:
    return open_page(name, **{"model": "demo", **query})


def sound(app: AppTest) -> AppTest:
    assert not app.exception
    assert not app.error
    return app


def table(method: str = "ash_b@65", tpr: float = 0.95) -> SampleTable:
    at = setups.setup(RunSpec())
    return sample_rows.every_sample(at, method, at.ood, tpr)


def opened(app: AppTest) -> list[str]:
    """The samples of the cards, `source_number`, in order."""
    return [button.key.removeprefix("open_") for button in app.button if (button.key or "").startswith("open_")]


def key(found: SampleTable, row: int) -> str:
    return f"{found.source(row)}_{found.images.number[row]}"


def words(app: AppTest) -> str:
    blocks = [block.proto.body for block in app.get("html")]
    return html.unescape(re.sub(r"<[^>]+>", "", " ".join(blocks))).replace("\N{NO-BREAK SPACE}", " ")


def heading(app: AppTest) -> str:
    return next(block.value for block in app.markdown if block.value.startswith("**")).strip("*").replace("\\", "")


def test_none_of_the_classes_is_a_true_class_that_stays() -> None:
    app = page(look="grid", true=NO_CLASS)
    assert app.warning == []
    assert app.query_params["true"] in (NO_CLASS, [NO_CLASS])
    count = len(select(table(), Filters(true=NO_CLASS)).rows)
    assert f" {count:,} chosen samples" in heading(app)
    app.selectbox(key="spec_true").set_value("").run()
    assert not app.exception


@pytest.mark.parametrize("label", list(SHORTCUTS))
def test_a_shortcut_leads_to_exactly_its_samples(label: str) -> None:
    app = page()
    asked, order, descending = SHORTCUTS[label]
    app.button(key=f"only_{label}").click().run()
    assert not app.exception
    options = app.session_state["spec"].samples
    assert (options.look, options.order, options.descending) == ("grid", order, descending)
    count = len(select(table(), asked).rows)
    assert f" {count:,} chosen samples" in heading(app)
    assert app.button(key=f"only_{label}").label == f"{label} ({count:,})"


def test_six_images_tell_the_story_and_one_opens() -> None:
    app, found = page(), table()
    scenes = pairs.story(found)
    assert opened(app) == [key(found, scene.row) for scene in scenes]
    assert len(scenes) == pairs.SHOWN
    for scene in scenes:
        assert scene.title in words(app)
        assert pairs.verdict(found, scene.row, 95) in words(app)
    mistake = next(scene for scene in scenes if scene.title.startswith("OOD accepted"))
    app.button(key=f"open_{key(found, mistake.row)}").click().run()
    source, number = key(found, mistake.row).rsplit("_", 1)
    assert app.query_params["look"] == "one"
    assert (app.query_params["source"], app.query_params["sample"]) == (source, number)


def test_the_sentence_counts_what_the_scores_say() -> None:
    at = setups.setup(RunSpec())
    after, before = (evaluations.evaluation(at, method) for method in ("ash_b@65", "energy"))

    def right(one: evaluations.Evaluation) -> np.ndarray:
        line = np.sort(one.id_scores)[len(one.id_scores) - int(np.ceil(0.95 * len(one.id_scores)))]
        return np.concatenate([one.id_scores >= line, *(scores < line for scores in one.ood_scores.values())])

    rescued, broken = np.sum(right(after) & ~right(before)), np.sum(right(before) & ~right(after))
    wrong = np.sum(~right(after))
    text = heading(page())
    assert f"puts {wrong:,} of 9,000 samples on the wrong side" in text
    assert f"rescues {rescued:,} that Energy gets wrong and breaks {broken:,}" in text


def test_without_shaping_nothing_is_rescued_and_the_page_says_what_to_do() -> None:
    app = page(variant="none")
    assert "Choose a variant" in heading(app)
    assert "Rescued" not in words(app)
    assert len(opened(app)) == pairs.SHOWN


def test_filters_combine_and_live_in_the_link() -> None:
    app, found = page(look="grid"), table()
    app.selectbox(key="spec_among").set_value("photographs").run()
    app.get_by_key("spec_change").set_value("broken").run()
    app.selectbox(key="spec_predicted").set_value("Bag").run()
    app.text_input(key="spec_find").set_value("0").run()
    sound(app)
    asked = Filters(among="photographs", change="broken", predicted="Bag", find="0")
    wanted = select(found, asked).rows
    assert len(wanted) > 0
    assert opened(app) == [key(found, row) for row in wanted[:PER_PAGE]]
    query = {name: unquote(app.query_params[name]) for name in ("among", "change", "predicted", "find")}
    assert query == {"among": "photographs", "change": "broken", "predicted": "Bag", "find": "0"}
    again = page(look="grid", **query)
    assert opened(again) == opened(app)
    count = select(found, asked).counts["among"]["digits"]
    assert any(option.endswith(f"({count:,})") for option in app.selectbox(key="spec_among").options if "Dig" in option)
    app.button(key="clear_filters").click().run()
    assert opened(sound(app)) == [key(found, row) for row in select(found, Filters()).rows[:PER_PAGE]]
    assert not {"among", "change", "predicted", "find"} & set(app.query_params)


@pytest.mark.parametrize("order", ["score", "margin", "change", "name"])
def test_the_order_of_a_link(order: str) -> None:
    rows = select(table(), Filters(), order, True).rows[PER_PAGE : 2 * PER_PAGE]
    app = page(look="grid", order=order, descending="1", page="1")
    assert opened(app) == [key(table(), row) for row in rows]


def test_a_range_of_scores_is_typed_and_emptied() -> None:
    app, found = page(look="grid"), table()
    middle = float(np.median(found.after.score))
    app.number_input(key="scores_low").set_value(middle).run()
    rows = select(found, Filters(scores=(middle, float(found.after.score.max())))).rows
    assert opened(sound(app)) == [key(found, row) for row in rows[:PER_PAGE]]
    app.button(key="clear_filters").click().run()
    assert app.number_input(key="scores_low").value is None
    assert "scores" not in app.query_params


def test_pages_turn_and_a_filter_goes_back_to_the_first() -> None:
    app, found = page(look="grid"), table()
    rows = select(found, Filters()).rows
    app.button(key="page_next").click().run()
    assert opened(app) == [key(found, row) for row in rows[PER_PAGE : 2 * PER_PAGE]]
    assert app.query_params["page"] == "1"
    app.get_by_key("spec_verdict").set_value("accepted").run()
    assert "page" not in app.query_params
    last = page(look="grid", page="999999")
    assert opened(last) == [key(found, row) for row in rows[PER_PAGE * ((len(rows) - 1) // PER_PAGE) :]]


def test_an_empty_result_names_the_filter_to_loosen() -> None:
    app = page(look="grid", among="id", verdict="accepted", find="no such file")
    count = len(select(table(), Filters(among="id", verdict="accepted")).rows)
    text = app.info[0].value
    assert not opened(app)
    assert f"without the file name there are {count:,}" in text


def test_names_that_the_server_does_not_have_are_said_and_left_out() -> None:
    app = page(look="grid", true="Zeppelin", predicted="Bag", among="mars")
    notices = " ".join(block.value for block in app.warning)
    assert "true\\=Zeppelin" in notices or "true=Zeppelin" in notices
    assert "among" in notices
    assert "predicted" not in notices
    assert opened(app) == [key(table(), row) for row in select(table(), Filters(predicted="Bag")).rows[:PER_PAGE]]


@pytest.mark.parametrize("axis", ["relative", "rank"])
def test_a_bar_of_the_scores_opens_exactly_its_samples(axis: str) -> None:
    app, found = page("scores", axis=axis, split="all"), table()
    chart = figure(app, "scores_hist")
    bars = [bar for trace in chart["data"] if trace.get("customdata") for bar in trace["customdata"]]
    marker, _, count, *_ = max((bar for bar in bars if bar[0].startswith("chimeras|")), key=lambda bar: bar[2])
    app.session_state["scores_bar"] = ((setups.setup(RunSpec()), "ash_b@65"), marker)
    app.run()
    app = page(**bar_link(app))
    spec = app.session_state["spec"]
    assert (spec.samples.look, spec.samples.among) == ("grid", "chimeras")
    name, low, high = marker.split("|")
    mine = found.images.set == found.images.sets.index(name)
    inside = mine & (found.after.score >= float(low)) & (found.after.score < float(high))
    assert inside.sum() == count
    assert len(select(found, Filters(among=spec.samples.among, scores=spec.samples.scores)).rows) == count
    assert f" {count:,} chosen samples" in heading(app)


def test_the_link_of_a_bar_works_a_second_time() -> None:
    app = page("scores")
    bar = next(bar for trace in figure(app, "scores_hist")["data"] for bar in trace.get("customdata") or [] if bar[2])
    app.session_state["scores_bar"] = ((setups.setup(RunSpec()), "ash_b@65"), bar[0])
    app.run()
    query = bar_link(app)
    for _ in range(2):
        turn_to(app, "scores")
        app.session_state["spec"] = RunSpec()
        app.run()
        assert bar_link(app) == query
        turn_to(app, "samples")  # as the browser does: the page of the link together with its query
        app.query_params.clear()
        app.query_params.update(query)
        assert sound(app.run()).session_state["spec"].samples.look == "grid"
        assert app.title[0].value == "Samples"


def bar_link(app: AppTest) -> dict[str, str]:
    link = next(one.proto for one in app.get("page_link") if one.proto.label.endswith("in Samples"))
    return dict(parse_qsl(link.query_string))


def test_a_broken_image_is_a_sentence_and_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        fingerprint = "broken"
        has_images = True
        reads = 0

        def image(self, number: int) -> Image.Image:
            Broken.reads += 1
            raise ImageError(f"{number:05}.png is not a readable image: truncated.")

    broken, whole_set = Broken(), setups.whole_set
    monkeypatch.setattr(pictures, "whole_set", lambda name: broken if name == "chimeras" else whole_set(name))
    for _ in range(2):
        text = words(page(look="grid", among="chimeras"))
        assert text.count("is not a readable image: truncated.") == PER_PAGE
    assert Broken.reads == 2 * PER_PAGE


def test_thumbnails_are_small_kept_and_bounded() -> None:
    large = pictures.thumbnail(Image.fromarray(np.zeros((900, 300, 3), np.uint8)))
    assert large.uri.startswith("data:image/jpeg;base64,")
    assert not large.crisp
    assert pictures.thumbnail(Image.new("L", (28, 28))).crisp
    memory = pictures.Memory(most=3 * len(large.uri))
    for number in range(5):
        memory.put(("a", "", number), large)
        memory.put(("a", "", number), large)
    assert memory.bytes <= memory.most
    assert [memory.get(("a", "", number)) is not None for number in range(5)] == [False, False, True, True, True]
