"""A network in three checkpoints on the pages: mean and deviation on Trade-off, one of them elsewhere, and the link."""

import contextlib
import importlib.util
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from app_pages import charts, figure, forget_plugins, open_page, ran, texts, traces
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from app.backend import banks, evaluations, setups
from app.charts import film
from app.link.spec import RunSpec
from app.views.tradeoff import page as tradeoff
from ash import plugins
from ash.__main__ import main
from ash.models import get_model
from ash.protocol import choose
from ash.tables import over_checkpoints

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "own_network.py"
MODEL, SEEDS = "digits_net", ("seed0", "seed1", "seed2")
QUERY = {"model": MODEL, "variant": "ash_s", "p": 75}


@pytest.fixture(scope="module", autouse=True)
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The guide's example with a folder of weights: a training, and two that stand for others by noise on it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "seeds").mkdir()
    file = folder / "several.py"
    file.write_text(EXAMPLE.read_text().replace("weights=WEIGHTS", 'weights="seeds"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv(plugins.VARIABLE, "")
        forget_plugins()
        spec = importlib.util.spec_from_file_location("several", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.train(folder / "seeds" / "seed0.pt")
        state = torch.load(folder / "seeds" / "seed0.pt", weights_only=True)
        for seed in (1, 2):
            torch.manual_seed(seed)
            noisy = {name: value + 0.03 * torch.randn_like(value) for name, value in state.items()}
            torch.save(noisy, folder / "seeds" / f"seed{seed}.pt")
        patch.setenv(plugins.VARIABLE, str(file))
        forget_plugins()
        yield folder / "seeds"
    forget_plugins()


@pytest.fixture(scope="module")
def whole(example: Path) -> AppTest:
    """Trade-off over all checkpoints, after its one click for all that is missing."""
    app = open_page("tradeoff", **QUERY)
    assert "with 3 checkpoints" in texts(app)
    app.button(key="prepare_button").click()
    return ran(app)


def tables(method: str | None = None) -> dict[str, pd.DataFrame]:
    """The test images' table of every checkpoint: of one method as if each were alone, else of the grid of all."""
    if method is None:
        every = setups.each_checkpoint(RunSpec(model=MODEL))
        return {at.checkpoint: evaluations.table(at, "energy", "test") for at in every}
    every = [setups.setup(RunSpec(model=MODEL, checkpoint=name)) for name in SEEDS]
    return {at.checkpoint: evaluations.measure(at, method, "test") for at in every}


def cards(app: AppTest) -> dict[str, str]:
    return {one.label: one.value for one in app.metric}


def test_numbers_are_means_with_deviations(whole: AppTest) -> None:
    rows = [one.query("ood == 'mean'").iloc[0] for one in tables("ash_s@75").values()]
    for label, name in (("AUROC", "auroc"), ("FPR95", "fpr95"), ("ID accuracy", "id_accuracy"), ("AUPR", "aupr")):
        values = np.array([row[name] for row in rows])
        assert cards(whole)[label] == f"{values.mean():.1f} ± {values.std(ddof=1):.1f} %"
    assert len({row.auroc for row in rows}) == 3
    said = texts(whole)
    assert "mean of 3 OOD sets, over 3 checkpoints)" in said
    assert "± over 3 checkpoints" in said
    assert "sample standard deviation over them (n - 1)" in said
    assert "nan" not in said.lower().split()


def test_the_front_has_bars_both_ways(whole: AppTest) -> None:
    bars = traces(whole, "pareto")["deviation over checkpoints"]
    pooled = over_checkpoints(tables()).query("ood == 'mean'").set_index("method")
    front = {one for trace in figure(whole, "pareto")["data"] for one in trace.get("customdata", [])}
    assert len(bars["x"]) == len(bars["error_x"]["array"]) == len(bars["error_y"]["array"]) >= 2
    spots = {(round(row.id_accuracy, 4), round(row.auroc, 4)): row for row in pooled.itertuples()}
    for x, y, across, upward in zip(
        bars["x"], bars["y"], bars["error_x"]["array"], bars["error_y"]["array"], strict=True
    ):
        row = spots[x, y]
        assert across == pytest.approx(row.id_accuracy_std, abs=1e-4)
        assert upward == pytest.approx(row.auroc_std, abs=1e-4)
        assert row.Index in front
    assert max(bars["error_y"]["array"]) > 0


def test_thresholds_are_the_first_ones_for_all(whole: AppTest) -> None:
    every = setups.each_checkpoint(RunSpec(model=MODEL))
    assert [at.checkpoint for at in every] == list(SEEDS)
    assert len({evaluations.grid_methods(at, "energy") for at in every}) == 1
    alone = [setups.setup(RunSpec(model=MODEL, checkpoint=name)) for name in SEEDS]
    assert alone[0] == every[0]
    assert len({evaluations.grid_methods(at, "energy") for at in alone}) > 1


def test_the_table_and_its_file_have_the_deviations(whole: AppTest) -> None:
    frame = whole.get_by_key(next(iter_keys(whole, "front_rows"))).value
    pooled = over_checkpoints(tables()).query("ood == 'mean'").set_index("method")
    for method, row in frame.iterrows():
        if method in pooled.index:
            assert row["± AUROC"] == pytest.approx(pooled.auroc_std[method])
            assert row["± ID accuracy"] == pytest.approx(pooled.id_accuracy_std[method])
    assert {"± AUROC", "± FPR95", "± AUPR", "± ID accuracy"} <= {*frame}


def iter_keys(app: AppTest, start: str) -> Iterator[str]:
    return (one.key for one in app.dataframe if one.key and one.key.startswith(start))


def test_the_best_is_chosen_by_the_mean_on_validation(whole: AppTest) -> None:
    spec = RunSpec(model=MODEL, variant="ash_s", p=75.0)
    found = [evaluations.table(at, "energy", "validation") for at in setups.each_checkpoint(spec)]
    best = choose(over_checkpoints(dict(zip(SEEDS, found, strict=True))))
    assert tradeoff.choice_of(spec, True, "test").method == best
    assert "Within the noise" not in texts(whole)  # which is one checkpoint's


def test_the_link_names_one_of_them(whole: AppTest) -> None:
    app = open_page("tradeoff", **QUERY, checkpoint="seed1")
    (row,) = [one.query("ood == 'mean'").iloc[0] for name, one in tables("ash_s@75").items() if name == "seed1"]
    assert cards(app)["AUROC"] == f"{row.auroc:.1f} %"
    said = texts(app)
    assert "checkpoint seed1" in said
    assert "over 3 checkpoints" not in said
    assert "deviation over checkpoints" not in traces(app, "pareto")
    app.selectbox(key="spec_checkpoint").set_value("")
    ran(app)
    assert "checkpoint" not in app.query_params
    assert cards(app)["AUROC"] == cards(whole)["AUROC"]
    app.selectbox(key="spec_checkpoint").set_value("seed2")
    ran(app)
    assert app.query_params["checkpoint"] == "seed2"
    app = open_page("tradeoff", **QUERY, checkpoint="seed9")
    assert "The link says checkpoint=seed9, which is not known here" in texts(app)


def test_the_chart_moves_with_the_slider_over_all_checkpoints(whole: AppTest) -> None:
    spec = RunSpec(model=MODEL, variant="ash_s", p=0.0)
    shown = list(tradeoff._charts_of_steps(spec, False))
    assert len(film.film(shown)) > 0
    kept = next(one for one in shown[75].data if one["name"] == "current")
    drawn = traces(whole, "pareto")["current"]
    assert (kept["x"], kept["y"]) == (drawn["x"], drawn["y"])
    assert {len(one.data) for one in shown} == {len(figure(whole, "pareto")["data"])}


def test_the_program_is_of_the_one_that_it_names(whole: AppTest) -> None:
    program = tradeoff.program(RunSpec(model=MODEL, variant="ash_s", p=75.0, checkpoint="seed1"), True, "auroc")
    assert f'get_models("{MODEL}")["seed1"]' in program
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, "program", "exec"), {"__name__": "__main__"})
    found = (
        pd.read_csv(io.StringIO(out.getvalue()), comment="#").query("ood == 'mean' and method == 'ash_s@75'").iloc[0]
    )
    assert found.auroc == pytest.approx(tables("ash_s@75")["seed1"].query("ood == 'mean'").iloc[0].auroc, abs=0.006)


def test_a_method_is_measured_with_every_checkpoint_at_one_click(whole: AppTest) -> None:
    app = open_page("tradeoff", model=MODEL, n=40, method="adascale")
    app.button(key="prepare_button").click()
    assert "perturbed images are not computed, with 3 checkpoints" in texts(ran(app))
    app.button(key="prepare_method").click()
    assert cards(ran(app)).keys() >= {"AUROC", "FPR95"}
    assert "over 3 checkpoints" in texts(app)


def test_other_pages_show_one_and_say_which(whole: AppTest) -> None:
    app = open_page("scores", **QUERY)
    assert "Trade-off is over 3 checkpoints; all else shows seed0." in texts(app)
    other = open_page("scores", **QUERY, checkpoint="seed2")
    assert "all else shows" not in texts(other)
    first, second = (charts(one)[0].proto.bytes for one in (app, other))
    assert json.loads(first)["figure"]["data"] != json.loads(second)["figure"]["data"]


def test_the_library_and_the_command_line_name_all_of_them(example: Path) -> None:
    names = ", ".join(SEEDS)
    facts = [one.proto.body for one in open_page("library", **QUERY, shelf="models").get("html")]
    assert any(f"<dd>{names};" in one for one in facts)
    assert f"checkpoints {names};" in CliRunner().invoke(main, ["models", MODEL]).output


def test_the_library_calls_none_of_their_activations_outdated(whole: AppTest) -> None:
    said = texts(open_page("library", **QUERY, shelf="activations"))
    assert "outdated" not in said
    at = setups.setup(RunSpec(model=MODEL, checkpoint="seed1"))
    assert banks.bank(at, "digits8").identity.weights == get_model(MODEL).hashes()["seed1"]


def refusal(**more: object) -> str:
    """What Trade-off says in place of numbers: one sentence."""
    app = AppTest.from_file(str(Path(tradeoff.__file__).parents[2] / "main.py"), default_timeout=600)
    for key, value in {**QUERY, **more}.items():
        app.query_params[key] = str(value)
    app.run()
    assert not app.exception
    (error,) = {one.value.replace("\\", "") for one in app.error}
    return str(error)


def test_the_same_file_twice_is_one_sentence(example: Path, whole: AppTest) -> None:
    kept = (example / "seed2.pt").read_bytes()
    (example / "seed2.pt").write_bytes((example / "seed1.pt").read_bytes())
    try:
        assert "The checkpoints seed1 and seed2 have the same content" in refusal()
    finally:
        (example / "seed2.pt").write_bytes(kept)


def test_another_file_in_a_checkpoints_place_has_other_numbers(example: Path, whole: AppTest) -> None:
    path, link = example / "seed1.pt", {**QUERY, "checkpoint": "seed1"}
    kept, before = path.read_bytes(), cards(open_page("tradeoff", **link))
    state = torch.load(path, weights_only=True)
    try:
        torch.save({name: value + 0.1 * torch.randn_like(value) for name, value in state.items()}, path)
        app = open_page("tradeoff", **link)
        assert "AUROC" not in cards(app)
        app.button(key="prepare_button").click()
        assert cards(ran(app))["AUROC"] != before["AUROC"]
        path.write_bytes(kept[:1000])
        for query in (link, QUERY):
            said = texts(open_page("tradeoff", **query))
            assert "cannot be used, so nothing can be measured here yet" in said
            assert "seed1.pt is damaged or only half downloaded" in said
        shelf = open_page("library", **QUERY, shelf="models").get("html")
        assert any("cannot be used" in one.proto.body and "seed1.pt is damaged" in one.proto.body for one in shelf)
        output = CliRunner().invoke(main, ["models", MODEL]).output
        assert "cannot be used" in output
        assert "seed1.pt is damaged" in output
    finally:
        path.write_bytes(kept)
    assert cards(open_page("tradeoff", **link)) == before


def test_a_file_of_another_network_is_one_sentence(example: Path, whole: AppTest) -> None:
    torch.save(torch.nn.Linear(3, 2).state_dict(), example / "worse.pt")
    try:
        forget_plugins()
        app = open_page("tradeoff", **QUERY)
        app.button(key="prepare_button").click().run()
        assert not app.exception
        (error,) = (one.value.replace("\\", "") for one in app.error)
        assert "worse.pt is not a checkpoint of Sequential: " in error
    finally:
        (example / "worse.pt").unlink()


def test_one_in_a_folder_has_no_deviation(example: Path, whole: AppTest) -> None:
    others = [example / "seed1.pt", example / "seed2.pt"]
    for path in others:
        path.rename(path.with_suffix(".away"))
    try:
        forget_plugins()
        app = open_page("tradeoff", **QUERY)
        assert "One checkpoint: there is no deviation over several." in texts(app)
        assert "±" not in cards(app)["AUROC"]
    finally:
        for path in others:
            path.with_suffix(".away").rename(path)
