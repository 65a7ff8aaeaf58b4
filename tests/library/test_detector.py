"""Detectors: the file answers as the network does, its threshold is the one asked for, and what is none is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import ash
from ash import detector as detectors
from ash import shaping, watching
from ash.__main__ import main
from ash.data import FolderImages, get_dataset
from ash.detector import LEAST, About, Detector, DetectorError, DetectorFile, detector, exported, read
from ash.fitting import fit
from ash.methods import Method
from ash.metrics import threshold_at_tpr
from ash.models import get_model
from ash.scores import SCORES
from ash.splitting import split
from ash.sweeping import sweep
from ash.variants import forget_method, register_method

RNG = np.random.default_rng(0)
SCORED = RNG.normal(size=500).astype(np.float32)
SHAPED = (
    "energy",
    "scale@85",
    "lts@95:gen",
    "vra@0.1,1:msp",
    "bfact@1",
    "ash_p@60",
    "ash_b@65:msp",
    "ash_s@90",
    "react@1+ash_s@80:max_logit",
    "ash_b_nonzero@70",
)


def images(entry: object, count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *entry.preprocess.shape, generator=torch.Generator().manual_seed(seed))  # type: ignore[attr-defined]


def made(method: str, model: str = "demo", placement: str = "penultimate", **more: object) -> Detector:
    return detector(get_model(model), placement, Method.parse(method), SCORED, "made up", **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def small() -> DetectorFile:
    return exported(made("ash_s@90"))


@pytest.mark.parametrize("method", SHAPED)
def test_a_file_answers_as_shape_tail_and_score_do(method: str) -> None:
    entry, asked = get_model("demo"), Method.parse(method)
    stem, tail = split(entry.build(), "penultimate")
    done = read(exported(made(method)).to_bytes(), "x").module()
    worst = 0.0
    for count in (1, 3, 33):
        x = images(entry, count)
        with torch.inference_mode():
            logits = asked.logits(tail, stem(x))
            classes, scores, accepted = done(x)
        wanted = SCORES[asked.score](logits)
        worst = max(worst, float((scores - wanted).abs().max() / wanted.abs().max()))
        assert torch.equal(classes, logits.argmax(1))
        assert torch.equal(accepted, scores >= threshold_at_tpr(SCORED, 0.95))
    print(f"{method}: largest difference {worst:.1e} of the largest score")
    assert worst <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "placement"),
    [
        ("demo", "layer3.0.relu2"),
        ("mobilenet_v2_photos", "penultimate"),
        ("mobilenet_v2_photos", "features.18.2"),
        ("densenet101_cifar10", "penultimate"),
    ],
)
def test_networks_that_ship_at_linear_pooled_and_deep_placements(model: str, placement: str) -> None:
    entry, asked = get_model(model), Method.parse("ash_s@85")
    stem, tail = split(entry.build(), entry.node(placement))
    done, x = exported(made("ash_s@85", model, placement)), images(entry, 3, 1)
    with torch.inference_mode():
        wanted, found = SCORES["energy"](tail(asked.shape(stem(x)))), done.module()(x)[1]
    apart = float((found - wanted).abs().max() / wanted.abs().max())
    print(f"{model} at {placement}: largest difference {apart:.1e}")
    assert apart <= 1e-5
    assert done.about.classes == list(entry.classes)
    assert done.about.transform == entry.preprocess


def test_its_scores_and_threshold_are_the_explorers() -> None:
    """On the images that ship, from whose activations, rounded for shipping, the threshold comes."""
    from ash.bank import open_bank
    from ash.identity import identity

    entry, data = get_model("demo"), get_dataset("fashion_mnist")
    bank, tail = open_bank(identity(entry, "penultimate", data)), split(entry.build(), "penultimate")[1]
    asked = Method.parse("ash_s@90")
    scores = sweep(tail, bank, {}, [asked]).id_scores[0]
    done = exported(detector(entry, "penultimate", asked, scores, data.name))
    assert done.about.threshold == threshold_at_tpr(scores, 0.95)
    first = next(watching.score(done, data))
    apart = np.abs(first.scores - scores[: len(first.rows)]).max() / np.ptp(scores)
    print(f"largest difference from the explorer's scores: {apart:.1e} of their spread")
    assert apart < 1e-3
    assert list(first.rows) == list(range(len(first.rows)))


@given(st.integers(0, 2**32 - 1), st.integers(1, 99), st.integers(1, 6))
def test_the_mask_of_an_exported_graph_is_the_same_with_ties(seed: int, p: int, levels: int) -> None:
    x = torch.from_numpy(np.random.default_rng(seed).integers(-1, levels, (4, 23)).astype(np.float32))
    kept = shaping.kept_mask(x, p)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert torch.equal(shaping.kept_mask(x, p), kept)


def test_fitted_steps_and_scores_and_global_thresholds() -> None:
    from ash.bank import open_bank
    from ash.identity import identity

    entry = get_model("demo")
    ids = open_bank(identity(entry, "penultimate", get_dataset("fashion_mnist")))
    fitted = fit(open_bank(identity(entry, "penultimate", get_dataset("fashion_mnist_train"))))
    stem, tail = split(entry.build(), "penultimate")
    with torch.inference_mode():
        x = images(entry, 5)
        activations = stem(x).numpy()
    methods = ["dice@70", "ras", "vra@60%,95%", "bfact@95%", "react@90%+dice@50:msp", "react@90%", "ash_s_global@90"]
    methods += [f"ash_s@90:{name}" for name, score in SCORES.items() if score.follows and name != "odin"]
    for method in methods:
        asked = Method.parse(method)
        wanted = sweep(tail, ids, {"x": activations}, [asked], fit=fitted).ood_scores["x"][0]
        with torch.inference_mode():
            found = exported(made(method, fit=fitted, id_bank=ids)).module()(x)[1].numpy()
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5, err_msg=method)
        print(f"{method}: {np.abs(found - wanted).max() / np.abs(wanted).max():.1e}")
    with pytest.raises(DetectorError, match="penultimate"):
        made("dice@70", placement="layer3.0.relu2", fit=fitted, id_bank=ids)


@pytest.mark.parametrize(
    ("method", "placement", "about"),
    [
        ("ash_rand@60", "penultimate", "ASH-RAND"),
        ("mahalanobis", "penultimate", "fit"),
        ("odin", "penultimate", "more than one pass"),
        ("godin", "penultimate", "more than one pass"),
        ("adascale@80", "penultimate", "more than one pass"),
        ("adascale_l", "penultimate", "more than one pass"),
        ("fdbd", "layer3.0.relu2", "penultimate"),
        ("dice@70", "penultimate", "fit"),
        ("react@90%", "penultimate", "fit"),
    ],
)
def test_what_cannot_become_a_detector_is_refused(method: str, placement: str, about: str) -> None:
    with pytest.raises(ValueError, match=about):
        made(method, placement=placement)


def test_a_step_that_cannot_be_exported_is_named() -> None:
    @register_method("odd_step", "Odd")
    def odd(x: Tensor, p: float) -> Tensor:
        return x * 2 if float(x.sum()) > 0 else x

    try:
        with pytest.raises(DetectorError, match="odd_step"):
            exported(made("odd_step@50"))
    finally:
        forget_method("odd_step")


def test_a_damaged_file_is_refused_in_a_sentence(small: DetectorFile) -> None:
    content = small.to_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for broken in (
        b"",
        b"no zip",
        bytes(flipped),
        content[: len(content) // 2],
        content.replace(b'"format"', b'"farmat"'),
    ):
        with pytest.raises(DetectorError, match=r"x\.pt2 is no detector"):
            read(broken, "x.pt2")
    other = DetectorFile(small.program, About(**{**vars(small.about), "format": 2}))
    with pytest.raises(DetectorError, match="another version"):
        read(other.to_bytes(), "x.pt2")


def test_calibrating_changes_the_threshold_and_nothing_else(small: DetectorFile) -> None:
    x = images(get_model("demo"), 40)
    before, mine = read(small.to_bytes(), "x"), RNG.normal(3, 2, 200)
    after = read(read(small.to_bytes(), "x").calibrated(mine, "mine", 0.8).to_bytes(), "x")
    with torch.inference_mode():
        old, new = before.module()(x), after.module()(x)
    assert torch.equal(old[0], new[0])
    assert torch.equal(old[1], new[1])
    assert torch.equal(new[2], new[1].double() >= threshold_at_tpr(mine, 0.8))
    assert (after.about.calibrated_on, after.about.count, after.about.share) == ("mine", 200, 0.8)
    assert after.about.quantiles[0] == pytest.approx(mine.min())
    low, high = after.about.interval()
    assert low < 0.8 < high
    with pytest.raises(DetectorError, match=str(LEAST)):
        before.calibrated(mine[: LEAST - 1], "mine", 0.8)
    with pytest.raises(DetectorError, match="copies"):
        before.calibrated(np.repeat(mine[: LEAST // 2], 4), "mine", 0.8)


def test_drift_tells_the_same_world_from_another(small: DetectorFile) -> None:
    about = small.about.calibrated(RNG.normal(size=1000), "before", 0.95)
    same = [watching.drift(about, RNG.normal(size=200)) for _ in range(300)]
    assert np.mean([one.changed for one in same]) < 0.08, "0.05 is what chance gives"
    other = watching.drift(about, RNG.normal(-1, 1, 200))
    assert other.changed
    assert other.median < other.median_before
    assert 0.3 < other.distance < 0.6
    assert not watching.drift(about, np.full(1, 0.0)).changed, "one image says nothing"


def test_an_interval_holds_its_share_as_often_as_it_says() -> None:
    """The share that a threshold from n images accepts of further ones lies in the interval, 95 times of 100."""
    from scipy.stats import norm

    about = About("m", "", "", "", {}, [], 0.9, 0, "", 0, [], "", "")
    inside = []
    for _ in range(400):
        one = about.calibrated(RNG.normal(size=150), "x", 0.9)
        low, high = one.interval()
        inside.append(low <= norm.sf(one.threshold) <= high)
    print(f"inside {np.mean(inside):.3f}")
    assert np.mean(inside) > 0.92


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.mark.slow
@pytest.mark.parametrize(
    "link",
    [
        "model=demo&variant=ash_s&p=80&tpr=90",
        "http://localhost:8501/scores?model=mobilenet_v2_photos&variant=ash_s&p=75",
        "model=densenet101_cifar10&variant=ash_b&p=90",  # its ID set ships without images
        "model=demo&variant=react&c=1",
    ],
)
def test_a_link_is_the_detector_that_the_command_line_writes(link: str, tmp_path: Path) -> None:
    there = detectors.from_link(link)
    assert isinstance(there, ash.Detector)
    assert command("export", link, "--out", tmp_path / "d.pt2").exit_code == 0
    file = read((tmp_path / "d.pt2").read_bytes(), "d.pt2")
    assert replace(there.about, date="", preprocess={}) == replace(file.about, date="", preprocess={})
    x = images(get_model(there.about.model), 5)
    with torch.inference_mode():
        for ours, theirs in zip(there(x), file.module()(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def test_the_command_line_exports_scores_and_calibrates(tmp_path: Path) -> None:
    file, folder = tmp_path / "detector.pt2", tmp_path / "mine"
    done = command("export", "--model", "demo", "--method", "ash_s@80", "--accept", 90, "--out", file)
    assert done.exit_code == 0, done.output
    assert "90 % of 3,000 images of fashion_mnist" in done.output
    folder.mkdir()
    whole = get_dataset("fashion_mnist")
    for index in range(0, 1200, 10):
        whole.image(index).save(folder / f"{index:05d}.png")
    (folder / "broken.png").write_bytes(b"no image")
    done = command("score", file, folder, "--out", tmp_path / "scores.csv")
    assert done.exit_code == 0, done.output
    assert "broken.png" in done.output
    assert "1 could not be read" in done.output
    assert "other images" not in done.output
    rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert rows[0] == "image,class,class_name,score,accepted"
    assert len(rows) == 121
    assert rows[1].startswith("00000.png,")
    done = command("calibrate", file, folder, "--accept", 50, "--out", tmp_path / "mine.pt2")
    assert done.exit_code == 0, done.output
    done = command("score", tmp_path / "mine.pt2", folder, "--out", tmp_path / "again.csv")
    accepted = [int(row.rpartition(",")[2]) for row in (tmp_path / "again.csv").read_text().splitlines()[1:]]
    assert np.mean(accepted) == 0.5
    done = command("score", file, "digits", "--images", 50, "--out", tmp_path / "digits.csv")
    assert "These are other images" in done.output


def test_the_command_line_refuses_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "x.pt2").write_text("nothing")
    done = command("score", tmp_path / "x.pt2", tmp_path, "--out", tmp_path / "s.csv")
    assert (done.exit_code, "is no detector" in done.output) == (1, True)
    done = command("export", "--model", "demo", "--method", "ash_s@80", "--out", tmp_path / "none" / "d.pt2")
    assert (done.exit_code, "There is no folder" in done.output) == (1, True)
    done = command("export", "--model", "demo", "--method", "odin", "--out", tmp_path / "d.pt2")
    assert done.exit_code == 1
    assert not (tmp_path / "d.pt2").exists()


def test_a_folder_of_odd_images_is_scored(small: DetectorFile, tmp_path: Path) -> None:
    """Alpha, palette, one pixel, 16 bits: as the explorer reads them."""
    for mode in ("RGBA", "P", "L", "I;16", "CMYK"):
        Image.new(mode, (40, 30)).save(tmp_path / f"{mode.replace(';', '')}.{'tif' if mode == 'CMYK' else 'png'}")
    Image.new("L", (1, 1)).save(tmp_path / "one.png")
    data = FolderImages(tmp_path, "odd")
    found = list(watching.score(small, data))
    assert sum(len(one.rows) for one in found) == len(data) == 6
    assert all(np.isfinite(one.scores).all() for one in found)


def test_a_file_says_what_it_is(small: DetectorFile) -> None:
    """Whoever has torch alone reads it so."""
    import io

    extra = {detectors.ABOUT: ""}
    program = torch.export.load(io.BytesIO(small.to_bytes()), extra_files=extra)
    about = json.loads(extra[detectors.ABOUT])
    assert {"model", "weights_sha256", "method", "threshold", "share", "preprocess", "classes"} <= set(about)
    assert len(program.module()(images(get_model("demo"), 2))) == 3


@pytest.mark.slow
def test_the_guides_program_runs_with_torch_alone(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "app" / "guide" / "detector.md").read_text()
    program = guide.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "detector.pt2").write_bytes(exported(made("ash_s@75", "mobilenet_v2_photos")).to_bytes())
    told = f"{program}\nimport sys\nprint(len(classes), 'ash' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "'crop': 224" in done.stdout
    assert done.stdout.splitlines()[-1] == "4 False"
