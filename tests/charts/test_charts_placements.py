"""Placements in charts and words: how far accuracy holds, the best cell, facts of both figures, tables."""

from dataclasses import replace

import pytest

from app.charts import placements_curves
from app.charts import placements_words as words
from app.charts.front import OBJECTIVES, Setting
from app.charts.placements import Place, Placements, best_cell, columns, ranking, table
from app.link.picks import Pick, reduce
from app.link.spec import RunSpec
from app.theme import LOWER_IS_BETTER, OBJECTIVE_LABELS
from app.views.placements import grid
from ash.methods import Method

COLUMNS = (10.0, 30.0, 50.0, 60.0, 65.0, 70.0, 80.0, 90.0, 95.0)
LABELS = {"layer3.0.relu2": "Third block", "layer4.0.relu2": "Last block", "penultimate": "Penultimate layer"}


def setting(method: str, accuracy: float, auroc: float = 90.0) -> Setting:
    return Setting(Method.parse(method), accuracy, auroc, 100.0 - auroc, auroc / 2 + 50)


def place(name: str, losses: dict[float, float], images: tuple[int, int] = (2000, 3000), **changes: object) -> Place:
    """A placement where ASH-S at p loses so many points of accuracy, and gains p / 20 of AUROC."""
    line = tuple(setting(f"ash_s@{p:g}", 92.0 - loss, 90.0 + p / 20) for p, loss in sorted(losses.items()))
    made = Place(name, LABELS.get(name, name), images, setting("energy", 92.0), line)
    return replace(made, **changes)  # type: ignore[arg-type]


def up_to(p: float) -> dict[float, float]:
    return {q: 0.5 if q <= p else 5.0 for q in COLUMNS}


def shown(*places: Place, **changes: object) -> Placements:
    spec = {
        "variant": "ash_s",
        "score": "energy",
        "objective": "auroc",
        "columns": COLUMNS,
        "current": ("penultimate", Method("ash_s", 90)),
    }
    return Placements(places, **{**spec, **changes})  # type: ignore[arg-type]


THREE = (
    place("layer3.0.relu2", up_to(30)),
    place("layer4.0.relu2", up_to(60)),
    place("penultimate", up_to(80), (10000, 6000)),
)
EMPTY = Place("layer4.0.relu2", "Last block", (2000, 3000), banks=False, left=10)


# Words


def test_the_headline_names_every_placement_from_the_output_inwards() -> None:
    assert words.headline(shown(*THREE)) == (
        "ASH-S stays within 1 point of the unshaped accuracy up to p = 80 at the penultimate layer, up to p = 60 at "
        "the last block and up to p = 30 at the third block."
    )


def test_the_headline_with_one_placement_and_with_none_computed() -> None:
    one = words.headline(shown(EMPTY, THREE[2]))
    assert one.endswith("up to p = 80 at the penultimate layer; 1 more placement is not computed yet.")
    two = words.headline(shown(EMPTY, replace(EMPTY, name="layer3.0.relu2"), THREE[2]))
    assert two.endswith("; 2 more placements are not computed yet.")
    assert words.headline(shown(EMPTY)) == "ASH-S is not computed yet at this placement."
    assert words.headline(shown(EMPTY, EMPTY)) == "ASH-S is not computed yet at any of 2 placements."
    assert words.headline(shown(THREE[2])).endswith("up to p = 80 at the penultimate layer.")


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (dict.fromkeys(COLUMNS, 0.0), "up to p = 95 "),
        (dict.fromkeys(COLUMNS, 5.0), "at no p "),
        ({p: 0.0 if 50 <= p <= 90 else 9.0 for p in COLUMNS}, "from p = 50 to p = 90 "),
        ({p: 0.0 if p == 80 else 9.0 for p in COLUMNS}, "at p = 80 "),
        ({10.0: 0.0, 30.0: 9.0, 50.0: 0.0, 60.0: 0.0, 65.0: 0.0, 70.0: 9.0}, "from p = 50 to p = 65 "),
        ({65.0: 0.0}, "at p = 65 "),  # nothing lower is known, so it is not "up to"
        ({65.0: 9.0}, "not at p = 65, the only one computed, "),
        ({10.0: 1.0, 30.0: 1.0 + 1e-12, 50.0: 1.01}, "up to p = 30 "),  # the limit is inclusive
    ],
)
def test_how_far_accuracy_holds(losses: dict[float, float], said: str) -> None:
    text = words.headline(shown(place("penultimate", losses)))
    assert f"accuracy {said}at the penultimate layer." in text


def test_a_line_that_is_still_being_computed_says_so() -> None:
    text = words.headline(shown(place("penultimate", up_to(60), left=3)))
    assert text.endswith("up to p = 60 so far at the penultimate layer.")


def test_a_limit_of_the_user_is_used_and_named() -> None:
    losses = {10.0: 0.0, 30.0: 0.4, 50.0: 0.6, 60.0: 3.0}
    for loss, said in (
        (0.5, "within 0.5 points of"),
        (2.0, "within 2 points of"),
        (0.0, "keeps at least the unshaped"),
    ):
        text = words.headline(shown(place("penultimate", losses), loss=loss, chosen=True))
        end = {0.0: 10, 0.5: 30, 2.0: 50}[loss]
        assert said in text
        assert f"up to p = {end} " in text


def test_many_placements_are_summed_up_by_the_two_ends() -> None:
    some = [place(f"layer{i}", up_to(p)) for i, p in enumerate((10, 30, 50, 60, 90))]
    text = words.headline(shown(*some))
    assert "furthest at layer4: up to p = 90" in text
    assert "least far at layer0: up to p = 10" in text
    same = words.headline(shown(*(replace(some[2], name=f"n{i}", label=f"n{i}") for i in range(5))))
    assert "and no further at any other of 5 placements" in same


def test_labels_in_sentences() -> None:
    assert words.at(THREE[1]) == "at the last block"
    assert words.at(place("layer4.0.add", {})) == "at layer4.0.add"
    assert words.at(replace(THREE[0], label="Third block, last convolution")) == "at the third block (last convolution)"
    assert words.at(replace(THREE[1], label="GELU of block 3")) == "at the GELU of block 3"


def test_unlabelled_images_have_no_accuracy_to_hold() -> None:
    nan = float("nan")
    one = Place("penultimate", "Penultimate layer", (5, 5), setting("energy", nan), (setting("ash_s@90", nan),))
    assert "no labels" in words.headline(shown(one))


def test_the_best_cell_is_within_the_limit_and_said_with_its_gain() -> None:
    whole = shown(*THREE)
    best = best_cell(whole)
    assert best is not None
    assert best.id == "layer3.0.relu2 ash_s@95"
    limited = replace(whole, chosen=True)
    found = best_cell(limited)
    assert found is not None
    assert found.id == "penultimate ash_s@80"
    text = words.advice(limited, found)
    assert text == (
        "At most 1 point of accuracy below unshaped, ASH-S raises AUROC most, to 94.0 % (+4.0), **at the penultimate "
        "layer** with **p = 80**, accuracy 91.5 % (−0.5)."
    )
    assert words.advice(replace(limited, loss=0.2), found, True).endswith(
        "That is 0.5 points less, more than the budget there: few images decide it."
    )
    assert words.advice(whole, best).startswith("ASH-S raises AUROC most, to 94.8 %")
    assert "ASH-S lowers FPR95 most" in words.advice(replace(whole, objective="fpr95"), best)
    same = shown(*THREE[:2], objective="fpr95")
    assert words.advice(same, best_cell(same)).startswith("The lowest FPR95 of ASH-S is 5.2 % (−4.8)")
    assert words.advice(shown(*THREE[:2]), best).startswith("The highest AUROC of ASH-S is 94.8 % (+4.8)")
    assert words.advice(shown(EMPTY), best_cell(shown(EMPTY))) == ""
    worse = Place("penultimate", "P", (5, 5), setting("energy", 92.0, 95.0), (setting("ash_s@90", 80.0, 60.0),))
    assert words.advice(shown(worse), best_cell(shown(worse))) == "Nothing here beats unshaped Energy on AUROC."


def test_gains_are_ranked_where_images_differ() -> None:
    easy = Place(
        "layer4.0.relu2", "Last block", (9, 9), setting("energy", 92.0, 95.0), (setting("ash_s@90", 92.0, 96.0),)
    )
    hard = Place("penultimate", "P", (5, 5), setting("energy", 92.0, 80.0), (setting("ash_s@90", 92.0, 90.0),))
    found = best_cell(shown(easy, hard))
    assert found is not None
    assert found.place is hard


def test_the_images_are_counted_for_each_placement() -> None:
    text = words.images(shown(*THREE))
    assert "Third block, Last block: 2,000 ID and 3,000 OOD; Penultimate layer: 10,000 ID and 6,000 OOD" in text
    assert words.images(shown(*THREE[:2])).startswith("Every placement is measured on the same images: 2,000 ID and")
    assert words.images(shown(THREE[0])).startswith("This placement is measured")


def test_a_variant_without_a_percentile_is_explained() -> None:
    assert words.method_here(shown(*THREE)) == ""
    text = words.method_here(shown(*THREE, current=("penultimate", Method("react", 1))))
    assert text.startswith("ReAct has a threshold and no percentile, so what follows is ASH-S.")
    assert "without shaping has no percentile" in words.method_here(shown(*THREE, current=("penultimate", Method())))


# The grid


def test_every_cell_is_a_pick_that_loads_it() -> None:
    some = shown(THREE[0], EMPTY, THREE[2])
    plot = grid.figure(some, dark=False).checked()
    assert [trace.name for trace in plot.data] == ["Third block", "Last block", "Penultimate layer"]
    for trace, one in zip(plot.data, some.places, strict=True):
        assert len(trace.customdata) == len(COLUMNS) + 1
        for text, p in zip(trace.customdata, (None, *COLUMNS), strict=True):
            spec = reduce(RunSpec(), Pick.cell(text))
            assert spec.placement == one.name
            assert str(spec.method) == ("energy" if p is None else f"ash_s@{p:g}")


def test_cells_show_their_value_and_missing_ones_are_hollow() -> None:
    some = shown(THREE[0], EMPTY, place("penultimate", {90.0: 0.0}))
    rows = grid.figure(some, dark=True).checked().data
    assert rows[0].text[1:3] == ("90.5", "91.5")
    assert not any(rows[1].text)
    assert set(rows[1].marker.color) == {"rgba(0,0,0,0)"}
    assert [bool(text) for text in rows[2].text] == [p in (None, 90.0) for p in (None, *COLUMNS)]
    assert "Its activations are not computed yet" in rows[1].hovertext[0]
    assert "Not computed yet" in rows[2].hovertext[1]
    names = [note.text for note in grid.figure(some, dark=True).checked().layout.annotations]
    assert "not computed" in names[1]
    assert "<b>Penultimate layer</b>" in names[2]


def test_the_current_cell_is_framed_and_gets_a_column() -> None:
    assert columns(COLUMNS, 66.0) == tuple(sorted((*COLUMNS, 66.0)))
    assert columns(COLUMNS, 65.0) == columns(COLUMNS, None) == COLUMNS
    for dark in (False, True):
        (frame,) = grid.figure(shown(*THREE), dark).checked().layout.shapes
        assert frame.name == "penultimate ash_s@90"
        assert frame.y0 > 2
    none = shown(*THREE, current=("penultimate", Method("react", 1)))
    assert not grid.figure(none, dark=False).checked().layout.shapes


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_better_is_stronger_and_every_number_is_readable(objective: str, dark: bool) -> None:
    shades = grid.scale(shown(*THREE, objective=objective), dark)
    lower = objective in LOWER_IS_BETTER
    assert (shades.best < shades.worst) == lower
    assert grid.SPAN[0] <= abs(shades.best - shades.worst) <= grid.SPAN[1]
    steps = [shades.worst + (shades.best - shades.worst) * i / 50 for i in range(51)]
    levels = [grid.luminance(shades.colour(value)) for value in steps]
    assert levels == sorted(levels, reverse=not dark)  # one direction of lightness: it reads without hue
    for value, level in zip(steps, levels, strict=True):
        ink = shades.ink(value).lstrip("#")
        rgb = (int(ink[0:2], 16), int(ink[2:4], 16), int(ink[4:6], 16))
        assert contrast(level, grid.luminance(rgb)) >= 4.5
    beyond = shades.worst + (1 if lower else -1)
    assert shades.fill(beyond) == shades.fill(shades.worst)


def test_the_grid_in_a_sentence() -> None:
    text = grid.finding(shown(*THREE))
    assert text.startswith("Grid of AUROC for 3 placements and 9 percentiles: from 90.0 % at")
    assert "30 of 30 cells are computed" in text
    assert "nothing is computed yet" in grid.finding(shown(EMPTY))
    assert grid.figure(shown(EMPTY), dark=False).checked().data[0].name == "Last block"


def test_the_legend_says_what_the_colours_mean() -> None:
    text = grid.legend(shown(*THREE, objective="fpr95"))
    assert text.startswith("FPR95 in %, lower is better: the stronger the colour, from 10.0 or more to 5.2.")
    assert "from 90.0 or less to 94.8" in grid.legend(shown(*THREE))
    assert grid.legend(shown(EMPTY)) == "Hollow cells are not computed."


# The curves


def test_both_pictures_draw_every_placement_against_one_axis() -> None:
    plot = placements_curves.figure(shown(*THREE), dark=False).checked()
    lines = [trace for trace in plot.data if trace.name in LABELS.values()]
    assert [trace.name for trace in lines] == [*LABELS.values()] * 2
    for trace, one in zip(lines, (*THREE, *THREE), strict=True):
        objective = "id_accuracy" if trace.yaxis == "y" else "auroc"
        assert list(trace.y) == [row[objective] for row in one.settings]
        assert list(trace.customdata) == [f"{one.name} {row.method}" for row in one.settings]
    assert len({trace.marker.symbol for trace in lines}) == 3
    assert len({trace.line.dash for trace in lines}) == 3
    assert plot.layout.xaxis.range == plot.layout.xaxis2.range
    assert plot.layout.xaxis2.matches == "x"
    rings = [trace for trace in plot.data if trace.name == "current"]
    assert [list(trace.customdata) for trace in rings] == [["penultimate ash_s@90"]] * 2


def test_no_two_of_ten_placements_look_alike_and_more_inside_change_none() -> None:
    ten = [place(f"n{i}", up_to(50)) for i in range(10)]
    some = shown(*ten)
    assert len({placements_curves.style(some, one) for one in ten}) == 10
    fewer = shown(*ten[4:])
    assert all(placements_curves.style(fewer, one) == placements_curves.style(some, one) for one in ten[4:])
    assert "dot" not in {dash for _, dash in placements_curves.STYLES}  # that is the unshaped network


def test_unshaped_lines_belong_to_images() -> None:
    def dotted(some: Placements) -> list[str]:
        plot = placements_curves.figure(some, dark=False).checked()
        return [trace.name for trace in plot.data if trace.line.dash == "dot" and trace.yaxis == "y"]

    assert dotted(shown(*THREE)) == ["Unshaped, 2,000 ID images", "Unshaped, 10,000 ID images"]
    assert dotted(shown(*THREE[:2])) == ["Unshaped"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_window_shows_the_best_and_the_unshaped_and_all_on_request(objective: str) -> None:
    chance = place("layer3.0.relu2", {10.0: 80.0, 90.0: 0.0})
    some = shown(chance, THREE[2], objective=objective)
    for name in ("id_accuracy", some.lower):
        low, high = placements_curves.window(some, name)
        values = [row[name] for one in some.known for row in one.settings]
        assert low <= (min(values) if name in LOWER_IS_BETTER else max(values)) <= high
        assert all(one.baseline is not None and low <= one.baseline[name] <= high for one in some.known)
        wide = placements_curves.window(replace(some, show_all=True), name)
        assert wide[0] < min(values)
        assert max(values) < wide[1]
    assert placements_curves.window(some, "id_accuracy")[0] > 50
    plot = placements_curves.figure(some, dark=True).checked()
    up, down = plot.layout.yaxis2.range
    assert (up > down) == (some.lower in LOWER_IS_BETTER)


def test_the_second_picture_is_never_the_first_again() -> None:
    assert shown(*THREE, objective="id_accuracy").lower == "auroc"
    assert shown(*THREE, objective="fpr95").lower == "fpr95"


def test_no_line_is_marked_for_another_variant() -> None:
    plot = placements_curves.figure(shown(*THREE, current=("penultimate", Method("react", 1))), dark=False).checked()
    assert not plot.layout.shapes
    assert all(not trace.customdata for trace in plot.data if trace.name == "current")


# Tables


def test_the_tables_hold_what_the_pictures_show() -> None:
    some = shown(THREE[0], EMPTY, THREE[2])
    rows = table(some)
    assert list(rows.index) == [
        f"{one.name} {row}" for one in (THREE[0], THREE[2]) for row in ("energy", *(f"ash_s@{p:g}" for p in COLUMNS))
    ]
    assert rows.loc["penultimate ash_s@90", "n ID"] == 10000
    assert rows.loc["penultimate ash_s@90", "ID accuracy"] == 87.0
    for objective in OBJECTIVES:
        ranked = ranking(replace(some, objective=objective))[OBJECTIVE_LABELS[objective]]
        assert list(ranked) == sorted(ranked, reverse=objective not in LOWER_IS_BETTER)
    assert set(ranking(some).index) <= {cell.id for cell in some.cells()}
    assert table(shown(EMPTY)).empty


# Measured before


def test_what_was_measured_before_is_marked_in_charts_words_and_tables() -> None:
    before = replace(THREE[0], banks=False, left=10, measured="CPU (x86_64, 1 thread), 2026-11-27")
    mixed = shown(before, THREE[2])
    marks = {
        trace.name: trace.marker.symbol for trace in placements_curves.figure(mixed, False).checked().data if trace.name
    }
    assert marks["Third block"].endswith("-open")
    assert not marks["Penultimate layer"].endswith("-open")
    (_, fill), *_ = [(one.text, one) for one in grid.figure(mixed, False).checked().layout.annotations]
    assert "2,000 ID, 3,000 OOD, measured before" in fill.text
    assert list(table(mixed)["Measured"].unique()) == [f"before, {before.measured}", "here"]
    assert "Measured" not in table(shown(*THREE))
    assert "so far" not in words.headline(mixed)
    said = words.measured(mixed)
    assert "Third block on 2,000 ID and 3,000 OOD images, CPU (x86_64, 1 thread), 2026-11-27" in said
    assert "Penultimate" not in said
    assert words.measured(shown(*THREE)) == ""


def test_sets_in_no_mean_are_named() -> None:
    assert "Without DTD" in words.left_out(shown(*THREE, left_out=("DTD",)))
    assert words.left_out(shown(*THREE)) == ""
