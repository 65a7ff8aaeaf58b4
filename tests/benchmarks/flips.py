"""One byte flipped in every kind of file that makes numbers: equal numbers, a sentence, healed; never another number.

    python tests/benchmarks/flips.py                 # 40 offsets a file, two minutes
    python tests/benchmarks/flips.py --offsets 200 --only fit store

Everything happens in a copy of `ash`, `app` and `assets` in a temporary folder. Exit status 1 where a number
is wrong or anything but an expected failure comes.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = ("equal", "sentence", "healed", "WRONG", "TRACEBACK")
Use = Callable[[], Any]


def digest(value: Any) -> str:
    """A hash of numbers and texts, however they are nested."""
    import numpy as np

    if isinstance(value, dict):
        value = sorted(value.items())
    if isinstance(value, list | tuple):
        return hashlib.sha256("".join(map(digest, value)).encode()).hexdigest()
    if isinstance(value, np.ndarray) and value.dtype != object:
        value = (str(value.dtype), value.shape, value.tobytes())
        return digest([repr(part) for part in value])
    return hashlib.sha256(repr(value).encode()).hexdigest()


def kinds() -> Iterator[tuple[str, Path, Use]]:
    """Name, file and use of every kind; imports the copy of the library."""
    import numpy as np
    import torch

    import ash
    from app.backend import store
    from ash import results, shipped
    from ash.bank import cache_root, open_bank
    from ash.data import evenly, get_dataset
    from ash.extraction import extract, identity
    from ash.fitting import fit, load_fit, save_fit
    from ash.networks import checkpoints

    model, digits = ash.get_model("demo"), get_dataset("digits")
    image = torch.linspace(-1, 1, 28 * 28).view(1, 1, 28, 28)

    def logits() -> Any:
        checkpoints._hash.cache_clear()  # as in a process of its own
        with torch.no_grad():
            return model.build()(image).numpy()

    def bank_of(data: Any) -> Any:
        bank = open_bank(identity(model, "avgpool", data))
        return bank.read(), bank.labels, bank.names, bank.shape

    def pixels() -> Any:
        images = get_dataset("digits")
        return images.fingerprint, images.labels, np.stack([np.asarray(images.image(i)) for i in range(0, 1000, 97)])

    folder = open_bank(identity(model, "avgpool", digits)).folder
    yield "weights", shipped.FOLDER / "weights.pt", logits
    mine = shipped.FOLDER / "mine.pt"
    torch.save(model.build().state_dict(), mine)
    own_model = model.with_checkpoint(mine)

    def own_logits() -> Any:
        with torch.no_grad():
            return own_model.build()(image).numpy()

    yield "own weights", mine, own_logits
    yield "shipped manifest", shipped.FOLDER / "manifest.json", lambda: (logits(), pixels(), bank_of(digits))
    yield "shipped images", shipped.FOLDER / "images" / "digits.npz", pixels
    for name in ("shard-00000.npz", "samples.csv.gz", "manifest.json"):
        yield f"shipped {name}", folder / name, lambda: bank_of(digits)

    some = evenly(digits, 130)  # three shards
    own = extract(model, "avgpool", some).folder
    for name in ("shard-00001.npy", "samples.csv", "manifest.json", "provenance.json"):
        yield f"own {name}", own / name, lambda: bank_of(some)
    manifest = (own / "manifest.json").read_bytes()
    for name in ("shard-00001.npy", "shard-00001.json", "samples.csv", "manifest.json", "plan.json"):

        def again(begun: bool = name in ("shard-00001.json", "plan.json")) -> Any:
            """As `python -m ash extract` does; where it was killed before the manifest was written."""
            if begun:
                (own / "manifest.json").unlink(missing_ok=True)
            extract(model, "avgpool", some, workers=0)
            return bank_of(some)

        yield f"extract {name}", own / name, again
    (own / "manifest.json").write_bytes(manifest)

    who = identity(model, "avgpool", get_dataset("fashion_mnist_train"))
    yield "fit", save_fit(fit(open_bank(who))), lambda: {**vars(load_fit(who))}  # type: ignore[dict-item]

    banks = {name: open_bank(identity(model, "avgpool", get_dataset(name))) for name in ("fashion_mnist", "digits")}
    methods = ash.parse_methods("energy,ash_s@65")
    tail = ash.split(model.build(), "avgpool")[1]
    ids = banks["fashion_mnist"]
    sweep = ash.sweep(tail, ids, {"digits": banks["digits"]}, methods, id_labels=ids.labels)
    texts, kept = list(map(str, methods)), cache_root().parent / "sweeps" / "one.npz"

    def stored() -> Any:
        found = store.load(kept, texts)
        if found is None:  # as the app: computed again, and kept
            store.save(kept, sweep, "CPU")
            found = sweep, {}
        return found[0].table().to_csv()

    store.save(kept, sweep, "CPU")
    yield "stored sweep", kept, stored
    for path in sorted(results.FOLDER.glob("*.csv")):
        yield f"results {path.name}", path, lambda path=path: results.read(path).table.to_csv()


def offsets(size: int, count: int) -> list[int]:
    """Half of them at the two ends, where the headers are, the others spread."""
    ends = [*range(0, 64 * count // 40, 7), *(size - 1 - i for i in range(0, 64 * count // 40, 7))]
    spread = [i * size // max(1, count - len(ends)) for i in range(max(1, count - len(ends)))]
    return sorted({at for at in (*ends, *spread) if 0 <= at < size})


def try_file(path: Path, use: Use, count: int, told: bool = True) -> Counter[str]:
    """Flip one byte after the other, each in a file that is otherwise whole, and count what came of its use."""
    from ash.errors import EXPECTED

    folder, keep, seen = path.parent, {}, Counter[str]()
    use()
    for file in folder.iterdir():
        if file.is_file():
            keep[file] = file.read_bytes()
    wanted, whole = digest(use()), path.read_bytes()
    for number, at in enumerate(offsets(len(whole), count)):
        flipped = bytearray(whole)
        flipped[at] ^= (1, 255, 32, 128)[number % 4]
        path.write_bytes(flipped)
        try:
            right = digest(use()) == wanted
            untouched = path.exists() and path.read_bytes() == bytes(flipped)
            outcome = ("equal" if untouched else "healed") if right else "WRONG"
        except EXPECTED:
            outcome = "sentence"
        except Exception as error:
            outcome = "TRACEBACK"
            print(f"  {path.name} at {at}: {type(error).__name__}: {error}") if told else None
        if outcome == "WRONG" and told:
            print(f"  {path.name} at {at}: another number")
        seen[outcome] += 1
        for file, content in keep.items():
            if not file.exists() or file.read_bytes() != content:
                file.write_bytes(content)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--offsets", type=int, default=40)
    parser.add_argument("--only", nargs="*", default=[""], help="kinds whose name begins so")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("ash", "app", "assets"):
            shutil.copytree(ROOT / name, Path(scratch) / name, ignore=shutil.ignore_patterns("__pycache__"))
        os.environ |= {"ASH_CACHE": f"{scratch}/cache", "ASH_DATA": f"{scratch}/data"}
        sys.path.insert(0, scratch)
        total = Counter[str]()
        print(f"{'file':<45}" + "".join(f"{name:>11}" for name in OUTCOMES))
        for name, path, use in kinds():
            if any(name.startswith(start) for start in options.only):
                seen = try_file(path, use, options.offsets)
                total += seen
                print(f"{name:<45}" + "".join(f"{seen[outcome]:>11}" for outcome in OUTCOMES), flush=True)
        print(f"{'all':<45}" + "".join(f"{total[outcome]:>11}" for outcome in OUTCOMES))
    sys.exit(bool(total["WRONG"] or total["TRACEBACK"]))


if __name__ == "__main__":
    main()
