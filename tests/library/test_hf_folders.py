"""Folders of Hugging Face's `datasets` as sets: what `save_to_disk` leaves, parquet shards, what is wrong with them."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image
from pyarrow import parquet

from app.link.spec import RunSpec, from_query, to_query
from ash.__main__ import main
from ash.bank import BankIdentity
from ash.data import DataError, ImageError, dataset_entry, get_dataset, own_sets, sets_left_out
from ash.datasets.content import content_of, is_bytes
from ash.labels import class_counts, read

CLASSES = ["cat", "dog", "sea bird"]
FEATURES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": CLASSES}}
FILES = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 7), (10 * number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def table(
    numbers: range, labels: list[int | None] | None = None, features: Any = FEATURES, **more: list[Any]
) -> pa.Table:
    """Rows as `datasets` writes them; `features` None: a file that says nothing of itself."""
    rows: dict[str, Any] = {"image": pa.array([{"bytes": png(n), "path": f"{n}.png"} for n in numbers], FILES)}
    rows["label"] = pa.array([n % 3 for n in numbers] if labels is None else labels, pa.int64())
    told = {"huggingface": json.dumps({"info": {"features": features}})} if features is not None else None
    return pa.table({**rows, **more}).replace_schema_metadata(told)


def save(folder: Path, *shards: pa.Table, info: Any = FEATURES) -> Path:
    """As `Dataset.save_to_disk` leaves it: streams of small batches, and two files about them."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, shard in enumerate(shards):
        with pa.ipc.new_stream(folder / f"data-{at:05d}-of-{len(shards):05d}.arrow", shard.schema) as out:
            out.write_table(shard, max_chunksize=2)
    (folder / "dataset_info.json").write_text(json.dumps({"features": info, "splits": {"train": {"num_examples": 9}}}))
    (folder / "state.json").write_text(json.dumps({"_split": "train"}))
    return folder


def shard(folder: Path, name: str, rows: pa.Table) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(rows, folder / name, row_group_size=2)
    return folder / name


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASH_DATA", str(tmp_path))
    return tmp_path / "hfds"


def check(name: str, count: int) -> None:
    """Images and classes are those that were written, in their order."""
    data = get_dataset(name)
    assert name in own_sets()
    assert len(data) == len(data.names) == count
    assert [data.image(n).getpixel((0, 0)) for n in (*range(count), 0)] == [(10 * n, 0, 0) for n in (*range(count), 0)]
    assert read(data, ["dog", "cat", "Sea-Bird", "none"]).checked().tolist() == [[1, 0, 2][n % 3] for n in range(count)]
    status = dataset_entry(name).status()
    assert (status.state, status.count) == ("present", count)
    assert status.bytes > 0
    again = pickle.loads(pickle.dumps(data))
    assert again.image(count - 1).getpixel((0, 0)) == (10 * (count - 1), 0, 0)
    assert again.fingerprint == data.fingerprint


def test_what_save_to_disk_leaves_is_a_set(root: Path) -> None:
    folder = save(root / "pets", table(range(5)), table(range(5, 8)))
    (folder / "cache-0123.arrow").write_bytes(b"of a map that was run once")
    check("hfds/pets", 8)
    assert read(get_dataset("hfds/pets"), CLASSES).words.startswith(
        "hfds/pets: 3 classes from the names of its column label"
    )
    elsewhere = get_dataset(f"mine={folder}")
    assert (elsewhere.name, len(elsewhere)) == ("mine", 8), "without the data root too"


def test_parquet_shards_are_a_set(root: Path) -> None:
    shard(root / "pets" / "data", "train-00000-of-00002-0123abcd.parquet", table(range(5)))
    shard(root / "pets" / "data", "train-00001-of-00002-0123abcd.parquet", table(range(5, 7)))
    check("hfds/pets", 7)


def test_a_split_is_named_where_there_are_several(root: Path) -> None:
    shard(root / "pets" / "data", "train-00000-of-00001.parquet", table(range(3)))
    shard(root / "pets" / "data", "test-00000-of-00001.parquet", table(range(4)))
    save(root / "saved" / "train", table(range(2)))
    save(root / "saved" / "test", table(range(5)))
    shard(root / "converted" / "default" / "train", "0000.parquet", table(range(3)))
    shard(root / "converted" / "default" / "test", "0000.parquet", table(range(1)))
    pairs = [f"hfds/{name}/{split}" for name in ("converted", "pets", "saved") for split in ("test", "train")]
    assert [*own_sets()] == pairs
    check("hfds/pets/test", 4)
    check("hfds/saved/test", 5)
    check("hfds/converted/train", 3)
    with pytest.raises(DataError, match=r"^hfds/pets has the splits test, train: name one, as hfds/pets/train\.$"):
        get_dataset("hfds/pets")
    with pytest.raises(DataError, match=r"no data set 'hfds/pets/tset': did you mean hfds/pets/test\?"):
        get_dataset("hfds/pets/tset")
    shard(root.parent / "beside", "a-00000-of-00001.parquet", table(range(3)))
    assert len(get_dataset(f"hfds/b={root.parent / 'beside'}")) == 3
    with pytest.raises(DataError, match=r"a is not one whole split of a set: it has no \.arrow or \.parquet file"):
        get_dataset(f"hfds/b={root.parent / 'beside' / 'a'}")


def test_columns_are_found_by_what_the_set_says_else_by_their_types(root: Path) -> None:
    plain = pa.table({"photo": pa.array([png(1), png(2)], pa.large_binary()), "label": pa.array([3, None], pa.int8())})
    shard(root / "plain", "rows.parquet", plain)
    data = get_dataset("hfds/plain")
    assert data.labels.tolist() == [3, -1]
    assert data.stated is None
    assert data.image(1).getpixel((0, 0)) == (20, 0, 0)
    mask = pa.array([{"bytes": b"", "path": ""}] * 2, FILES)
    said = {**FEATURES, "fine": {"_type": "ClassLabel", "names": ["x", "y"]}}
    save(root / "two", table(range(2), mask=mask, fine=[0, 1]), info=said)
    assert get_dataset("hfds/two").image(1).getpixel((0, 0)) == (10, 0, 0)
    assert class_counts(get_dataset("hfds/two")) == {"cat": 1, "dog": 1}
    digits = {**FEATURES, "label": {"_type": "ClassLabel", "names": ["0", "1", "2"]}}
    save(root / "digits", table(range(3)), info=digits)
    assert read(get_dataset("hfds/digits"), CLASSES).checked().tolist() == [0, 1, 2]


def test_without_labels_it_is_for_ood_alone(root: Path) -> None:
    save(root / "bare", table(range(3)).drop_columns(["label"]), info={})
    save(root / "test", table(range(3), labels=[-1, -1, None]))
    for name, words in (("hfds/bare", "its header is image"), ("hfds/test", "its header is image,label")):
        data = get_dataset(name)
        assert data.labels.tolist() == [-1, -1, -1]
        assert read(data, CLASSES).words == f"{name}: no labels, {words}."
    done = CliRunner().invoke(main, ["data", "hfds/bare"])
    assert "no classes are stated" in done.output


def cut(path: Path, of: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * of)])


def test_what_is_wrong_is_one_sentence(root: Path) -> None:
    one = shard(root / "cut", "train-00000-of-00001.parquet", table(range(4)))
    cut(one, 0.6)
    saved = save(root / "stream", table(range(4)))
    with (saved / "data-00000-of-00001.arrow").open("r+b") as file:  # at the end of a batch: a whole stream to pyarrow
        file.truncate((saved / "data-00000-of-00001.arrow").stat().st_size - 8)
    shard(root / "lost", "train-00001-of-00002.parquet", table(range(4)))
    shard(root / "text", "a.parquet", pa.table({"caption": ["a", "b"], "label": [0, 1]}))
    shard(root / "pairs", "a.parquet", pa.table({"left": [png(1)], "right": [png(2)]}))
    shard(root / "mixed" / "fine" / "train", "0000.parquet", table(range(2)))
    shard(root / "mixed" / "coarse" / "train", "0000.parquet", table(range(2)))
    save(root / "odd", table(range(3), labels=[0, 1, 7]))
    save(root / "info", table(range(3)))
    (root / "info" / "dataset_info.json").write_text("{")
    shard(root / "empty", "a.parquet", table(range(0)))
    save(root / "named", table(range(2)), info={**FEATURES, "label": {"_type": "ClassLabel", "names": 3}})
    save(root / "told", table(range(2)).drop_columns(["label"]))
    said = {
        "empty": "empty holds no images: its files have no rows.",
        "told": "does not exist in schema'): get it again.",
        "named": "dataset_info.json cannot be read as what `datasets` says of a set.",
        "cut": "train-00000-of-00001.parquet is damaged (it is cut off): get it again.",
        "stream": "data-00000-of-00001.arrow is damaged (it is cut off): get it again.",
        "lost": "it has 1 .arrow or .parquet files, and its names tell of 2.",
        "text": "text has no column of images, their files' bytes: its columns are caption, label.",
        "pairs": "pairs has more than one column of images, their files' bytes: its columns are left, right.",
        "mixed": "it has 2 .arrow or .parquet files in 2 folders.",
        "odd": "odd: its column label holds numbers that are no classes of it.",
        "info": "dataset_info.json cannot be read as what `datasets` says of a set.",
    }
    for name, words in said.items():
        with pytest.raises(DataError) as caught:
            get_dataset(f"hfds/{name}")
        assert str(caught.value).endswith(words)
        assert dataset_entry(f"hfds/{name}").status().state == "incomplete"
    assert CliRunner().invoke(main, ["data"]).exit_code == 0, "one that is broken hides no other"


def test_a_broken_image_is_named_and_a_path_never_opened(root: Path, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    files = [{"bytes": b"no image", "path": None}, {"bytes": None, "path": str(tmp_path / "secret.png")}]
    save(root / "odd", table(range(2)).set_column(0, "image", pa.array(files, FILES)))
    data = get_dataset("hfds/odd")
    with pytest.raises(ImageError, match="hfds/odd/00000 is not an image in a known format"):
        data.image(0)
    with pytest.raises(ImageError, match="hfds/odd/00001 has no bytes in its set"):
        data.image(1)


def test_other_bytes_are_another_set(root: Path) -> None:
    save(root / "pets", table(range(4)))
    before = get_dataset("hfds/pets")
    assert is_bytes(before)
    digests = before.fingerprint, content_of(before).digest
    save(root / "pets", table(range(1, 5)))
    after = get_dataset("hfds/pets")
    assert after.look != before.look
    assert after.image(0).getpixel((0, 0)) == (10, 0, 0)
    assert not {after.fingerprint, content_of(after).digest} & {*digests}


def test_names_are_part_of_a_link_and_of_a_bank(root: Path) -> None:
    spec, notices = from_query(to_query(RunSpec(id="hfds/pets/test", ood=("hfds/a", "dtd"))))
    assert (spec.id, spec.ood, notices) == ("hfds/pets/test", ("hfds/a", "dtd"), [])
    for name in ("hfds/../a", "hfds/a/b/c", "hfds/", "hfds", "other/a", "hfds/.a", f"hfds/{'a' * 60}"):
        assert from_query({"id": name})[0].id != name or name == "hfds"
    assert BankIdentity("demo", "", "p", "", "hfds/a", "").folder.parts[2].startswith("hfds_a-")
    save(root / "a b", table(range(2)))
    assert own_sets() == {}
    assert [words.partition(" is left out: ")[2] for words in sets_left_out()] != []


@pytest.mark.slow
def test_such_sets_are_swept_on_the_command_line(root: Path, tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(10)]
    info = {"image": FEATURES["image"], "label": {"_type": "ClassLabel", "names": names}}
    save(root / "known", table(range(6), features=info), info=info)
    shard(root / "other" / "data", "test-00000-of-00001.parquet", table(range(5), features=None))
    out = tmp_path / "table.csv"
    sets = ("--id", "hfds/known", "--ood", "hfds/other")
    done = CliRunner().invoke(
        main, ["sweep", "--model", "demo", *sets, "--methods", "energy,ash_s@90", "--out", str(out)]
    )
    assert done.exit_code == 1
    assert "are no classes of" in done.output
    from ash.models import get_model

    classes = list(get_model("demo").classes)
    info["label"] = {"_type": "ClassLabel", "names": classes[:3]}
    save(root / "known", table(range(6), features=info), info=info)
    done = CliRunner().invoke(
        main, ["sweep", "--model", "demo", *sets, "--methods", "energy,ash_s@90", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "hfds/known,hfds/other,ash_s@90" in out.read_text()
