"""Results that ship, in the app: beside the paper's numbers, as a trade-off, and measured again where possible."""

from dataclasses import replace
from pathlib import Path

import pytest
from app_pages import at_link, ran, traces
from streamlit.testing.v1 import AppTest
from test_paper_page import facts_of, shown, text_of

from app.backend import paper as paper_backend
from app.backend import provenance, registry, requirements, setups, shipping
from app.backend.setups import identity
from app.link.spec import RunSpec
from ash import reports, results

pytestmark = pytest.mark.slow


@pytest.fixture
def app() -> AppTest:
    return at_link("paper", model="demo")


def test_results_that_ship_stand_beside_the_papers_own_network(app: AppTest) -> None:
    frame = shown(ran(app, beside="own", leaf="table2"))
    row = frame[(frame["Runs as"] == "ash_s@95") & (frame["Network"] == "DenseNet, CIFAR-10")].iloc[0]
    isun, dtd = 98.8781, 95.3254  # the authors' code on the same images
    assert row["● AUROC"] == pytest.approx((isun + dtd) / 2, abs=0.02)
    assert row["Status"].startswith("measured, 2 of 6 OOD sets")
    assert (row["n ID"], row["n OOD"]) == (10_000, 8_925 + 1_200)
    assert "sets" in row["Differs in"]
    assert "Δ AUROC" not in frame
    other = frame[(frame["Runs as"] == "mahalanobis") & (frame["Network"] == "DenseNet, CIFAR-10")].iloc[0]
    assert other["Status"] == reports.NOT_RUN


@pytest.mark.parametrize("model", ["mobilenet_v2"])
def test_the_trade_off_shows_results_that_ship(model: str) -> None:
    app = at_link("tradeoff", model=model).run()
    assert not app.exception
    assert "Measured before, activations not shipped" in [one.value for one in app.subheader]
    there = shipping.shipped(model)
    assert there is not None
    assert there.file.name in text_of(app)
    marks = traces(app, "shipped_pareto")
    known = there.table.query("ood == 'mean'").set_index("method")
    for name in ("ASH-P", "ASH-B", "ASH-S"):
        trace = marks[name]
        for method, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True):
            assert (x, y) == pytest.approx((known.id_accuracy[method], known.auroc[method]), abs=1e-3)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> results.Results:
    """Results of the demo, as if they had shipped without its activations."""
    at = setups.setup(RunSpec())
    rows = paper_backend._rows(at, ("energy", "ash_b@65", "msp"), at.ood).drop(columns=["device", "date"])
    origin = {
        **dict.fromkeys(("versions", "command"), "x"), "device": "CPU (test)", "date": "2026-01-02T03:04:05",
        "weights_sha256": registry.entry("demo").weights_hash(), "model": "demo", "placement": at.placement,
        "id": at.id_set, "ood": ", ".join(at.ood),
        "files": ", ".join(f"{name} {identity(at, name).files[:16]}" for name in at.sets),
    }  # fmt: skip
    results.write(tmp_path / "demo.csv", rows, origin)
    one = results.read(tmp_path / "demo.csv")
    monkeypatch.setattr(shipping, "all_shipped", lambda: (one,))
    return one


def test_results_agree_with_what_is_measured_again(small: results.Results) -> None:
    found = shipping.agreement("demo")
    assert found is not None
    assert found.good
    assert found.worst < 1e-3
    assert found.numbers == len(small.table) * 4


def test_a_changed_number_is_found(small: results.Results, monkeypatch: pytest.MonkeyPatch) -> None:
    table = small.table.copy()
    table.loc[(table.method == "msp") & (table.ood == "digits"), "auroc"] += 1.0
    monkeypatch.setattr(shipping, "all_shipped", lambda: (replace(small, table=table),))
    shipping._compared.clear()
    found = shipping.agreement("demo")
    shipping._compared.clear()
    assert found is not None
    assert not found.good
    assert found.where == "auroc of msp on digits"


def test_results_stand_in_where_nothing_can_be_measured(
    app: AppTest, small: results.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (paper_backend, requirements, provenance):
        monkeypatch.setattr(module, "unready", lambda spec: "the weights are missing")
    frame = shown(ran(app))
    row = frame[frame["Runs as"] == "ash_b@65"].iloc[0]
    expected = small.table.query("method == 'ash_b@65' and ood != 'mean'").auroc.mean()
    assert row["◇ AUROC"] == pytest.approx(expected, abs=1e-3)
    assert "CPU (test)" in facts_of(app)
    assert frame[frame["Runs as"] == "mahalanobis"]["◇ AUROC"].isna().all()


@pytest.mark.parametrize("change", [{}, {"weights_sha256": "0" * 64}, {"id": "digits8"}, {"placement": "layer4"}])
def test_results_stand_beside_what_is_measured_here_only_where_all_is_alike(
    small: results.Results, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    """ODIN is not measured here; a file has it, of these weights and images or of others."""
    table = small.table.assign(method=small.table.method.replace("msp", "odin"))
    monkeypatch.setattr(shipping, "all_shipped", lambda: (replace(small, table=table, origin=small.origin | change),))
    found = paper_backend._with_results(RunSpec())
    assert found.mean("energy") is not None
    assert (found.mean("odin") is None) == bool(change)


def test_results_of_other_weights_say_so() -> None:
    there = shipping.shipped("mobilenet_v2")
    assert there is not None
    assert "weights_note" in there.origin
    found = {one.network: one for one in paper_backend.own(RunSpec.of(beside="own"))}
    assert found["mobilenet_v2"].apart == (reports.WEIGHTS,)
    assert found["densenet101_cifar10"].apart == ()


def test_results_of_other_images_are_not_measured_again(
    small: results.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(small, origin={**small.origin, "files": small.origin["files"].replace("digits ", "digits 0")})
    monkeypatch.setattr(shipping, "all_shipped", lambda: (other,))
    assert shipping.agreement("demo") is None


def section() -> None:
    """The section of results, opened."""
    from app.backend import shipping
    from app.ui import shipped

    for there in shipping.all_shipped():
        shipped._one(there)


def test_the_section_of_results_says_whether_they_agree(
    small: results.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "all_shipped", lambda: (small,))
    app = AppTest.from_function(section, default_timeout=60).run()
    assert not app.exception
    assert f"{len(small.table) * 4} numbers agree" in app.success[0].value
    assert small.file.name in text_of(app)


def test_the_section_of_results_says_what_cannot_be_measured_again() -> None:
    app = AppTest.from_function(section, default_timeout=60).run()
    assert not app.exception
    assert not app.success
    assert text_of(app).count("it cannot be measured again") == len(shipping.usual())
    assert text_of(app).count("activations not shipped:") == len(shipping.all_shipped())
    assert "Left out: 51 methods" in text_of(app)
