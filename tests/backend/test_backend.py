"""The back end: users do not meet, nothing is computed twice, what is on disk is trusted only when it is whole."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
import torch

import ash
from app.backend import banks as banks_
from app.backend import engine, evaluations, provenance, samples, setups, store
from app.backend.setups import identity
from app.link.spec import RunSpec
from ash import plugins, sweeping
from ash.bank import BUNDLED, cache_root, find_bank, note_takeover
from ash.errors import AshError
from ash.methods import Method
from ash.models import get_model
from ash.tables import Sweep

PLACE = setups.Setup("demo", "avgpool", "fashion_mnist", get_model("demo").ood_sets)
METHODS = ("energy", "ash_p@37", "ash_b@65", "ash_s@90", "ash_s@12.5", "react@1.0", "ash_rand@50", "ash_b@80:msp")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, in memory and on disk."""
    monkeypatch.setenv("ASH_CACHE", str(tmp_path))
    st.cache_resource.clear()
    st.cache_data.clear()
    yield tmp_path
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.mark.slow
def test_two_users_get_their_own_numbers() -> None:
    alone = {method: evaluations.evaluation(PLACE, method) for method in METHODS}

    def user(turn: int) -> bool:
        method = METHODS[turn % len(METHODS)]
        if turn % 5 == 0:
            evaluations.evaluation.clear(PLACE, method)
        one = evaluations.evaluation(PLACE, method)
        picture = samples.sample(PLACE, method, "digits", turn % 7)
        again = samples.sample.__wrapped__(PLACE, method, "digits", turn % 7)
        same = np.array_equal(picture.shaped_logits, again.shaped_logits)
        return same and str(one.method) == method and np.array_equal(one.id_scores, alone[method].id_scores)

    with ThreadPoolExecutor(2) as users:
        assert all(users.map(user, range(200)))


def test_a_run_looks_up_once_what_a_spec_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = setups.ood_choices

    def counted(model: str, id_set: str) -> dict[str, str]:
        asked.append(model)
        return real(model, id_set)

    monkeypatch.setattr(setups, "ood_choices", counted)
    one, other = RunSpec(), RunSpec(ood=("digits",))
    outside = [setups.setup(spec) for spec in (one, one)]
    assert len(asked) == 2, "outside of a run nothing is remembered"
    with setups.one_run():
        assert [setups.setup(spec) for spec in (one, one, RunSpec(p=90.0))] == [outside[0]] * 3
        assert len(asked) == 3, "a percentile does not change what a spec is about"
        assert setups.setup(RunSpec(placement="layer4.0.relu2")) != outside[0]
        setups.setup(other)
        assert len(asked) == 5
        with ThreadPoolExecutor(1) as job:
            assert job.submit(setups.setup, one).result() == outside[0]
        assert len(asked) == 6, "a job has no part in the run"
        setups.look_again()
        setups.setup(one)
        assert len(asked) == 7, "what may have changed is looked up again"
    setups.setup(one)
    assert len(asked) == 8, "the next run begins anew"


def test_evaluations_are_those_of_the_library() -> None:
    import torch

    _, tail = ash.split(ash.get_model("demo").build(), "avgpool")
    x = torch.from_numpy(banks_.activations(PLACE, "digits").copy())
    largest = 0.0
    for text in METHODS:
        method = ash.Method.parse(text)
        from ash.scores import SCORES

        with torch.inference_mode():
            expected = SCORES[method.score](tail(method.shape(x))).numpy()
        found = evaluations.evaluation(PLACE, text).ood_scores["digits"]
        largest = max(largest, float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1))))
    print(f"largest relative difference: {largest:.2g}")
    assert largest < 1e-5


@pytest.mark.slow
def test_moving_the_percentile_back_and_forth_computes_nothing_twice(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = sweeping.sweep
    monkeypatch.setattr(sweeping, "sweep", lambda *a, **k: calls.append(1) or original(*a, **k))
    for p in (65, 66, 67, 66, 65, 90, 67, 12, 66):
        evaluations.evaluation(PLACE, f"ash_s@{p}")
    assert len(calls) == 2, "one sweep for the trade-off, one for the slider"
    st.cache_resource.clear()
    evaluations.evaluation(PLACE, "ash_s@66")
    assert len(calls) == 2, "a restarted server reads both from disk"


@pytest.mark.slow
def test_a_damaged_sweep_file_is_computed_again(fresh: Path) -> None:
    first = evaluations.grid(PLACE, "energy")
    (file,) = (fresh / "sweeps").glob("*.npz")
    whole = file.read_bytes()
    for damage in (b"", whole[: len(whole) // 2], b"junk" * 100):
        file.write_bytes(damage)
        st.cache_resource.clear()
        again = evaluations.grid(PLACE, "energy")
        np.testing.assert_array_equal(again.id_scores, first.id_scores)
        np.testing.assert_array_equal(again.ood_scores["digits"], first.ood_scores["digits"])
        assert again.methods == first.methods


def test_only_the_newest_sweep_files_are_kept(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.run(PLACE, ("energy",))
    (first,) = (fresh / "sweeps").glob("*.npz")
    monkeypatch.setattr(store, "MOST_BYTES", 2 * first.stat().st_size + 100)
    for text in ("msp", "max_logit"):
        engine.run(PLACE, (text,))
    assert len(list((fresh / "sweeps").glob("*.npz"))) == 2
    assert not first.exists()


def test_a_cache_that_cannot_be_written_changes_nothing(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fresh / "file").write_text("")
    monkeypatch.setenv("ASH_CACHE", str(fresh / "file"))
    assert evaluations.evaluation(PLACE, "energy").accuracy > 0.9


def test_a_damaged_bank_is_one_sentence(fresh: Path) -> None:
    shipped = find_bank(identity(PLACE, "digits"))
    assert shipped is not None
    copy = cache_root() / shipped.relative_to(BUNDLED)
    shutil.copytree(shipped, copy)
    note_takeover(copy, identity(PLACE, "digits"), "")
    shard = copy / "shard-00000.npz"
    shard.write_bytes(shard.read_bytes()[:-4] + b"junk")
    with pytest.raises(AshError, match=r"shard-00000\.npz .* missing or damaged; run the extraction again"):
        evaluations.evaluation(PLACE, "energy")


def test_a_network_first_asked_for_in_inference_mode_can_still_be_differentiated() -> None:
    engine.network.clear()
    engine._parts.clear()
    with torch.inference_mode():
        _, tail = engine.parts(setups.setup(RunSpec(placement="layer3.0.relu2")))
    assert not any(weight.is_inference() for weight in tail.parameters())


def test_wrong_samples_are_refused() -> None:
    with pytest.raises(AshError, match="Digits has the samples 0 to 999; there is no 1000"):
        samples.sample(PLACE, "energy", "digits", 1000)


def test_the_badge_says_what_is_on_the_page() -> None:
    evaluations.grid(PLACE, "energy")
    badge = provenance.badge(RunSpec())
    assert badge.startswith("bundled, 3,000 ID + 6,000 OOD images, ")
    assert provenance.badge(RunSpec(ood=("digits", "noise"))).startswith("bundled, 3,000 ID + 2,000 OOD images")


def test_every_export_says_where_it_comes_from() -> None:
    facts = provenance.provenance(RunSpec())
    assert {"model", "weights_sha256", "placement", "method", "n_id", "n_ood", "device", "date"} <= set(facts)


def test_the_classes_of_a_large_network_are_kept_as_they_are(tmp_path: Path) -> None:
    for most, dtype in ((9, np.int16), (32_767, np.int16), (32_768, np.int32), (200_000, np.int32)):
        classes = np.array([[0, 3, most]], np.int64)
        made = Sweep((Method(),), np.zeros((1, 3), np.float32), {}, classes, None)
        store.save(tmp_path / "one.npz", made, "a device")
        known = store.load(tmp_path / "one.npz", ["energy"])
        assert known is not None
        assert known[0].id_predictions.tolist() == classes.tolist()
        assert known[0].id_predictions.dtype == dtype


def test_a_kept_sweep_is_of_its_banks_methods_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def path(banks: str = "id ood", methods: str = "energy msp") -> Path:
        store._code.cache_clear()
        return store.path_of(banks.split(), methods.split())

    try:
        found = [path(), path("ood id"), path("id"), path(methods="energy"), path(methods="msp energy")]
        for text in ("a = 1", "a = 2"):  # of a plug-in, as it was run
            monkeypatch.setattr(plugins, "texts", lambda text=text: {"own": text})
            found.append(path())
        (tmp_path / "ash").mkdir()
        (tmp_path / "ash" / "shaping.py").write_text("another library")
        monkeypatch.setattr(ash, "__file__", str(tmp_path / "ash" / "__init__.py"))
        found.append(path())
    finally:
        store._code.cache_clear()
    assert len(set(found)) == len(found)
