"""The list of `benchmarks/mutations.py` fits the tree: no line has moved, no test file is gone, every area has some."""

from pathlib import Path

from benchmarks import mutations

TESTS = Path(__file__).parent
LEAST = {  # of an area, at least so many decisions are broken by hand
    "ash/shaping.py": 10,
    "ash/metrics.py": 5,
    "ash/engine/": 20,
    "ash/bank.py": 5,
    "ash/splitting.py": 4,
    "ash/images.py": 5,
    "app/link/fields.py": 3,
    "app/link/spec.py": 3,
}


def test_every_line_is_where_the_list_says() -> None:
    assert mutations.lost() == []
    assert all(one.old != one.new for one in mutations.MUTATIONS)
    assert len(set(mutations.MUTATIONS)) == len(mutations.MUTATIONS)


def test_every_broken_line_is_still_python() -> None:
    for one in mutations.MUTATIONS:
        compile((TESTS.parent / one.file).read_text().replace(one.old, one.new), str(one), "exec")


def test_every_mutated_file_has_tests() -> None:
    assert {one.file for one in mutations.MUTATIONS} <= mutations.TESTS.keys()
    wanted = {name for names in mutations.TESTS.values() for name in names}
    assert wanted <= {path.stem for path in TESTS.rglob("test_*.py")}


def test_every_area_has_a_fair_number() -> None:
    found = {area: sum(one.file.startswith(area) for one in mutations.MUTATIONS) for area in LEAST}
    assert {area: number for area, number in found.items() if number < LEAST[area]} == {}
