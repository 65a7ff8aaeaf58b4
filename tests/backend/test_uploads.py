"""Uploads: hostile files get a sentence and nothing else happens; fine ones are scored as the library scores them."""

import asyncio
import gc
import io
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from app_pages import open_page, turn_to
from hostile_uploads import KINDS, film, picture, png, saved, zeros
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from streamlit.testing.v1 import AppTest

from app.backend import decoding, evaluations, registry, samples, setups, uploads
from app.backend.decoding import Picture, Refusal, decode, shown_name
from app.backend.uploads import Uploads
from app.link.spec import RunSpec
from app.ui.plot import csv_text
from app.views.samples import own as samples_own
from app.views.samples import upload_histogram
from ash.errors import AshError
from ash.images import decode as library_decode

DEEP = "layer4.0.relu2"


# One file


def test_there_are_enough_kinds() -> None:
    assert len(KINDS) >= 50


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gets_its_sentence(kind: str) -> None:
    case = KINDS[kind]()
    found = decode(case.name, case.data)
    assert isinstance(found, Refusal) == case.refused
    text = found.sentence if isinstance(found, Refusal) else " ".join(found.notes)
    assert case.says in text if case.says else text == ""
    assert shown_name(case.name).isprintable()
    if isinstance(found, Refusal):
        assert text.endswith(".")
        assert text.isprintable()
    else:
        assert found.image.mode in ("L", "RGB")
        assert found.image.width * found.image.height < 5 * decoding.WORKING


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("shoe.png", "shoe.png"),
        ("../../../etc/passwd.png", "passwd.png"),
        ("C:\\users\\me\\shoe.png", "shoe.png"),
        ("nul\0.png", "nul?.png"),
        ("a\u202egnp.exe\n", "a?gnp.exe?"),
        ("<b>*x*</b>.png", "b>.png"),
        ("", "a file without a name"),
        ("///", "a file without a name"),
        ("a" * 5000 + ".png", "a" * 43 + "..." + "a" * 10 + ".png"),
    ],
)
def test_a_name_is_shown_harmless(name: str, shown: str) -> None:
    assert shown_name(name) == shown


SEEDS = [
    saved(picture(), "PNG"),
    saved(picture("P"), "PNG", transparency=0),
    saved(picture(), "JPEG"),
    saved(picture("CMYK"), "JPEG", progressive=True),
    saved(picture(), "WEBP"),
    saved(picture("RGBA"), "WEBP", lossless=True),
    film("WEBP"),
    film("PNG"),
]


def well_behaved(name: str, data: bytes) -> None:
    found = decode(name, data)
    if isinstance(found, Refusal):
        assert found.sentence.isprintable()
    else:
        assert found.image.width * found.image.height < 5 * decoding.WORKING
        assert np.asarray(found.image).dtype == np.uint8


@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8X"]),
    st.binary(max_size=400),
    st.text(max_size=40),
)
def test_random_bytes_raise_nothing(start: bytes, rest: bytes, name: str) -> None:
    well_behaved(name, start + rest)


@given(st.sampled_from(SEEDS), st.data())
def test_mutated_images_raise_nothing(seed: bytes, data: st.DataObject) -> None:
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(changed) - 1))
        if data.draw(st.booleans()):
            changed[at] = data.draw(st.integers(0, 255))
        else:
            changed[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
    well_behaved("seed.png", bytes(changed))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pixels_are_those_of_the_library(format: str, mode: str) -> None:
    data = saved(picture(mode if format != "JPEG" else mode[:3]), format)
    found = decode("x", data)
    assert isinstance(found, Picture)
    assert np.array_equal(found.image, library_decode(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_a_large_picture_is_averaged_without_seams(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "WORKING", 40_000)
    image = picture(mode, (803, 501))
    found = decode("x.png", saved(image, "PNG"))
    assert isinstance(found, Picture)
    factor = decoding._factor(image.size)
    assert factor > 1
    assert np.array_equal(found.image, library_decode(image).reduce(factor))
    assert found.size == image.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_ends_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(), "PNG", exif=exif)
    found = decode("x.png", data)
    assert isinstance(found, Picture)
    assert np.array_equal(found.image, ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


# The files of a session


def run(own: Uploads, spec: RunSpec) -> None:
    for _ in own.work(setups.setup(spec), str(evaluations.unshaped(spec).method), str(spec.method)):
        pass


def garments(count: int) -> Uploads:
    """The first images of the ID set as uploads."""
    own, data = Uploads(), setups.whole_set("fashion_mnist")
    for row in range(count):
        own.add(f"garment {row}.png", saved(data.image(row), "PNG"))
    assert len(own.files) == count
    return own


@pytest.mark.parametrize(
    "query", [{"variant": "ash_s", "p": 90.0}, {"score": "msp"}, {"other": "ash_b_global@65"}, {"variant": "none"}]
)
def test_an_image_of_the_id_set_scores_as_it_does_there(query: dict[str, object]) -> None:
    spec, own = RunSpec.of(**query), garments(19)
    run(own, spec)
    for column, one in enumerate((evaluations.unshaped(spec), spec)):
        known = evaluations.evaluation(setups.setup(spec), str(one.method))
        scores = [found.scores[column] for found in own.scored.values()]
        np.testing.assert_allclose(scores, known.id_scores[:19], rtol=1e-3, atol=2e-3)  # banks that ship are rounded
        assert [found.predicted[column] for found in own.scored.values()] == known.predictions[:19].tolist()


def test_an_image_scores_at_a_spatial_placement_too() -> None:
    from ash.scores import SCORES

    spec, own = RunSpec(placement=DEEP, variant="ash_s", p=80.0), garments(3)
    run(own, spec)
    for row, found in enumerate(own.scored.values()):
        one = samples.sample(setups.setup(spec), str(spec.method), "fashion_mnist", row)
        import torch

        for logits, score in zip((one.logits, one.shaped_logits), found.scores, strict=True):
            assert float(SCORES["energy"](torch.from_numpy(logits.copy())[None])) == pytest.approx(score, rel=1e-4)


def test_a_random_method_does_not_depend_on_the_other_images() -> None:
    spec, alone, many = RunSpec(variant="ash_rand", p=50.0), garments(1), garments(5)
    run(alone, spec)
    run(many, spec)
    assert alone.scored.items() <= many.scored.items()
    assert len({found.scores[1] for found in many.scored.values()}) == 5


def test_activations_that_are_too_large_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, made = garments(3), garments(3)
    run(kept, RunSpec())
    run(kept, RunSpec(p=80.0))
    monkeypatch.setattr(uploads, "KEPT", 0)
    run(made, RunSpec())
    assert all(seen.x is None for seen in made.seen.values())
    run(made, RunSpec(p=80.0))
    assert made.scored == kept.scored


def test_moving_p_decodes_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    own = garments(3)
    run(own, RunSpec())
    monkeypatch.setattr(uploads, "decode", lambda *_: pytest.fail("decoded again"))
    run(own, RunSpec(p=80.0))
    assert len(own.scored) == 3


def test_an_interrupted_run_goes_on_where_it_stopped() -> None:
    own, spec = garments(20), RunSpec()
    step = next(own.work(setups.setup(spec), "energy", str(spec.method)))
    assert (step.done, step.total, len(own.scored)) == (uploads.BATCH, 20, uploads.BATCH)
    run(own, spec)
    whole = garments(20)
    run(whole, spec)
    assert own.scored == whole.scored


def test_what_a_session_takes_has_limits() -> None:
    own = garments(uploads.MOST_FILES)
    own.add("again.png", next(iter(own.files.values())).data)
    own.add("more.png", saved(picture(), "PNG"))
    own.remove(next(iter(own.files)))
    own.add("empty.png", b"")
    own.add("large.png", bytes(uploads.MOST_BYTES + 1))
    assert len(own.files) == uploads.MOST_FILES - 1
    reasons = dict(own.refused)
    assert "garment 0.png; it is scored once" in reasons["again.png"]
    assert "At most 50" in reasons["more.png"]
    assert "0 bytes" in reasons["empty.png"]
    assert "at most 5,000,000" in reasons["large.png"]


def test_a_broken_file_leaves_and_the_others_stay() -> None:
    own = Uploads()
    own.add("bomb.png", png(width=10_000, height=10_000, body=zeros(10_001 * 10_000)))
    own.add("dot.png", KINDS["one pixel"]().data)
    run(own, RunSpec())
    assert [name for name, _ in own.refused] == ["bomb.png"]
    (dot,) = own.seen.values()
    assert any("so it was enlarged" in note for note in dot.notes)
    assert len(own.files) == len(own.scored) == 1


@pytest.mark.parametrize(("method", "label"), [("odin", "ODIN"), ("adascale@80", "AdaSCALE")])
def test_what_perturbs_images_is_refused_in_a_sentence(method: str, label: str) -> None:
    own, spec = garments(1), RunSpec(other=method)
    with pytest.raises(AshError, match=f"{label} looks at perturbed images, which are not made of uploads"):
        run(own, spec)


@pytest.mark.parametrize("kept", [True, False])
def test_the_server_writes_no_upload_to_disk(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk = []
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 2**20)  # starlette's own; put back after the test
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: on_disk.append(1) or io.BytesIO())
    if kept:
        uploads.keep_in_memory()
    start = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
    body = start + bytes(uploads.MOST_BYTES) + b"\r\n--x--\r\n"

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    async def parse() -> int:
        headers = [(b"content-type", b"multipart/form-data; boundary=x")]
        form = await Request({"type": "http", "headers": headers}, receive).form()
        return len(await form["f"].read())  # type: ignore[union-attr]

    with ThreadPoolExecutor() as pool:  # the browser tests leave a running loop in this thread
        assert pool.submit(asyncio.run, parse()).result() == uploads.MOST_BYTES
    assert bool(on_disk) != kept


# The marks


def test_marks_do_not_overlap_and_keep_their_side() -> None:
    rng = np.random.default_rng(0)
    ids, ood = rng.normal(5, 2, 4000), {"a": rng.normal(0, 2, 900), "b": rng.normal(1, 2, 900)}
    own = [(i + 1, f"{i}.png", "Bag", float(score)) for i, score in enumerate(rng.normal(3, 8, 30))]
    found = upload_histogram.marks("ASH-S @ 90", "ID", ids, ood, own, 4, 95.0)
    scale = found.record.scale
    apart = upload_histogram.APART * (scale.right[-1] - scale.left[0])
    for one in found.marks:
        assert scale.left[0] < one.x < scale.right[-1]
        assert one.accepted == (one.x >= 0) == (one.score >= scale.threshold)
        same = [other for other in found.marks if other.lane == one.lane and other is not one]
        assert one.lane >= upload_histogram.LANES - 1 or all(abs(other.x - one.x) >= apart for other in same)
    assert f"accepts {found.accepted} of your 30 images; Energy accepts 4." in upload_histogram.finding(found, "Energy")
    drawn = upload_histogram.figure(found, "energy", False).checked().data
    assert sum(len(trace.x) for trace in drawn if trace.name and trace.name.startswith("your images")) == 30
    assert upload_histogram.table(found)["number"].tolist() == list(range(1, 31))


def test_more_marks_than_rows_are_still_drawn() -> None:
    found = upload_histogram.lanes([0.1] * 50, upload_histogram.bins.scale_of("relative", np.arange(100.0), {}, 0.95))
    assert max(found) == upload_histogram.LANES - 1
    assert len(found) == 50


# The page


def page(**query: object) -> AppTest:
    return open_page("samples", **{"look": "own", **query})


def text(app: AppTest) -> str:
    blocks = [block.value for block in (*app.markdown, *app.text, *app.caption, *app.info)]
    return "\n".join([*blocks, *(block.proto.body for block in app.get("html"))]).replace("\\", "")


def drop(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, data, "image/png") for name, data in files]).run()
    assert not app.exception
    assert not app.error
    return app


MARKUP = '<img src=x onerror="alert(1)">**b**[x](http:--e).png'


@pytest.mark.slow
def test_dropped_images_get_a_verdict_and_refused_ones_a_sentence() -> None:
    boot = next(iter(garments(1).files.values())).data
    app = drop(page(), ("boot.png", boot), (MARKUP, saved(picture(), "PNG")), ("a.png", b"GIF89a"), ("e.png", b""))
    own: Uploads = app.session_state["own_uploads"]
    assert len(own.files) == 2
    spec = RunSpec.of(look="own")
    known = evaluations.evaluation(setups.setup(spec), "ash_b@65")
    shown = text(app)
    assert "of your 2 images; Energy accepts" in shown
    assert f"as <em>{registry.entry('demo').classes[known.predictions[0]]}</em>" in shown
    assert "a.png: This is a GIF image, although its name ends in .png" in shown
    assert "e.png: The file is empty" in shown
    assert "<img src=x" not in shown
    assert "&lt;img src=x" in shown
    assert app.get_by_key("own_marks") is not None
    app.slider(key="spec_p").set_value(80.0).run()
    assert {name for name, _ in own.refused} == {"a.png", "e.png"}
    assert own.scored[next(iter(own.files))].scores[1] == pytest.approx(
        evaluations.evaluation(setups.setup(spec), "ash_b@80").id_scores[0], rel=1e-4
    )
    for other in ("scores", "samples"):
        turn_to(app, other).run()
    assert len(app.session_state["own_uploads"].files) == 2
    app.button(key=f"own_remove_{next(iter(own.files))}").click().run()
    assert "your image" in text(app)
    gone = weakref.ref(next(iter(own.files.values())))
    app.button(key="own_clear").click().run()
    assert not app.exception
    gc.collect()
    assert gone() is None  # Streamlit holds on to widgets of earlier runs
    assert "own_marks" not in str([block.key for block in app.get("bidi_component")])
    assert not app.session_state["own_uploads"].files


@pytest.mark.slow
@pytest.mark.parametrize("query", [{"variant": "ash_s", "p": "80"}, {"method": "knn"}, {"variant": "none"}], ids=str)
def test_an_own_image_is_taken_apart_as_a_sample_is(query: dict[str, str]) -> None:
    files = [(one.name, one.data) for one in garments(2).files.values()]
    app = drop(page(**query), *files)
    own: Uploads = app.session_state["own_uploads"]
    second = list(own.files)[1]
    app.button(key=f"own_why_{second}").click().run()
    assert not app.exception
    shown, spec = text(app), app.session_state["spec"]
    assert f"Your image {own.files[second].name} is" in shown
    assert "right" not in next(line for line in shown.splitlines() if "| Verdict" in line)  # nobody knows
    for key in ("one_scores_own", "one_units_own"):
        assert app.get_by_key(key) is not None
    judged = own.sample(setups.setup(spec), str(replace(spec, other="").method), second)
    bank = samples.sample(setups.setup(spec), str(replace(spec, other="").method), "fashion_mnist", 1)
    np.testing.assert_allclose(judged.shaped_logits, bank.shaped_logits, rtol=1e-4, atol=1e-4)
    app.button(key="own_clear").click().run()
    assert not app.exception


@pytest.mark.slow
def test_all_kinds_at_once_raise_nothing() -> None:
    cases = [make() for make in KINDS.values()]
    app = page()
    for first in range(0, len(cases), uploads.MOST_FILES):
        drop(app, *((case.name, case.data) for case in cases[first : first + uploads.MOST_FILES]))
        own: Uploads = app.session_state["own_uploads"]
        assert len(own.refused) >= sum(case.refused for case in cases[first : first + uploads.MOST_FILES])
    assert len(own.scored) == len(own.files) == len({case.data for case in cases if not case.refused})


def test_the_table_for_download_reads_back() -> None:
    own, spec = garments(4), RunSpec()
    own.add("=HYPERLINK(A1)#.png", saved(picture(), "PNG"))
    run(own, spec)
    made = samples_own.frame(spec, own, samples_own._lines(spec))
    back = pd.read_csv(io.StringIO(csv_text(made, {"model": "demo"})), comment="#")
    assert back["sha256"].tolist() == list(own.files)
    assert back["file"].iloc[-1] == "_HYPERLINK(A1)_.png"
    line = back["threshold_after"].iloc[0]
    assert (back["accepted_after"] == (back["score_after"] >= line)).all()
    assert (back["accepted_before"] == (back["margin_before"] >= 0)).all()


@pytest.mark.slow
def test_without_banks_there_are_classes_and_no_verdict() -> None:
    boot = next(iter(garments(1).files.values())).data
    app = drop(page(placement=DEEP, n="100"), ("boot.png", boot))
    shown = text(app)
    assert "No verdict on your image yet" in shown
    assert "<em>Ankle boot</em>, score" in shown
    assert "not computed yet" in shown
    assert app.button(key="prepare_button").label == "Compute"
