"""The page Paper, from the entry file: every leaf, whose numbers stand where, picks, measuring, conventions."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pytest
from app_pages import at_link, ran, traces, turn_to
from streamlit.testing.v1 import AppTest

from app.backend import banks, distributions, evaluations, metric_rules, requirements, setups, shipping
from app.backend import paper as paper_backend
from app.charts import published, relu
from app.link.options import LEAVES
from app.link.picks import Pick, reduce
from app.link.spec import RunSpec
from app.views.paper import accuracy, words
from app.views.paper import table as paper_table
from ash import paper, reports

pytestmark = pytest.mark.slow

TABLES = [leaf for leaf in LEAVES if leaf.startswith("table")]


@pytest.fixture
def app() -> AppTest:
    return at_link("paper", model="demo")


def text_of(app: AppTest) -> str:
    return "\n".join(one.value for one in (*app.markdown, *app.caption)).replace("\\", "")


def facts_of(app: AppTest) -> str:
    """The facts of the chosen line."""
    return next(str(one.body) for one in app.get("html") if "<dl" in str(one.body))


def shown(app: AppTest) -> pd.DataFrame:
    """The table on the page, without the groups of its columns."""
    frames = [one.value for one in app.dataframe if isinstance(one.value.columns, pd.MultiIndex)]
    return frames[0].droplevel(0, axis=1)


# Every leaf


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_opens(app: AppTest, leaf: str) -> None:
    ran(app, leaf=leaf)
    assert app.title[0].value == "Paper"
    assert app.subheader[0].value.startswith(words.leaf_label(leaf))
    assert not app.warning
    if leaf in TABLES:  # every line, and its published numbers
        number = int(leaf[-1])
        frame, lines = shown(app), reports.lines(number)
        assert list(frame["Runs as"]) == list(lines["method"])
        printed = paper.load(number)
        mean = printed[(printed.metric == "auroc") & (printed.ood == "mean")]
        assert list(frame["○ AUROC"]) == list(mean["value"])


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_opens_without_weights_and_images(app: AppTest, leaf: str) -> None:
    ran(app, leaf=leaf, model="resnet50")
    assert re.search(r"\d+ can be run but are not measured; 2 are published only", text_of(app))
    assert not app.metric


@pytest.mark.parametrize("leaf", ["table1", "table4", "figure2"])
def test_results_that_ship_are_shown_where_their_images_are_unknown(app: AppTest, leaf: str) -> None:
    ran(app, leaf=leaf, model="mobilenet_v2")
    if leaf != "figure2":
        assert "nips2017" in text_of(app)


def test_how_many_lines_are_measured_is_on_the_page(app: AppTest) -> None:
    lines = pd.concat([reports.lines(number) for number in paper.TABLES])
    own = {one.model: set(one.table.method) for one in shipping.usual()}
    shipped = sum(row.method in own.get(row.model, ()) for row in lines.itertuples())
    # ODIN's perturbed images are not there: of the demo, and of the DenseNet, whose other lines are measured anew
    live = "densenet101_cifar10"
    shipped -= ((lines.method == "odin") & (lines.model == live)).sum()
    odin = ((lines.method == "odin") & ~(lines.model.isin(own) & (lines.model != live))).sum()
    text = text_of(ran(app))
    assert f"The paper's five tables have 87 lines: {shipped} are measured on the network" in text
    assert "0 of them with the paper's weights and all of its images" in text
    assert f"{87 - 2 - shipped - odin} on the bundled network (Small ResNet on Fashion-MNIST) only" in text
    assert f"{odin} can be run but are not measured; 2 are published only." in text


# Whose numbers


def test_the_demo_is_another_network_and_says_so(app: AppTest) -> None:
    frame = shown(ran(app))
    beside = frame[frame["◇ AUROC"].notna()]
    assert set(beside[beside["● AUROC"].isna()]["Status"]) == {reports.BUNDLED}
    at = setups.setup(RunSpec())
    expected = evaluations.measure(at, "ash_b@65").query("ood == 'mean'")
    for _, row in frame[frame["Runs as"] == "ash_b@65"].iterrows():
        assert row["◇ AUROC"] == pytest.approx(expected.auroc.iloc[0], abs=1e-4)
        assert row["◇ FPR95"] == pytest.approx(expected.fpr95.iloc[0], abs=1e-4)
    groups = next(one.value.columns for one in app.dataframe if isinstance(one.value.columns, pd.MultiIndex))
    assert {group for group, name in groups if name.startswith("◇")} == {"Small ResNet on Fashion-MNIST"}
    assert not {name for group, name in groups if group == "Small ResNet on Fashion-MNIST"} & {*frame.filter(like="○")}
    assert "Small ResNet on Fashion-MNIST is another network" in text_of(app)


@pytest.mark.parametrize("leaf", TABLES)
def test_no_difference_stands_where_network_or_images_are_not_the_papers(app: AppTest, leaf: str) -> None:
    """What ships is the bundled network, and results over one of the paper's sets, or of other weights."""
    for column in ("mean", "dtd"):
        frame = shown(ran(app, leaf=leaf, column=column))
        assert not [name for name in frame if name.startswith("Δ")]
        measured = frame["● AUROC"].notna()
        if measured.any():
            assert (frame[measured]["Differs in"] != "").all()
        assert ("how far its numbers lie" in text_of(app)) == ("◇ AUROC" in frame)


def test_the_papers_networks_alone_have_nothing_beside_them(app: AppTest) -> None:
    frame = shown(ran(app, beside="own"))
    assert not [name for name in frame if name.startswith("◇")]
    assert "another network" not in text_of(app)


def test_the_sidebars_network_of_the_paper_is_measured_in_its_own_lines(app: AppTest) -> None:
    frame = shown(ran(app, leaf="table2", model="densenet101_cifar10"))
    same = frame["Network"] == "DenseNet, CIFAR-10"
    assert frame[same]["◇ AUROC"].isna().all()
    assert frame[~same]["● AUROC"].isna().all()
    energy = frame["Runs as"] == "energy"
    assert frame[same & energy]["● AUROC"].notna().all()  # on the paper's sets among those of the sidebar
    assert frame[~same & energy]["◇ AUROC"].notna().all()  # on all of the sidebar's


def test_a_name_with_quotation_marks_keeps_the_columns_apart() -> None:
    one = reports.Found("demo", "mine", evaluated(), network="")
    rows = reports.wide(reports.compare(1, [], beside=one), "mean")
    groups = paper_table._frame(rows, 'Bob\'s "net"').columns.get_level_values(0)
    assert any("net" in group for group in groups)
    assert not any(mark in group for group in groups for mark in "'\"")


def evaluated() -> pd.DataFrame:
    rows = evaluations.measure(setups.setup(RunSpec()), "energy")
    return rows.assign(device="CPU", date="2026-01-01")


def whole(network: str, sets: tuple[str, ...], **change: object) -> reports.Found:
    """The paper's methods on one of its networks, as if these sets were all there: numbers of the demo."""
    one = evaluated().query("ood == 'digits'")
    methods = set(pd.concat(paper.load(number) for number in paper.TABLES)["method"]) - {"godin"}
    rows = pd.concat(one.assign(method=method, ood=name) for method in methods for name in sets)
    id_set = "imagenet" if network == "resnet50" else "cifar10"
    return replace(reports.Found(network, id_set, rows, network=network), **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [({}, ""), ({"apart": ("weights",)}, "weights"), ({"partial": {"imagenet": "9 of 50,000 images"}}, "images")],
)
def test_a_difference_stands_where_network_and_images_are_the_papers(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], words: str
) -> None:
    one = whole("resnet50", paper.TABLES[1].ood["resnet50"], **change)
    monkeypatch.setattr(paper_backend, "own", lambda spec: [one])
    frame = shown(ran(app))
    same = frame["Network"] == "ResNet-50"
    assert frame[same]["● AUROC"].notna().all()
    assert frame[~same]["● AUROC"].isna().all()
    if words:
        assert "Δ AUROC" not in frame
        assert set(frame[same]["Differs in"]) == {words}
    else:
        away = frame["● AUROC"] - frame["○ AUROC"]
        assert frame[same]["Δ AUROC"].to_numpy() == pytest.approx(away[same].to_numpy(), abs=2e-4)
        assert frame[~same]["Δ AUROC"].isna().all()
        assert "Differs in" not in frame


def test_two_of_six_sets_have_no_difference(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_backend, "own", lambda spec: [whole("densenet101_cifar10", ("isun", "dtd"))])
    for leaf in ("table2", "table3"):
        frame = shown(ran(app, leaf=leaf))
        measured = frame[frame["● AUROC"].notna()]
        assert set(measured["Network"]) == {"DenseNet, CIFAR-10"}
        assert set(measured["Differs in"]) == {"sets"}
        assert not [name for name in frame if name.startswith("Δ")]
    choose(app, "densenet101_cifar10 Energy")
    assert "Δ" not in facts_of(app).partition("Beside")[0]


def test_only_chosen_ood_sets_count(app: AppTest) -> None:
    frame = shown(ran(app, ood="digits,noise"))
    rows = evaluations.measure(setups.setup(RunSpec()), "energy").set_index("ood").auroc
    beside = frame[frame["Runs as"] == "energy"]["◇ AUROC"].iloc[0]
    assert beside == pytest.approx((rows["digits"] + rows["noise"]) / 2, abs=1e-4)


def test_the_papers_own_network_is_not_run_while_it_is_not_here(app: AppTest) -> None:
    frame = shown(ran(app, beside="own", leaf="table4"))
    assert set(frame["Status"]) == {reports.NOT_RUN}
    assert frame["● AUROC"].isna().all()


def test_godin_is_published_only(app: AppTest) -> None:
    frame = shown(ran(app, leaf="table2"))
    assert set(frame[frame["Runs as"] == "godin"]["Status"]) == {reports.PUBLISHED}


def test_single_sets_of_the_paper_have_no_number_of_another_network(app: AppTest) -> None:
    frame = shown(ran(app, column="sun"))
    assert frame["○ AUROC"].iloc[0] == 80.86
    assert frame["● AUROC"].isna().all()
    assert "◇ AUROC" not in frame


def test_a_column_that_the_table_has_not_is_its_average(app: AppTest) -> None:
    assert shown(ran(app, leaf="table4", column="sun"))["○ AUROC"].notna().all()


def test_the_authors_rules_measure_too(app: AppTest) -> None:
    ours = shown(ran(app, leaf="table3"))
    app.selectbox(key="spec_rules").select("authors").run()
    theirs = shown(app)
    assert not app.exception
    soft = ours["Runs as"].str.endswith("msp")
    assert (ours["◇ AUPR"] - theirs["◇ AUPR"])[soft].abs().min() > 0.01
    pd.testing.assert_series_equal(ours["○ AUPR"], theirs["○ AUPR"])


def test_table_5_says_where_one_threshold_for_all_is_better(app: AppTest) -> None:
    text = text_of(ran(app, leaf="table5"))
    assert "Published: a threshold for each sample has the higher AUROC at p = 70 to 98, one for all at p = 99." in text
    assert "Measured here" not in text
    assert "On Small ResNet on Fashion-MNIST, another network: a threshold for each sample has the higher AUROC" in text
    duels = paper_backend.threshold_duels(RunSpec())
    means = {p: [evaluations.measure(setups.setup(RunSpec()), f"{name}@{p}") for name in PAIR] for p in (30, 65, 90)}
    for p, (local, everywhere) in means.items():
        first, second = (table.query("ood == 'mean'").auroc.iloc[0] for table in (local, everywhere))
        assert duels["demo"][p] == (first > second)
    assert all(duels["densenet101_cifar10"].values())
    shipped = words.duel(duels["densenet101_cifar10"])
    steps = "19 percentiles from 5 to 95, of results that ship (cifar10 against isun)"
    assert f"DenseNet-101 on CIFAR-10, {steps}: {shipped}." in text
    assert words.duel(duels["demo"]) in text


PAIR = ("ash_b", "ash_b_global")


def test_neighbours_are_joined() -> None:
    assert words.spans([5, 10, 15, 90], range(5, 100, 5)) == "5 to 15 and 90"
    assert words.spans([1, 3, 5], range(1, 6)) == "1, 3 and 5"
    assert words.spans([], [1]) == ""
    assert words.duel({1: True, 2: True}).endswith("at every p")
    assert words.duel({1: False}) == "one threshold for all has the higher AUROC at every p"


# Picks


def choose(app: AppTest, line: str) -> AppTest:
    """What a click on a row does."""
    spec: RunSpec = app.session_state["spec"]
    app.session_state[f"paper_line{spec.paper.leaf[-1]}"] = line
    return app.run()


def test_the_chosen_line_states_its_facts_and_loads(app: AppTest) -> None:
    choose(ran(app), "resnet50 ASH-S")
    facts = next(one.value for one in app.get("html") if "Published" in str(one.value)) if app.get("html") else ""
    assert not facts or "95.12" in facts
    app.button(key="paper_load").click().run()
    spec: RunSpec = app.session_state["spec"]
    assert (str(spec.method), spec.model) == ("ash_s@90", "demo")
    assert app.button(key="paper_load").disabled
    app.button(key="paper_load_network").click().run()
    spec = app.session_state["spec"]
    assert (str(spec.method), spec.model) == ("ash_s@90", "resnet50")
    assert not app.exception


@pytest.mark.parametrize("method", ["odin", "mahalanobis", "dice@70", "react@1.0+dice@10", "ash_b_global@95"])
def test_a_method_beyond_the_sidebar_is_loaded_on_every_page(app: AppTest, method: str) -> None:
    few = {}
    if method == "odin":  # the only one of them that needs banks that do not ship
        few = {"n": "60", "ood": "digits"}
        list(requirements.measure_steps([RunSpec(images=60, ood=("digits",))], "odin"))
    app.query_params.update(few)
    for page in ("tradeoff", "scores", "activations", "placements", "paper", "library"):
        app.query_params["method"] = method
        turn_to(app, page).run()
        assert not app.exception
        assert not app.error, (page, app.error[0].value)
        assert str(app.session_state["spec"].method) == method


def test_a_row_loads_its_method_and_its_network_where_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.DataFrame({"model": ["resnet50"], "method": ["dice@70"]}, index=["resnet50 Dice"])
    state: dict[str, object] = {}
    monkeypatch.setattr(paper_table.st, "session_state", state)
    for beside, ready, expected in (
        ("sidebar", False, Pick.method("dice@70")),
        ("own", False, Pick.method("dice@70")),
        ("own", True, Pick.line("resnet50 dice@70")),
    ):
        monkeypatch.setattr(paper_table, "current", lambda beside=beside: RunSpec.of(beside=beside))
        monkeypatch.setattr(requirements, "unready", lambda spec, ready=ready: "" if ready else "weights")
        assert paper_table._pick(1, rows, "resnet50 Dice") == expected
    assert state["paper_line1"] == "resnet50 Dice"


# Measuring


def test_a_row_says_what_it_needs_and_measures_it(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    left = {"digits": 300, "noise": 200}
    monkeypatch.setattr(requirements, "missing_perturbed", lambda at, way: dict(left))
    done: list[str] = []

    def steps(spec: RunSpec, method: str) -> Iterator[banks.Step]:
        yield banks.Step("Digits, perturbed", 1, 2, 10.0, 0.1)
        done.append(method)

    monkeypatch.setattr(requirements, "measure_steps", steps)
    choose(ran(app), "resnet50 ODIN")
    assert "the activations of 500 perturbed images are not computed" in text_of(app)
    assert app.button(key="paper_measure").label == "Measure this row"
    app.button(key="paper_measure").click().run()
    assert not app.exception
    assert done == ["odin"]
    assert app.button(key="paper_measure").label == "Measure this row"


def test_a_failure_while_measuring_is_not_repeated(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "missing_perturbed", lambda at, way: {"digits": 300})

    def steps(spec: RunSpec, method: str) -> Iterator[banks.Step]:
        raise backend_error()
        yield

    monkeypatch.setattr(requirements, "measure_steps", steps)
    choose(ran(app), "resnet50 ODIN")
    app.button(key="paper_measure").click().run()
    assert app.error
    app.run()
    assert not app.error


def backend_error() -> Exception:
    from ash.errors import AshError

    return AshError("The disk is full.")


def test_missing_weights_come_with_their_command(app: AppTest) -> None:
    choose(ran(app, beside="own", leaf="table4"), "resnet50 ASH-S@90")
    assert "the weights of ResNet-50 on ImageNet are missing" in text_of(app)
    assert any("python -m ash fetch resnet50" in one.value for one in app.code)


def test_odin_of_the_demo_is_measured_from_its_images() -> None:
    spec = RunSpec(images=60, ood=("digits",))
    for step in requirements.measure_steps([spec], "odin"):
        assert 0 <= step.done <= step.total
    assert requirements.lack(spec, "odin") is None
    found = paper_backend.found(spec)
    row = found.row("odin", "digits")
    assert row is not None
    assert (row["n_id"], row["n_ood"]) == (60, 60)
    assert 0 < row["auroc"] < 100


def test_a_fit_is_made_once_and_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.backend import fits

    at = setups.setup(RunSpec())
    fits._fitted.clear()  # of tests with another cache
    one = fits.fit_of(at)
    assert one is not None
    assert (one.identity.dataset, one.rows) == ("fashion_mnist_train", 3000)
    fits._fitted.clear()
    monkeypatch.setattr(fits, "fit", lambda bank: pytest.fail("fitted again"))
    again = fits.fit_of(at)
    assert again is not None
    assert again.date == one.date


# Figures


def test_figure_2_has_every_method_and_hollow_published_marks(app: AppTest) -> None:
    found = traces(ran(app, leaf="figure2"), "paper_figure2")
    assert {"ASH-P", "ASH-B", "ASH-S", "ReAct", "Pareto front"} <= set(found)
    others = found["other methods"]["customdata"]
    assert {"msp", "mahalanobis", "dice@70", "react@1.0+dice@10"} <= set(others)
    assert "published in the paper" not in found  # another network's numbers have axes of their own
    marks = traces(app, "paper_figure2_published")["published"]
    assert len(marks["x"]) == len(published.settings(both=True)) == 9
    assert all(symbol.endswith("-open-dot") for symbol in marks["marker"]["symbol"])
    assert (74.98, 95.12) in zip(marks["x"], marks["y"], strict=True)  # ASH-S @ 90, as it is printed
    text = "".join(marks["hovertext"])
    assert "AUROC 95.12" in text
    assert "misprint" in text


def test_figure_3_has_three_lines_and_the_printed_accuracies(app: AppTest) -> None:
    found = traces(ran(app, leaf="figure3"), "paper_figure3")
    assert [name for name in found if name.startswith("ASH")] == ["ASH-P", "ASH-B", "ASH-S"]
    marks = found["published, ResNet-50"]
    assert sorted(zip(marks["x"], marks["y"], strict=True)) == [
        (0, 0), (65, 74.12), (65, 76.01), (65, 76.01), (90, 74.98),
    ]  # fmt: skip


def test_figure_3_without_anything_measured_shows_the_paper() -> None:
    record = accuracy.record((), None, "nothing")
    assert "Nothing is measured here" in accuracy.finding(record)
    assert len(accuracy.figure(record, False).checked().data) == 2


def test_figure_4_is_what_shaping_does() -> None:
    import torch

    from ash import shaping

    at, p = setups.setup(RunSpec()), 70.0
    one = distributions.cutoffs(at, p, (at.id_set,))
    x = banks.activations(at, at.id_set)[:50].reshape(50, -1)
    operations = {"ash_p": shaping.ash_p, "ash_b": shaping.ash_b, "ash_s": shaping.ash_s}
    for row in range(0, 50, 7):
        group = relu.Images("id", "one", one.t[[row]], one.level[[row]], one.factor[[row]], one.high)
        for name, operation in operations.items():
            expected = operation(torch.from_numpy(x[[row]].copy()), p).numpy()[0]
            mine = relu.output(name, x[row].astype(float), group)
            alike = x[row] != one.t[row]  # ties at the cut-off: the first ones are kept, the rest is not
            assert mine[alike] == pytest.approx(expected[alike], rel=1e-4, abs=1e-5)


# Conventions


def test_the_conventions_have_measured_effects(app: AppTest) -> None:
    effects, saturated = metric_rules.convention_effects(RunSpec())
    by_key = {(one.convention, one.method, one.metric): one for one in effects}
    table = evaluations.measure(setups.setup(RunSpec()), "energy").query("ood == 'mean'")
    assert by_key["fpr95", "energy", "fpr95"].ours == pytest.approx(table.fpr95.iloc[0])
    assert by_key["aupr", "energy", "aupr"].ours == pytest.approx(table.aupr.iloc[0])
    soft = by_key["msp", "ash_s@95:msp", "auroc"]
    assert soft.ours > soft.theirs
    assert 0 <= saturated <= 100


def test_a_pick_of_a_line_survives_junk() -> None:
    assert reduce(RunSpec(), Pick.line("x y z")) == RunSpec()
