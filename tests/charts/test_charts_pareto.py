"""The trade-off chart: the front against its definition, the record, where labels go, facts of the figure."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backend import evaluations
from app.charts import pareto, pareto_labels
from app.charts.front import OBJECTIVES, Setting, as_good, best, front, inside, settings, window, within
from app.charts.labels import Wish, overlaps, place
from app.charts.tradeoff_words import noise_words
from app.theme import LOWER_IS_BETTER
from ash.methods import Method
from ash.tables import COLUMNS

SETS = ("digits", "noise")
METHODS = ["energy", *(f"{v}@{p}" for v in ("ash_p", "ash_b", "ash_s") for p in range(0, 100, 5)), "react@1.0"]


def made_up(methods: list[str] = METHODS, seed: int = 0) -> pd.DataFrame:
    """A table with the columns of a sweep and random metrics: only its form matters."""
    rng = np.random.default_rng(seed)
    rows = []
    for text in methods:
        method = Method.parse(text)
        accuracy, values = rng.uniform(80, 95), rng.uniform(60, 100, (len(SETS), 3))
        for ood, metrics in zip((*SETS, "mean"), (*values, values.mean(0)), strict=True):
            head = ("demo", "avgpool", "clothes", ood, text, method.variant, method.percentile, method.score)
            rows.append((*head, *metrics, accuracy, 100, 50))
    return pd.DataFrame(rows, columns=COLUMNS[: COLUMNS.index("tied")])


def record(**changes: object) -> pareto.Pareto:
    spec = {
        "current": Method("ash_b", 65),
        "baseline": Method(),
        "paper": (Method("ash_p", 60), Method("ash_s", 90)),
        "x": "id_accuracy",
        "y": "auroc",
    }
    return pareto.record(settings(made_up(), "mean", SETS), **{**spec, **changes})  # type: ignore[arg-type]


def beats(one: Setting, other: Setting, x: str, y: str) -> bool:
    pairs = [(one.merit(name), other.merit(name)) for name in (x, y)]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


coarse = st.integers(0, 6).map(float)  # few values, so that ties are common
clouds = st.lists(st.tuples(coarse, coarse, coarse, coarse), max_size=40)


@given(clouds, st.sampled_from(OBJECTIVES), st.sampled_from(OBJECTIVES))
def test_no_member_of_the_front_is_beaten_and_every_other_point_is(
    cloud: list[tuple[float, float, float, float]], x: str, y: str
) -> None:
    points = [Setting(Method("react", i + 1), *values) for i, values in enumerate(cloud)]
    members = front(points, x, y)
    assert len(set(members)) == len(members)
    assert [one[x] for one in members] == sorted(one[x] for one in members)
    for point in points:
        assert (point in members) == (not any(beats(other, point, x, y) for other in points))


def test_a_metric_that_is_not_known_keeps_a_setting_off_the_front() -> None:
    unknown = Setting(Method(), float("nan"), 90.0, 10.0, 90.0)
    known = Setting(Method("ash_p", 5), 80.0, 80.0, 20.0, 80.0)
    assert front([unknown, known], "id_accuracy", "auroc") == (known,)
    assert front([unknown], "id_accuracy", "auroc") == ()


def test_the_mean_is_over_the_chosen_sets() -> None:
    table = made_up()
    for on, sets in (("mean", SETS), ("mean", ("noise",)), ("digits", SETS)):
        used = sets if on == "mean" else (on,)
        for one in settings(table, on, sets):
            rows = table[(table["method"] == one.id) & table["ood"].isin(used)]
            for name in OBJECTIVES:
                assert one[name] == pytest.approx(rows[name].mean())
    with pytest.raises(ValueError, match="no rows"):
        settings(table, "letters", SETS)


def test_the_budget_is_inclusive_and_the_best_respects_it() -> None:
    shown = record()
    floor = shown.baseline.id_accuracy
    allowed = within(shown.settings, floor)
    assert shown.baseline in allowed
    assert all(one.id_accuracy >= floor - 1e-9 for one in allowed)
    for objective in OBJECTIVES:
        found = best(allowed, objective)
        assert found is not None
        assert found.merit(objective) == max(one.merit(objective) for one in allowed)
    assert best(within(shown.settings, 101.0), "auroc") is None


@pytest.mark.parametrize(("x", "y"), list(itertools.product(OBJECTIVES, OBJECTIVES)))
def test_the_window_shows_the_front_and_the_baseline(x: str, y: str) -> None:
    shown = record(x=x, y=y)
    best_of_both = [best(shown.settings, name) for name in (x, y)]
    assert inside(shown.baseline, x, y, shown.ranges)
    for which, (name, one) in enumerate(zip((x, y), best_of_both, strict=True)):
        assert one is not None
        assert shown.ranges[which][0] <= one[name] <= shown.ranges[which][1]
        left, right = shown.axis(which)
        assert (left > right) == (name in LOWER_IS_BETTER)
    everything = record(x=x, y=y, show_all=True)
    assert all(inside(one, x, y, everything.ranges) for one in everything.settings)


def percentiles(**auroc: float) -> list[Setting]:
    """Settings of ASH-S by percentile; FPR95 is what AUROC lacks to 100."""
    return [Setting(Method("ash_s", float(p[1:])), 80.0, value, 100 - value, 90.0) for p, value in auroc.items()]


@pytest.mark.parametrize(("goal", "interval"), [("auroc", (94.0, 96.0)), ("fpr95", (4.0, 6.0))])
def test_as_good_is_the_run_around_the_best_that_reaches_into_its_interval(
    goal: str, interval: tuple[float, float]
) -> None:
    line = percentiles(p60=94.5, p65=93.9, p70=94.0, p75=95.0, p80=97.0, p85=93.0, p90=94.9)
    others = [Setting(Method("ash_b", 75.0), 80.0, 95.0, 5.0, 90.0), Setting(Method(), 80.0, 95.0, 5.0, 90.0)]
    found = as_good(line[3], [*others, *reversed(line)], goal, interval)
    assert [one.parameter for one in found] == [70.0, 75.0, 80.0]
    assert "every p from 70 to 80" in noise_words(line[3], found, goal, interval)
    assert "No other setting" in noise_words(line[3], found[:1], goal, interval)


@pytest.mark.parametrize(("x", "y"), [("id_accuracy", "auroc"), ("fpr95", "id_accuracy")])
def test_the_loaded_setting_is_marked_at_the_edge_where_it_lies_beyond(x: str, y: str) -> None:
    base = Setting(Method(), 80.0, 90.0, 40.0, 90.0)
    line = [base, *(Setting(Method("ash_s", p), 80.0, 95.0, 30.0, 90.0) for p in (5.0, 10.0))]
    far = Setting(Method("ash_s", 95.0), 20.0, 50.0, 99.0, 60.0)
    shown = pareto.record([*line, far], current=far.method, baseline=base.method, paper=(), x=x, y=y)
    assert shown.beyond(far) == "↙"
    assert [shown.beyond(one) for one in line] == [""] * 3
    chart = pareto.figure(shown, False)
    (mark,) = (one for one in chart.data if one["name"] == "current")
    (label,) = (note for note in chart.layout["annotations"] if note["text"].endswith("↙</b>"))
    for name in "xy":  # on the axis' own end: Plotly draws no label that lies a rounding beyond it
        assert mark[name][0] == label[name]
        assert mark[name][0] in chart.layout[f"{name}axis"]["range"]
    assert "50.00" in mark["hovertext"][0]
    whole = pareto.record([*line, far], current=far.method, baseline=base.method, paper=(), x=x, y=y, show_all=True)
    assert whole.beyond(far) == ""


def test_the_window_leaves_out_chance_level() -> None:
    base = Setting(Method(), 92.0, 94.0, 30.0, 99.0)
    good = Setting(Method("ash_b", 65), 91.0, 97.0, 10.0, 99.5)
    chance = Setting(Method("ash_b", 0), 10.0, 50.0, 95.0, 90.0)
    for objective in OBJECTIVES:
        low, high = window([base, good, chance], base, [good], objective)
        assert low <= base[objective] <= high
        assert low <= good[objective] <= high
        assert not low <= chance[objective] <= high


def test_the_window_stays_where_it_is_when_the_current_method_moves() -> None:
    table = made_up([*METHODS, "ash_b@66"])
    rows = settings(table, "mean", SETS)
    grid = tuple(one for one in rows if one.id != "ash_b@66")
    given_ = {"baseline": Method(), "paper": (), "x": "id_accuracy", "y": "auroc"}
    on_grid = pareto.record(grid, current=Method(), **given_)  # type: ignore[arg-type]
    assert pareto.record(rows, current=Method("ash_b", 66), **given_).ranges == on_grid.ranges  # type: ignore[arg-type]


def test_the_window_holds_the_best_mark_while_it_is_the_current_one() -> None:
    top = max(settings(made_up(), "mean", SETS), key=lambda one: one.auroc)
    shown = record(current=top.method)
    assert shown.ranges[1][0] <= shown.current.auroc <= shown.ranges[1][1]
    assert shown.ranges == record().ranges
    assert pareto.STEP == evaluations.STEP


def test_the_figure_draws_the_record() -> None:
    shown = record(budget=1.0)
    plot = pareto.figure(shown, dark=False).checked()
    traces = {trace.name: trace for trace in plot.data}
    assert list(traces) == [
        *("percentiles", "percentiles, more", "Pareto front", "ASH-P", "ASH-B", "ASH-S", "ReAct"),
        *("baseline", "paper ash_p@60", "paper ash_s@90", "current"),
    ]
    assert list(traces["ASH-S"].customdata) == [f"ash_s@{p}" for p in range(0, 100, 5)]
    assert list(traces["current"].customdata) == ["ash_b@65"]
    assert traces["current"].x[0] == pytest.approx(shown.current.id_accuracy, abs=1e-4)
    assert len({trace.marker.symbol for trace in plot.data if trace.name.startswith("ASH")}) == 3
    assert len({trace.line.dash for trace in plot.data if trace.name.startswith("ASH")}) == 3
    assert tuple(plot.layout.xaxis.range) == pytest.approx(shown.axis(0), abs=1e-3)
    assert shown.floor == pytest.approx(shown.baseline.id_accuracy - 1.0)
    assert plot.layout.shapes[-1].x1 == shown.floor
    assert plot.layout.shapes[-1].type == "rect"
    for trace in plot.data:
        for method in trace.customdata or ():
            assert str(Method.parse(method)) == method


def test_the_front_is_drawn_as_steps_that_no_setting_passes() -> None:
    for x, y in itertools.product(OBJECTIVES, OBJECTIVES):
        if x == y:
            continue
        shown = record(x=x, y=y)
        corners = shown.steps()
        assert {(one[x], one[y]) for one in shown.front} <= set(corners)
        for (ax, ay), (bx, by) in itertools.pairwise(corners):
            assert ax == bx or ay == by


def test_the_axis_says_that_lower_is_better() -> None:
    plot = pareto.figure(record(y="fpr95"), dark=True).checked()
    assert "lower is better" in plot.layout.yaxis.title.text
    assert plot.layout.yaxis.range[0] > plot.layout.yaxis.range[1]
    assert "lower" not in plot.layout.xaxis.title.text


def test_equal_records_give_equal_figures() -> None:
    assert pareto.figure(record(), True).checked().to_json() == pareto.figure(record(), True).checked().to_json()


spots = st.tuples(st.floats(0, 300), st.floats(0, 300))


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=12), spots, st.booleans()), max_size=12),
    st.lists(spots, max_size=12),
)
def test_labels_never_meet_each_other_or_leave_the_frame(
    wanted: list[tuple[str, tuple[float, float], bool]], marks: list[tuple[float, float]]
) -> None:
    wishes = [Wish(text, (spot,), 12, always=always) for text, spot, always in wanted]
    obstacles = [(x - 4, y - 4, x + 4, y + 4) for x, y in marks]
    placed = place(wishes, (300, 300), obstacles)
    boxes = np.array([one.box for one in placed]).reshape(-1, 4)
    for i, one in enumerate(placed):
        assert not overlaps(boxes[i : i + 1], np.delete(boxes, i, axis=0)).any()
        assert one.box[0] >= 0
        assert one.box[1] >= 0
        assert one.box[2] <= 300
        assert one.box[3] <= 300
        if not one.wish.always:
            assert not obstacles or not overlaps(boxes[i : i + 1], np.array(obstacles)).any()


def test_a_phone_gets_the_labels_that_matter() -> None:
    texts = {note.text for note in pareto.figure(record(), dark=False).checked().layout.annotations}
    assert {"<b>ASH-B @ 65</b>", "Energy, unshaped"} <= texts


@pytest.mark.parametrize("p", [0, 65, 95])
def test_labels_of_a_projector_keep_apart_there_and_the_rest_is_for_wider_plots(p: int) -> None:
    lines = [
        Setting(Method(name, q), 95 - 12 * (q / 100) ** steep, 80 + q / 8 - steep, 30.0, 90.0)
        for name, steep in (("ash_p", 3), ("ash_b", 4), ("ash_s", 5))
        for q in range(0, 100, 5)
    ]
    base = Setting(Method(), 95.0, 80.0, 40.0, 90.0)
    shown = pareto.record(
        [base, *lines], current=Method("ash_b", p), baseline=Method(), paper=(), x="id_accuracy", y="auroc"
    )
    labels, minor = pareto_labels.labels_of(shown)
    frame = pareto_labels.MIDDLE
    boxes = [one.box(shown, frame) for one in minor if one.middle]
    around = [box for one, box in zip(labels, pareto_labels.boxes_of(shown, labels, frame), strict=True) if one.seen]
    for i, box in enumerate(boxes):
        assert not overlaps(np.array([box]), np.array([*around, *boxes[:i], *boxes[i + 1 :]])).any()
    texts = {trace.uid: len(trace.text) for trace in pareto.figure(shown, dark=False).checked().data if trace.uid}
    assert texts == {pareto.MINOR: len(boxes), pareto.MINOR_WIDE: len(minor) - len(boxes)}
    assert all(texts.values())


def test_labels_stay_where_they_are_while_the_percentile_moves() -> None:
    everything = settings(made_up([*METHODS, "ash_b@66", "ash_b@67"]), "mean", SETS)
    notes = []
    for p in (0, 60, 65, 66, 67, 95):
        here = [one for one in everything if one.method.percentile in (p, None) or one.method.percentile % 5 == 0]
        shown = pareto.record(
            here, current=Method("ash_b", p), baseline=Method(), paper=(Method("ash_b", 65),), x="fpr95", y="auroc"
        )
        notes.append(pareto.figure(shown, dark=False).layout["annotations"])
        for one, box in zip(notes[-1], _boxes(shown), strict=True):
            own = one["text"] == f"<b>ASH-B @ {p}</b>"
            assert own or one["opacity"] == 0 or not overlaps(box, _boxes(shown)[0]).any()
    still = [[{**one, "opacity": None} for one in some[1:]] for some in notes]
    assert all(some == still[0] for some in still)
    assert len({some[0]["text"] for some in notes}) == len(notes)
    hidden = {one["text"] for one in notes[2][1:] if one["opacity"] == 0}
    assert "paper: B@65" in hidden


def _boxes(shown: pareto.Pareto) -> list[np.ndarray]:
    return [np.array([one.placed.box]) for one in pareto_labels.labels_of(shown)[0]]
