"""Any method on any page: the numbers are those of the shaped values, and nothing of ASH is said of what is no ASH."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from app_pages import figure, open_page
from odd_methods import ODD, registered
from streamlit.testing.v1 import AppTest

from app import theme
from app.backend import banks, engine, evaluations, sample_rows, samples, setups
from app.link.spec import RunSpec
from ash import auroc
from ash.methods import Method
from ash.metrics import accepts, threshold_at_tpr

pytestmark = pytest.mark.slow

LAST_BLOCK = "layer4.0.relu2"
KNOWN = ["energy", "ash_p@85", "ash_b@85", "ash_s@85", "ash_rand@85", "react@0.5"]
OF_ASH = ("keeps", "Algorithm", "No shaping", "threshold that", "kept units", "k =")


@pytest.fixture(scope="module", autouse=True)
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The odd methods, and a cache folder of their own: results of functions without a file are not to be kept."""
    with pytest.MonkeyPatch.context() as patch, registered():
        patch.setenv("ASH_CACHE", str(tmp_path_factory.mktemp("cache") / "ash"))
        yield


def page(name: str, text: str, **query: object) -> AppTest:
    method = Method.parse(text)
    query["variant"] = method.variant
    if method.parameter is not None:
        query["c" if method.percentile is None else "p"] = method.parameter
    app = open_page(name, **query)
    assert not app.warning  # the link was understood
    return app


def words(app: AppTest) -> str:
    found = [one.value for one in (*app.markdown, *app.caption) if not one.value.startswith("<style")]
    return "\n".join(found).replace("\\", "").replace("\N{MINUS SIGN}", "-")


def verdict_line(app: AppTest) -> str:
    """The verdict on one sample: the heading, wherever it stands. A suggested sample has its place in a line above."""
    return next(line for line in words(app).split("\n") if line.startswith("**"))


def shaped(text: str, x: np.ndarray, first: int = 0) -> np.ndarray:
    """The values as the method's own function makes them, a plug-in's called here by hand."""
    tensor = torch.from_numpy(np.array(x))
    if text in ODD:
        return ODD[text](tensor, float(text.partition("@")[2])).numpy()
    return Method.parse(text).shape(tensor, first_index=first).numpy()


def scores(text: str, x: np.ndarray) -> np.ndarray:
    """Energies of activations x (n, D) through the demo's last layer."""
    tail = engine.parts(setups.setup(RunSpec()))[1]
    with torch.no_grad():
        return tail(torch.from_numpy(shaped(text, x))).logsumexp(1).numpy()


@pytest.mark.parametrize("text", [*ODD, *KNOWN])
def test_activations(text: str) -> None:
    app, at = page("activations", text, source="digits", sample=7, set="digits"), setups.setup(RunSpec())
    x = samples.activation(at, "digits", 7)[1]
    y, said = shaped(text, x[None], 7)[0], words(app)
    total = theme.number(float(y.sum(dtype=np.float64))).replace("\N{MINUS SIGN}", "-")
    if text in ODD:
        assert f"Of 192 values, **{(x == 0).sum()}** are exactly 0 before and **{(y == 0).sum()}** after" in said
        assert f"to **{total}**" in said
        assert not [word for word in OF_ASH if word in said]
    after = [trace for trace in figure(app, "activations_curve")["data"] if trace["name"] == "after"]
    order = np.argsort(-x.ravel(), kind="stable")
    for trace in after:
        np.testing.assert_allclose(trace["y"], y.ravel()[order], rtol=2e-3, atol=1e-6)
    assert len(after) == (text != "energy")
    notes = [note["text"] for note in figure(app, "activations_values")["layout"]["annotations"]]
    for note, name in zip(notes, (at.id_set, "digits"), strict=True):
        bank = banks.activations(at, name)
        zeros = [100 * float(np.mean(values == 0)) for values in (bank, shaped(text, bank))]
        assert f"Exact zeros: {zeros[0]:.1f} % \N{RIGHTWARDS ARROW} {zeros[1]:.1f} %" in note
    for row, trace in enumerate(one for one in figure(app, "activations_values")["data"] if one["type"] == "bar"):
        zero = float(re.findall(r"([\d.]+) %", notes[row])[-1])
        assert sum(trace["y"]) + zero == pytest.approx(100, abs=0.2)  # every value is in a bar or is a zero


def test_scale_says_what_it_does_and_no_more() -> None:
    said = words(page("activations", "odd_scale@85"))
    x = samples.activation(setups.setup(RunSpec()), "fashion_mnist", 0)[1]
    factor = float(shaped("odd_scale@85", x[None])[0].max() / x.max())
    assert f"SCALE at p = 85 multiplies all 192 units of this ankle boot by {factor:.4g}" in said


@pytest.mark.parametrize("text", ["odd_scale@85", "odd_permute@50", "odd_negate@50", "react@0.5", "ash_b@85"])
def test_maps(text: str) -> None:
    app, at = page("activations", text, placement=LAST_BLOCK, view="maps"), setups.setup(RunSpec(placement=LAST_BLOCK))
    x = samples.activation(at, "fashion_mnist", 0)[1]
    gone = (x != 0) & (shaped(text, x[None])[0] == 0)
    share = 100 * (1 - gone.mean(0))
    said = words(app)
    if text != "ash_b@85":  # zeros that are not among the k largest count as removed there
        assert f"Between {share.min():.1f} % and {share.max():.1f} % of the channels are kept" in said
    else:
        assert "Between 100.0 %" not in said


@pytest.mark.parametrize("text", ODD)
def test_one_sample(text: str) -> None:
    app, at = page("samples", text, look="one", source="digits", sample=7), setups.setup(RunSpec())
    own, other = (banks.activations(at, name) for name in (at.id_set, "digits"))
    line, score = threshold_at_tpr(scores(text, own)), scores(text, other)[7]
    said = words(app)
    verdict = "accepted" if accepts(score, line) else "rejected"
    assert re.search(rf"This image of Digits is {verdict} as", said)
    table = next(one.value for one in app.markdown if "| Threshold |" in one.value).replace("\N{MINUS SIGN}", "-")
    row = {
        cells[0].strip(): cells[2].strip() for cells in (one.strip("| ").split("|") for one in table.splitlines()[2:])
    }
    assert float(row["Energy"]) == pytest.approx(score, rel=2e-3)
    assert float(row["Threshold"]) == pytest.approx(line, rel=2e-3)
    x = other[7]
    kept = 192 - int(((x != 0) & (shaped(text, x[None])[0] == 0)).sum())
    assert f"of the {kept} {'kept ' if kept < 192 else ''}units" in said


@pytest.mark.parametrize("text", ["odd_scale@85", "odd_negate@50", "odd_floor@0.5"])
def test_samples(text: str) -> None:
    page("samples", text, look="grid")
    at = setups.setup(RunSpec())
    found = sample_rows.every_sample(at, text, ("digits",), 0.95)
    own, other = (scores(text, banks.activations(at, name)) for name in (at.id_set, "digits"))
    wanted = np.concatenate([own, other]) >= threshold_at_tpr(own)
    assert (found.after.accepted == wanted).mean() > 0.9999  # a score on the line may be rounded to either side
    assert ((found.after.margin >= 0) == found.after.accepted).all()


@pytest.mark.parametrize("text", ["odd_scale@85", "odd_floor@0.5", "energy", "react@0.5"])
def test_the_lab_says_that_it_shows_another_algorithm(text: str) -> None:
    said = words(page("lab", text))
    assert "is none of Algorithms 1 to 3, so ASH-P is shown" in said


@pytest.mark.parametrize("text", ["odd_scale@85", "odd_permute@50"])
def test_placements(text: str) -> None:
    app, at = page("placements", text, ood="digits", split="all"), setups.setup(RunSpec())
    bars = figure(app, "placements_grid")["data"]
    cells = {cell: shown for bar in bars for cell, shown in zip(bar["customdata"], bar["text"], strict=True)}
    own, other = (scores(text, banks.activations(at, name)) for name in (at.id_set, "digits"))
    assert cells[f"penultimate {text}"] == f"{100 * auroc(own, other):.1f}"
    stand_in = words(page("placements", "odd_floor@0.5"))
    assert "Floor has a threshold and no percentile, so what follows is ASH-S" in stand_in


@pytest.mark.parametrize("text", ["energy", "ash_b@65", "ash_s@90", "odd_scale@85"])
def test_the_verdict_of_a_sample_is_that_of_its_stored_score(text: str) -> None:
    at, method = setups.setup(RunSpec()), Method.parse(text)
    found = {one.label: one for one in samples.suggestions(at, text, ("digits",), 0.95)}
    edge, done = found["Borderline ID"].index, evaluations.evaluation(at, text)
    line = threshold_at_tpr(done.id_scores)
    assert samples.stored_score(at, done, at.id_set, edge) == line
    assert "on the 95 % line" in verdict_line(page("samples", text, look="one", sample=edge)).split(";")[0]
    below = int(np.where(done.id_scores < line, done.id_scores, -np.inf).argmax())  # by however little
    assert "is rejected as" in verdict_line(page("samples", text, look="one", sample=below)).split(";")[0]
    assert "rejected after" in words(page("activations", text, sample=below)) or not method.steps
