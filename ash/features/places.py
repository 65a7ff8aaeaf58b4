"""Where folders of features are looked for, and what makes a folder one."""

from contextlib import suppress
from pathlib import Path

from ash.datasets.dataset_entries import data_root

HEAD, OOD = "head.npz", "ood"
SUFFIXES = (".npz", ".npy")


def is_folder_of_features(path: Path) -> bool:
    """Whether a folder is meant as one: it has a head, or a file of ID features."""
    return any((path / name).is_file() for name in (HEAD, *(f"id{suffix}" for suffix in SUFFIXES)))


def folders_in_data_root() -> list[Path]:
    """The folders of features in the data root, by name."""
    with suppress(OSError):  # a data root that is not there, or cannot be read
        found = (path for path in data_root().iterdir() if not path.name.startswith("."))
        return sorted(path for path in found if is_folder_of_features(path))
    return []
