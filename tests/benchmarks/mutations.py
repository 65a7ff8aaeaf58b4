"""Lines broken one by one, each in a copy of the tree: which of them do the tests notice?

    nice python tests/benchmarks/mutations.py              # all; some ten seconds of computing each
    nice python tests/benchmarks/mutations.py 0:20 bands   # some: a slice of the list, or a word of file or change

A survivor is a decision that no test holds: the exit status is 1. A text that is not in its file exactly once has moved
and ends the program; `tests/test_mutations.py` says so at once.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from compileall import compile_dir
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = ("torch", "torchvision", "sklearn.metrics", "pandas", "hypothesis.extra.numpy", "streamlit", "scipy.stats")
LOG = "mutation.log"
LIMIT = 600  # seconds of one run; a mutation that makes the tests hang is noticed

TESTS = {  # the tests that concern a file, the likeliest first
    "ash/shaping.py": ("test_shaping", "test_doubts", "test_sweep"),
    "ash/metrics.py": ("test_metrics", "test_sweep"),
    "ash/scores/of_logits.py": ("test_scores", "test_sweep"),
    "ash/scores/gen.py": ("test_score_oracles",),
    "ash/scores/knn.py": ("test_score_oracles",),
    "ash/scores/nearest.py": ("test_nearest",),
    "ash/scores/registry.py": ("test_score_oracles",),
    "ash/scores/vim.py": ("test_score_oracles",),
    "ash/tables.py": ("test_metrics", "test_doubts", "test_sweep"),
    "ash/variants.py": ("test_methods", "test_spec"),
    "ash/methods.py": ("test_methods",),
    "ash/engine/plan.py": ("test_scores", "test_sweep"),
    "ash/engine/runs.py": ("test_doubts", "test_sweep", "test_sweep_deep", "test_sweep_methods"),
    "ash/engine/asides.py": ("test_doubts", "test_sweep", "test_sweep_deep", "test_sweep_methods"),
    "ash/engine/passes.py": ("test_doubts", "test_sweep", "test_sweep_deep", "test_sweep_methods"),
    "ash/engine/linear.py": ("test_doubts", "test_sweep"),
    "ash/engine/bands.py": ("test_doubts", "test_sweep"),
    "ash/engine/masked.py": ("test_doubts", "test_sweep", "test_sweep_pooled"),
    "ash/engine/pooled.py": ("test_sweep_pooled", "test_doubts"),
    "ash/engine/cutoffs.py": ("test_doubts", "test_sweep_deep"),
    "ash/engine/tails.py": ("test_doubts", "test_sweep_deep", "test_sweep_methods"),
    "ash/engine/steps.py": ("test_doubts", "test_sweep_methods"),
    "ash/engine/thresholds.py": ("test_doubts", "test_sweep_methods"),
    "ash/engine/grouped.py": ("test_doubts", "test_sweep_methods"),
    "ash/engine/quantiles.py": ("test_sweep_methods",),
    "ash/scores/mahalanobis.py": ("test_sweep_methods", "test_fitting"),
    "ash/engine/activations.py": ("test_doubts", "test_sweep"),
    "ash/bank.py": ("test_bank", "test_extraction", "test_identity"),
    "ash/extracting/shards.py": ("test_integrity", "test_extraction", "test_extraction_faults", "test_claims"),
    "ash/files.py": ("test_integrity", "test_bank"),
    "ash/identity.py": ("test_identity", "test_extraction", "test_fitting"),
    "ash/datasets/content.py": ("test_identity",),
    "ash/splitting.py": ("test_splitting",),
    "ash/images.py": ("test_images", "test_data", "test_identity"),
    "app/backend/store.py": ("test_backend", "test_integrity"),
    "app/link/fields.py": ("test_spec",),
    "app/link/spec.py": ("test_spec", "test_opening"),
    "app/link/picks.py": ("test_spec", "test_opening"),
}


@dataclass(frozen=True)
class Mutation:
    """`old`, which is in the file exactly once, becomes `new`."""

    file: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}: {self.old.strip()} -> {self.new.strip() or '(nothing)'}"


def _of(file: str, *changes: tuple[str, str]) -> Iterator[Mutation]:
    return (Mutation(file, old, new) for old, new in changes)


MUTATIONS = (
    *_of(
        "ash/shaping.py",
        ("if not 0 <= p < 100:", "if not 0 <= p <= 100:"),
        (
            "n - round(n * check",
            "n - int(n * check",
        ),
        ("mask = rows >= threshold\n", "mask = rows > threshold\n"),
        ("tied.cumsum(1, dtype=torch.int32) <= room", "tied.cumsum(1, dtype=torch.int32) < room"),
        ("room = k - above.sum(", "room = k + 1 - above.sum("),
        ("(s1 == 0) & (s2 == 0), 1.0", "(s1 == 0) & (s2 == 0), 0.0"),
        (".clamp(min=LOWEST_EXPONENT)", ""),
        ("torch.maximum(low.abs(), high.abs())", "high.abs()"),
        (".clamp(-limit, limit).to(x.dtype)", ".to(x.dtype)"),
        ("kept_mask(x, percentile) & (x != 0)", "kept_mask(x, percentile)"),
        ("((flat == least) & ~kept).any(1)", "(flat == least).any(1)"),
        ("np.arange(first_index, first_index + len(x))", "np.arange(len(x))"),
        ("    check_finite(x)\n", ""),
        ("room = 1e-3 if dtype == torch.float16 else 1.0", "room = 1.0"),
        ("return x.clamp(max=float(threshold))", "return x.clamp(min=0, max=float(threshold))"),
        ("np.random.SFC64((seed, int(index)))", "np.random.SFC64((seed, 0))"),
    ),
    *_of(
        "ash/metrics.py",
        ("n - math.ceil(round(_check_tpr(tpr) * n, 9))", "n - math.ceil(_check_tpr(tpr) * n)"),
        ("np.asarray(scores, np.float64) >= threshold", "np.asarray(scores, np.float64) > threshold"),
        ('np.searchsorted(id_sorted, ood_scores, "left")', 'np.searchsorted(id_sorted, ood_scores, "right")'),
        (
            'order = np.argsort(-scores, kind="stable")\n    ends = _group_ends(scores[order])\n    hits',
            'order = np.argsort(scores, kind="stable")\n    ends = _group_ends(scores[order])\n    hits',
        ),
        ("values.argmax(1)[known]", "values.argmin(1)[known]"),
        ("known = truth >= 0", "known = truth > 0"),
        ("if min(len(ids), len(scores)) < 2:", "if min(len(ids), len(scores)) < 1:"),
        ("[2.5, 97.5]", "[5, 95]"),
        ("alarms[last] / m,", "alarms[last] / n,"),
        ("hits[one.above] + hits[one.not_below]", "2 * hits[one.above]"),
        ("accepted, last = hits[of_equals]", "accepted, last = hits[1:]"),
    ),
    *_of(
        "ash/scores/of_logits.py",
        ("return values.clamp(-limit, limit)", "return values"),
        ('scatter(1, where[:, None], float("-inf"))', "clone()"),
    ),
    *_of("ash/scores/gen.py", ("min(LARGEST, logits.shape[1])", "logits.shape[1]")),
    *_of("ash/scores/knn.py", ("rows[:, -1]", "rows[:, 0]")),
    *_of("ash/scores/registry.py", ("zero.to(self.dtype) / 2", "zero.to(self.dtype) * 0")),
    *_of(
        "ash/scores/nearest.py",
        ("where + first", "where"),
        ("rows = rows.gather(1, order)", "pass"),
        ("values[~sure], rows[~sure] = self._among_all(queries[~sure], k)", "pass"),
        ("floor = first.amin(1) - least[few]", "floor = first.amax(1) + least[few]"),
        ("sure[few] = about[few, -1] < floor", "sure[few] = True"),
        ("self.unpaid.add(k)", "pass"),
    ),
    *_of("ash/scores/vim.py", ("[:, : given.size - kept]", "[:, kept:]"), ("- np.outer(u, mean)", "")),
    *_of(
        "ash/tables.py",
        ("new = self.sorted[1:] != self.sorted[:-1]", "new = np.diff(self.sorted) != 0"),
        (
            "known = np.zeros(0, bool) if self.id_labels is None else self.id_labels >= 0",
            "known = np.ones(self.id_scores.shape[1], bool)",
        ),
        ("100 * int(tied) / samples", "100 * int(beyond) / samples"),
    ),
    *_of("ash/variants.py", ("and 0 < value < 1:", "and 0 < value < 0.5:")),
    *_of(
        "ash/engine/plan.py",
        ("top = z.amax(axis).clamp_(-limit, limit)", "top = z.amax(axis)"),
        (".add_(top).clamp_(-limit, limit)", ".add_(top)"),
        ("(z == z.amax(0))", "(z == z.amin(0))"),
    ),
    *_of(
        "ash/engine/bands.py",
        ("torch.maximum(values[first[0]].abs(), least.abs())", "values[first[0]].abs().expand_as(least)"),
        ("keys[:, most].contiguous()", "keys[:, most - 1].contiguous()"),
        ("flip &= 0x7FFFFFFF", "flip &= 0x7FFFFFFE"),
        ("(x + np.float32(0)).view(np.int32)", "x.view(np.int32)"),
    ),
    *_of("ash/engine/linear.py", ("parts[j] += parts[j - 1]", "parts[j] += parts[0]")),
    *_of(
        "ash/engine/masked.py",
        ("torch.maximum(values[:, 0].abs(), least[j].abs())", "values[:, 0].abs()"),
        ("kept = ranks < k", "kept = ranks <= k"),
        (
            "tie_kinds(self.cut & (least == values.T[self.next]), least)",
            "tie_kinds(least == values.T[self.next], least)",
        ),
    ),
    *_of(
        "ash/engine/pooled.py",
        ("torch.maximum(x.amax(1).abs(), torch.from_numpy(last).abs())", "x.amax(1).abs().expand(len(last), -1)"),
        ("(distinct / self.area) @ self.weight", "distinct @ self.weight"),
        ("(self.cuts > begin) & (self.cuts < stop)", "(self.cuts >= begin) & (self.cuts < stop)"),
        ("np.uint32(CODES - 1)", "np.uint32(0)"),
        ("        table[NEGATIVE] = table[0]\n", ""),
    ),
    *_of(
        "ash/engine/cutoffs.py",
        ("(order < room).sum(1, dtype=torch.int32)", "(order <= room).sum(1, dtype=torch.int32)"),
        ("self.size + 1, positive)", "positive, positive)"),
    ),
    *_of(
        "ash/engine/tails.py",
        ("return min(k, limit) if", "return max(k, limit) if"),
        ("x, rows.start, doubts)", "x, 0, doubts)"),
    ),
    *_of(
        "ash/engine/grouped.py",
        ("group.rest.logits(first, first_index, found)", "group.rest.logits(first, 0, found)"),
        ("x, first_index, doubtful), doubtful", "x, 0, doubtful), doubtful"),
    ),
    *_of(
        "ash/engine/runs.py",
        ("        _copy(self.doubts[at], position, source, rows, same)\n", ""),
        ("(bits & BEYOND > 0) | extreme", "bits & BEYOND > 0"),
    ),
    *_of("ash/engine/asides.py", ("*perturbed, perturbed, id_bank)", "*perturbed, perturbed)")),
    *_of(
        "ash/engine/thresholds.py",
        ("kept = x >= threshold\n", "kept = x > threshold\n"),
        ("s1 / k.clamp(1)", "s1 / self.size"),
        ("torch.maximum(low.abs(), high.abs())", "high.abs()"),
        ("torch.where(some, values.gather(1, last).abs(), 0.0)).T", "torch.zeros(())).T"),
    ),
    *_of(
        "ash/engine/activations.py",
        ("        check_finite(x, first, who)\n", "        check_finite(x[:1] if first else x, first, who)\n"),
        ("first += len(part)", "first += rows"),
    ),
    *_of("ash/scores/mahalanobis.py", (".amin(1)", ".amax(1)")),
    *_of(
        "ash/bank.py",
        ("if len(rows) != len(self):", "if len(rows) < len(self):"),
        ('file_hash(path) == shard.get("sha256")', "True"),
        ('np.searchsorted(self._starts, row, "right")', 'np.searchsorted(self._starts, row, "left")'),
        ("if bank.identity != identity:", "if False:"),
        ("range(0, len(shard), rows)", "range(0, len(shard) - 1, rows)"),
        ('replace(self, content="", code="")', 'replace(self, content="")'),
        ("if self._starts[-1] != len(self):", "if False:"),
    ),
    *_of("ash/files.py", ("hexdigest() != sha256:", 'hexdigest() == "":')),
    *_of(
        "ash/identity.py",
        ("            precision=self.precision,\n", ""),
        ("_of(self.entry.preprocess), self.epsilon)", "_of(self.entry.preprocess), 0)"),
    ),
    *_of(
        "ash/datasets/content.py",
        ("_joined(digests, whole.upright)", "_joined(digests, True)"),
        ("{image.mode} {image.size}", "{image.mode}"),
    ),
    *_of(
        "app/backend/store.py",
        ("[_code(), sorted(", "[sorted("),
        ("sorted(plugins.texts().values()), list(banks)", "list(banks)"),
    ),
    *_of("ash/extracting/shards.py", ("            remove_unfinished(self.folder, names)\n", "            pass\n")),
    *_of(
        "ash/splitting.py",
        ("nodes[: at + 1], None", "nodes[:at], None"),
        ("before_relu=all(", "before_relu=any("),
        ("        and two.shape[1:] == three.shape[1:]\n", ""),
        ("return found[-1]", "return found[0]"),
        ("if writes_into(flow.model, start):", "if False:"),
    ),
    *_of(
        "ash/images.py",
        ("if image.width * image.height > MAX_PIXELS:", "if image.width > MAX_PIXELS:"),
        ("if not 0 < count <= len(whole):", "if not 0 < count < len(whole):"),
        ("5: Image.Transpose.TRANSPOSE", "5: Image.Transpose.TRANSVERSE"),
        ("6: Image.Transpose.ROTATE_270", "6: Image.Transpose.ROTATE_90"),
        ('f"{name}\\t{size}"', 'f"{name}"'),
        ("return self.whole.labels[self.rows]", "return self.whole.labels[: len(self.rows)]"),
        ("{self.whole.fingerprint} {len(self.rows)}", "{self.whole.fingerprint}"),
    ),
    *_of(
        "app/link/fields.py",
        ("not LEAST_SHARE <= value <= 100", "not LEAST_SHARE <= value < 100"),
        ('tuple(dict.fromkeys(text.split(",")))', 'tuple(text.split(","))'),
        ("if low > high:", "if low >= high:"),
    ),
    *_of(
        "app/link/spec.py",
        ("return p == 0 or 1 <= p < 100", "return 0 <= p < 100"),
        ("lambda t: LEAST_SHARE <= t <= 100", "lambda t: 0 <= t <= 100"),
        ("return {} if spec == OPENING else lasting_query(spec)", "return lasting_query(spec)"),
        ('in (differing or {"model": keys()["model"]}).items()', "in differing.items()"),
        ("replace(changes.get(page, getattr(self, page))", "replace(getattr(self, page)"),
    ),
    *_of(
        "app/link/picks.py",
        ('"scores", "page", "pin")\n_FILTERS', '"scores", "page")\n_FILTERS'),
        ('"scores", "find", "order", "descending")', '"scores", "order", "descending")'),
    ),
)


def caught(mutation: Mutation, tree: Path) -> str:
    """The test of those that concern its file that notices the mutation, "" if none; the tree is put right again."""
    path = tree / mutation.file
    text = path.read_text()
    path.write_text(text.replace(mutation.old, mutation.new))
    try:
        return fails(TESTS[mutation.file], tree)
    finally:
        path.write_text(text)


def fails(names: Sequence[str], tree: Path) -> str:
    """The first test in these files of the tree that fails, or what else ends them; "" if all pass."""
    log = tree / LOG
    child = os.fork()  # it has the libraries loaded, and the project not
    if child == 0:
        _test(tree, [str(next(tree.glob(f"tests/**/{name}.py")).relative_to(tree)) for name in names], log)
    code = _wait(child)
    if code not in (0, 1, None):  # of pytest: all passed, some failed; else it did not run
        sys.exit(f"pytest did not run on {', '.join(names)}:\n{log.read_text()[-2000:]}")
    said = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", log.read_text(), re.MULTILINE)
    return "" if code == 0 else said[1] if said else "it hangs or dies"


def _test(tree: Path, names: list[str], log: Path) -> NoReturn:
    """In the child: run these test files of the tree until one fails, and end with pytest's exit code."""
    os.setpgid(0, 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    sys.path[:] = [str(tree), *(one for one in sys.path if one not in (str(ROOT), str(Path(__file__).parent)))]
    quick = ("--assert=plain", "--tb=no", "--hypothesis-profile=once")
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not browser", *quick, *names]))


def _wait(child: int) -> int | None:
    """The child's exit code; None for one that ran longer than LIMIT or died."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def lost() -> list[Mutation]:
    """Those whose text is not in its file exactly once."""
    return [one for one in MUTATIONS if (ROOT / one.file).read_text().count(one.old) != 1]


def _chosen(words: list[str]) -> list[Mutation]:
    chosen: list[Mutation] = list(MUTATIONS)
    for word in words:
        start, colon, stop = word.partition(":")
        if colon and all(not part or part.isdigit() for part in (start, stop)):
            chosen = chosen[int(start or 0) : int(stop) if stop else None]
        else:
            chosen = [one for one in chosen if word in str(one)]
    return chosen


def main() -> None:
    """Break what is asked for, print each verdict and the score; exit 1 where one survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trust", action="store_true", help="do not run the tests on the unbroken tree first")
    parser.add_argument("some", nargs="*", help="slices `0:20` and words, all of which must fit")
    asked = parser.parse_args()
    chosen = _chosen(asked.some)
    if moved := lost():
        sys.exit("\n".join(["Not there exactly once, mend the list:", *map(str, moved)]))
    os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")  # before the libraries are loaded
    sys.dont_write_bytecode = True
    for name in LIBRARIES:
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*_cache"))
        for part in ("ash", "app", "tests"):  # by content, since a line is changed and put back within a second
            compile_dir(tree / part, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
        survivors = []
        for name in [] if asked.trust else dict.fromkeys(name for one in chosen for name in TESTS[one.file]):
            if fails([name], tree):
                sys.exit(f"{name} fails without any mutation:\n{(tree / LOG).read_text()[-2000:]}")
        for number, mutation in enumerate(chosen, start=1):
            begun = time.monotonic()
            if not (test := caught(mutation, tree)):
                survivors.append(mutation)
            verdict = f"caught by {test}" if test else "SURVIVED"
            seconds = time.monotonic() - begun
            print(f"{number}/{len(chosen)} {seconds:4.0f} s  {mutation}\n    {verdict}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
