"""The whole pipeline on all reference images, by the command line, against the authors' numbers. Minutes on a CPU.

    ASH_TEST_DATA=../shared python tests/benchmarks/pipeline.py

Prints the largest differences in points over the settings without tie effects (see test_oracle.py). Banks go to
ASH_CACHE as usual, so a second run starts from them; the first one measures the extraction too.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from ash.methods import Method  # noqa: E402

COLUMNS = {"id_acc": "id_accuracy"}
NAMES = ["auroc", "fpr95", "aupr", "id_accuracy"]


def authors(path: Path) -> pd.DataFrame:
    """The authors' numbers by our method text: Energy settings that do not depend on the choice among ties."""
    table = pd.read_csv(path).rename(columns=COLUMNS)
    table = table[table["score"] == "energy"]
    table.index = pd.Index([str(Method.parse("energy" if m == "none" else m)) for m in table["method"]], name="method")
    free = [not (m.startswith("ash_b") and (Method.parse(m).percentile or 0) < 55) for m in table.index]
    return table.loc[free, NAMES]


def measured(words: list[str], methods: list[str]) -> pd.DataFrame:
    """What `python -m ash sweep` writes for these methods, on the OOD set."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.csv"
        command = [sys.executable, "-m", "ash", "sweep", *words, "--methods", ",".join(methods), "--out", str(out)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        table = pd.read_csv(out)
    return table[table["ood"] != "mean"].set_index("method")


def main() -> None:
    """Both networks."""
    reference = Path(os.environ["ASH_TEST_DATA"]).resolve()
    data, results = reference / "data", reference / "reference"
    cases = {
        "densenet_cifar10_isun.csv": (
            *("--model", "densenet101_cifar10", "--checkpoint", str(data / "checkpoints/densenet_cifar10.pth")),
            *("--id", f"cifar10={data / 'cifar10/test'}", "--ood", f"isun={data / 'isun/iSUN_patches'}"),
        ),
        "mobilenet_v2_nips2017_textures.csv": (
            *("--model", "mobilenet_v2", "--checkpoint", str(data / "checkpoints/mobilenet_v2_dequantized.pth")),
            *("--id", f"nips2017={data / 'nips2017'}", "--ood", f"textures={data / 'textures'}"),
        ),
    }
    for name, words in cases.items():
        expected, start = authors(results / name), time.monotonic()
        found = measured(list(words), list(expected.index))
        difference = (found.loc[expected.index, NAMES] - expected).abs().max()
        counts = f"{found['n_id'].iloc[0]:,} + {found['n_ood'].iloc[0]:,} images, {len(expected)} settings"
        print(f"{name}: {counts}, {time.monotonic() - start:.0f} s; largest differences in points:")
        print("  " + ", ".join(f"{metric} {value:.4f}" for metric, value in difference.items()), flush=True)


if __name__ == "__main__":
    main()
