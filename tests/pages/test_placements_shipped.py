"""Placements whose activations do not ship: their tables do, and the page says what they are. Live numbers win."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from app_pages import at_link, open_page, texts, traces

from app.backend import banks, evaluations, layer_status, registry, setups, shipping
from app.link.spec import PENULTIMATE, RunSpec
from app.ui import placement_values
from ash import results
from ash.methods import Method

pytestmark = pytest.mark.slow

NETWORKS = ("mobilenet_v2_photos", "densenet101_cifar10", "demo")
BLOCK, DEEP = "layer4.0.relu2", "layer3.0.relu2"
SPEC = RunSpec(model="demo", variant="ash_s", p=90.0)


def forget() -> None:
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture(autouse=True)
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing but what ships: no data, no activations of an earlier test."""
    for name in ("ASH_DATA", "ASH_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    forget()
    yield
    forget()


def shipped_at(model: str, placement: str) -> results.Results:
    return next(one for one in shipping.all_shipped() if (one.model, one.placement) == (model, placement))


def change(monkeypatch: pytest.MonkeyPatch, **origin: str) -> None:
    """As if the tables that ship stated something else."""
    every = tuple(replace(one, origin=one.origin | origin) for one in results.shipped())
    monkeypatch.setattr(shipping, "all_shipped", lambda: every)


@pytest.mark.parametrize("variant", ["ash_p", "ash_b", "ash_s"])
@pytest.mark.parametrize("model", NETWORKS)
def test_no_placement_of_a_network_that_ships_is_an_empty_row(model: str, variant: str) -> None:
    spec = RunSpec(model=model, variant=variant, p=90.0)
    shown = placement_values.shown(spec, variant)
    sets = list(layer_status.compared_sets(spec))
    assert [place.name for place in shown.places] == list(registry.placements(model))
    assert shown.left_out == ()
    for place in shown.places:
        assert all(cell.setting for cell in shown.row(place)), place.name
        if place.name == PENULTIMATE:
            continue
        there = shipped_at(model, place.name)
        assert place.images == (there.counts[there.id_set], sum(there.counts[name] for name in sets))
        assert place.measured == f"{there.origin['device']}, {there.origin['date'][:10]}"
        rows = there.table[(there.table.method == f"{variant}@90") & there.table.ood.isin(sets)]
        setting = place.find(Method(variant, 90))
        assert setting is not None
        assert setting.auroc == pytest.approx(rows.auroc.mean())
        assert setting.id_accuracy == pytest.approx(rows.id_accuracy.mean())


def test_the_page_says_what_was_measured_before_and_offers_to_compute() -> None:
    app = open_page("placements", model="demo", variant="ash_s", p="90")
    rows = traces(app, "placements_grid")
    assert all(all(row["text"]) for row in rows.values())
    there = shipped_at("demo", BLOCK)
    assert f"Last block on 2,000 ID and 3,000 OOD images, {there.origin['device']}, {there.origin['date'][:10]}" in (
        texts(app)
    )
    assert "Measured before, activations not shipped" in texts(app)
    assert "Maps and samples there need the activations" in texts(app)
    assert there.file.name in texts(app)
    assert "Measured before" in rows["Last block"]["hovertext"][0]
    assert "Measured before" not in rows["Penultimate layer"]["hovertext"][0]
    offered = {one.key: (one.label, one.disabled) for one in app.button if (one.key or "").startswith("compute_")}
    assert offered[f"compute_{BLOCK}"] == offered[f"compute_{DEEP}"] == ("Compute", False)


def test_where_the_id_images_do_not_ship_the_command_is_said_and_nothing_is_offered() -> None:
    app = open_page("placements", model="densenet101_cifar10", variant="ash_s", p="90", placement="trans1.relu")
    assert all(all(row["text"]) for row in traces(app, "placements_grid").values())
    assert "python -m ash fetch cifar10" in texts(app)
    assert all(one.disabled for one in app.button if (one.key or "").startswith("compute_"))


@pytest.mark.parametrize(
    ("model", "placement", "missing"),
    [
        ("demo", DEEP, "The activations of this placement (Third block) are not computed yet"),
        ("densenet101_cifar10", "trans1.relu", "python -m ash fetch cifar10"),
    ],
)
def test_a_cell_that_was_loaded_says_on_other_pages_what_is_missing(model: str, placement: str, missing: str) -> None:
    app = open_page("tradeoff", model=model, variant="ash_s", p="90", placement=placement)
    assert missing in "\n".join([texts(app), *(one.value for one in app.code)])
    assert shipped_at(model, placement).file.name in texts(app)
    marks = traces(app, "shipped_pareto")["ASH-S"]
    known = shipped_at(model, placement).table.query("ood == 'mean'").set_index("method")
    at = marks["customdata"].index("ash_s@90")
    assert marks["y"][at] == pytest.approx(known.auroc["ash_s@90"], abs=1e-3)


@pytest.mark.parametrize(
    "origin",
    [
        {"weights_sha256": "0" * 64},
        {"preprocessing": "Preprocess(resize=28, crop=28, mean=(0.286,), std=(0.4,))"},
        {"id": "digits"},
        {"files": ", ".join(f"{name} 0123456789abcdef" for name in ("fashion_mnist", *RunSpec(model="demo").ood))},
    ],
    ids=["weights", "preprocessing", "ID set", "images"],
)
def test_a_table_of_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch, origin: dict[str, str]) -> None:
    assert layer_status.standing(SPEC, BLOCK, "ash_s").shipped is not None
    change(monkeypatch, **origin)
    found = layer_status.standing(SPEC, BLOCK, "ash_s")
    assert found.shipped is None
    assert found.table is None
    assert found.todo == found.wanted


@pytest.mark.parametrize("changes", [{"images": 100}, {"dtype": "float16"}, {"score": "msp"}], ids=str)
def test_a_view_that_a_table_is_not_of_does_not_show_it(changes: dict[str, Any]) -> None:
    assert layer_status.standing(replace(SPEC, **changes), BLOCK, "ash_s").table is None


def test_as_many_images_as_were_measured_may_be_asked_for() -> None:
    sizes = {len(setups.images(setups.setup(replace(SPEC, images=500)), name)) for name in setups.setup(SPEC).ood}
    assert sizes == {500}
    there = shipped_at("demo", BLOCK)
    some = there.table.assign(n_id=500)
    files = there.origin["files"].replace(there.files["fashion_mnist"], "", 1)
    fitting = setups.images(setups.setup(replace(SPEC, images=500)), "fashion_mnist").fingerprint[:16]
    origin = there.origin | {"files": files.replace("fashion_mnist ", f"fashion_mnist {fitting}", 1)}
    at = setups.setup(replace(SPEC, images=500, placement=BLOCK))
    assert shipping._fits(replace(there, table=some, origin=origin), at)
    assert not shipping._fits(there, at)


def test_a_set_that_a_table_lacks_is_never_averaged_away(monkeypatch: pytest.MonkeyPatch) -> None:
    every = tuple(
        replace(one, table=one.table[one.table.ood != "digits"].reset_index(drop=True)) for one in results.shipped()
    )
    monkeypatch.setattr(shipping, "all_shipped", lambda: every)
    found = layer_status.standing(SPEC, BLOCK, "ash_s")
    assert found.table is None
    assert found.unlike == ("digits",)
    app = at_link("placements", model="demo", variant="ash_s", p="90").run()
    assert "Numbers that ship of it are not of Digits" in texts(app)
    assert not any(traces(app, "placements_grid")["Last block"]["text"])
    others = ("noise", "textures")
    assert layer_status.standing(replace(SPEC, ood=others), BLOCK, "ash_s").shipped is not None


def test_all_placements_are_on_the_same_sets_and_the_one_left_out_is_named() -> None:
    """As where a placement was computed here, and the images of one set are not here."""
    found = placement_values.standings(SPEC, layer_status.compared(SPEC)[0], "ash_s")
    partial = [
        replace(one, table=one.table[one.table.ood != "digits"], shipped=None) if one.name == BLOCK else one
        for one in found
        if one.table is not None
    ]
    shown = placement_values.record(SPEC, partial, "ash_s")
    assert shown.left_out == (setups.set_label("digits"),)
    sets = [name for name in setups.setup(SPEC).ood if name != "digits"]
    for place in shown.places:
        table = next(one.table for one in partial if one.name == place.name)
        assert table is not None
        rows = table[(table.method == "ash_s@90") & table.ood.isin(sets)]
        (setting,) = [one for one in place.settings if one.method == Method("ash_s", 90)]
        assert setting.auroc == pytest.approx(rows.auroc.mean())
    alone = placement_values.record(replace(SPEC, on="digits"), partial, "ash_s")
    assert [place.name for place in alone.places if not place.known] == [BLOCK]


def test_live_numbers_win_and_agree_with_what_ships() -> None:
    at = setups.setup(replace(SPEC, placement=BLOCK))
    for _ in banks.compute_banks(at):
        pass
    live = evaluations.table(at, "energy")
    found = layer_status.standing(SPEC, BLOCK, "ash_s")
    assert found.shipped is None
    assert found.missing == {}
    there = shipped_at("demo", BLOCK)
    worst, where, count = results.largest_difference(there, live)
    print(f"{count} numbers: the largest difference is {worst:.4f} points, {where}")
    assert count == 4 * 7 * len(results.line_methods(linear=True))
    assert worst <= results.TOLERANCE


def test_tables_of_other_placements_never_stand_for_a_networks_own() -> None:
    assert {one.model for one in shipping.usual()} == {
        one.model for one in results.shipped() if shipping.at_penultimate(one) and "variant" not in one.origin
    }
    assert all(shipping.at_penultimate(one) for one in shipping.usual())
    assert shipping.shipped("demo") is None


def test_activations_that_were_computed_for_another_variant_hide_no_line_that_ships(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after Compute all under ASH-B: the lessons, Figure 5 and their question are about ASH-P."""
    own = shipped_at("demo", DEEP).table.query("method == 'energy' or method == 'ash_b@65'")
    monkeypatch.setattr(layer_status, "missing_sets", lambda at: {})
    monkeypatch.setattr(layer_status, "_recalled", lambda *about: own)
    computed = layer_status.standing(SPEC, DEEP, "ash_b")
    assert (computed.table is own, computed.shipped, len(computed.todo)) == (
        True,
        None,
        len(layer_status.DEEP_LINE) - 1,
    )
    before = layer_status.standing(SPEC, DEEP, "ash_p")
    assert before.shipped is shipped_at("demo", DEEP)
    assert {f"ash_p@{p}" for p in layer_status.DEEP_LINE} <= set(before.table["method"])
    assert before.computing
