"""A detector as ONNX answers as the network does; a link is what is exported; what is missing is said."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from ash import detector_onnx
from ash.__main__ import main
from ash.detector import ABOUT, Detector, DetectorError, detector, probe, read
from ash.methods import Method
from ash.models import get_model

SCORED = np.random.default_rng(0).normal(size=500).astype(np.float32)
LINK = "http://localhost:8501/tradeoff?model=demo&variant=ash_s&p=80&tpr=90&budget=1"


def made(method: str) -> Detector:
    return detector(get_model("demo"), "penultimate", Method.parse(method), SCORED, "made up")


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ash_s@90", "ash_b@65:msp"])
def test_another_runtime_answers_as_the_network_does(method: str) -> None:
    pytest.importorskip("onnxscript", reason="torch's ONNX exporter is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    one = made(method)
    content, checked = detector_onnx.exported(one)
    assert checked
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(detector_onnx.OUTPUTS)
    about = json.loads(session.get_modelmeta().custom_metadata_map[ABOUT])
    assert (about["method"], about["preprocess"]["crop"]) == (method, 28)
    for count in (1, 7):
        images = probe(one, count)
        classes, scores, accepted = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            wanted = one(images)
        np.testing.assert_array_equal(classes, wanted[0])
        np.testing.assert_allclose(scores, wanted[1], rtol=1e-5, atol=1e-5)
        assert accepted.dtype == bool
        np.testing.assert_array_equal(accepted, scores.astype(np.float64) >= one.about.threshold)


@pytest.mark.slow
def test_a_runtime_that_answers_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="torch's ONNX exporter is not installed")

    class Wrong:
        def __init__(self, *_: object, **__: object) -> None: ...

        def run(self, *_: object) -> list[np.ndarray]:
            return [np.zeros(1, np.int64), np.full(1, 1e6), np.zeros(1, bool)]

    monkeypatch.setattr(runtime, "InferenceSession", Wrong)
    with pytest.raises(DetectorError, match="answers 1 images otherwise"):
        detector_onnx.exported(made("energy"))


def test_without_the_exporter_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(detector_onnx, "find_spec", lambda name: None)
    done = command("export", LINK, "--out", tmp_path / "d.onnx")
    assert done.exit_code == 1
    assert "takes the package onnx onnxscript: run `pip install onnx onnxscript`" in done.output
    assert not (tmp_path / "d.onnx").exists()


def test_a_link_is_exported_as_its_options_are(tmp_path: Path) -> None:
    link, told = tmp_path / "link.pt2", tmp_path / "told.pt2"
    done = command("export", LINK, "--out", link)
    assert done.exit_code == 0, done.output
    assert "ash_s@80 on demo at avgpool" in done.output
    again = command("export", "--model", "demo", "--method", "ash_s@80", "--accept", 90, "--out", told)
    assert again.exit_code == 0, again.output
    one, other = (read(path.read_bytes(), path.name).about for path in (link, told))
    assert {**vars(one), "date": ""} == {**vars(other), "date": ""}
    done = command("export", LINK, "--accept", 50, "--method", "energy", "--images", 300, "--out", link)
    about = read(link.read_bytes(), "x").about
    assert (about.method, about.share, about.count) == ("energy", 0.5, 300), done.output


def test_what_cannot_be_exported_is_refused_before_the_work(tmp_path: Path) -> None:
    out = tmp_path / "d.pt2"
    for arguments, words in (
        (("export", "--out", out), "Give a LINK, or --model and --method"),
        (("export", "nonsense", "--out", out), "'nonsense' is no link of the explorer"),
        (("export", "model=demo&variant=ash_s&p=x", "--out", out), "p=x is no number"),
        (("export", "model=no_such&variant=none", "--out", out), "There is no model 'no_such'"),
    ):
        done = command(*arguments)
        assert done.exit_code, done.output
        assert words in " ".join(done.output.split())
    assert not out.exists()
    (tmp_path / "d.onnx").write_bytes(b"x")
    done = command("score", tmp_path / "d.onnx", tmp_path, "--out", tmp_path / "s.csv")
    assert "is for other runtimes" in done.output
