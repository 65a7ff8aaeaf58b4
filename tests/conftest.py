"""Shared set-up: how long property tests search, a cache of its own, and where the reference data is."""

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # each process has its core; torch, which is not loaded yet, would take all
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import Phase, settings

settings.register_profile("default", deadline=None, max_examples=60, derandomize=True)  # the same inputs every time
settings.register_profile("seeded", deadline=None, max_examples=60, print_blob=True)  # others, by --hypothesis-seed
settings.register_profile("long", deadline=None, max_examples=20_000, print_blob=True)  # new ones, searched by hand
# A failure as it is found, not made smaller: for those who only want to know that there is one.
settings.register_profile("once", settings.get_profile("default"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("default")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Banks and data of tests never meet those of the user who runs them."""
    os.environ["ASH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["ASH_DATA"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with `data` and `reference`, named by ASH_TEST_DATA; the test is skipped where it is not set."""
    folder = os.environ.get("ASH_TEST_DATA")
    if not folder:
        pytest.skip("ASH_TEST_DATA is not set: it names the folder with the reference data")
    return Path(folder).resolve()
