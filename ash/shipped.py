"""What ships is used only as it shipped: assets/demo as its manifest states it, checksum by checksum."""

from functools import lru_cache
from pathlib import Path

from ash.files import BankError, Look, look_of, read_json

_BESIDE = Path(__file__).resolve().parents[1]
INSTALLED = _BESIDE / "ash_explorer"  # where a wheel puts app, assets and README.md: their names are anybody's
HOME = INSTALLED if INSTALLED.is_dir() else _BESIDE
ASSETS = HOME / "assets"
FOLDER = ASSETS / "demo"


def again(folder: str) -> str:
    """What to do about a damaged file of a folder of the repository, the end of a sentence."""
    return f"get it again, for example with `git checkout -- {folder}` or from a fresh copy of the explorer."


AGAIN = again("assets/demo")


def complaint(path: Path, sha256: str) -> str:
    """What is wrong with a file of assets/demo whose bytes have this SHA-256, in a sentence; "" when nothing is.

    Every file there must be in manifest.json, so that a damaged manifest is noticed as well.
    """
    manifest = FOLDER / "manifest.json"
    try:
        wanted = _stated(manifest, look_of(manifest))[path.relative_to(FOLDER).as_posix()]
    except (BankError, KeyError, OSError, TypeError, ValueError):
        return f"{manifest} is damaged, or does not know {path.name}: {AGAIN}"
    return "" if sha256 == wanted else f"{path} is damaged, its checksum is not the one that ships: {AGAIN}"


@lru_cache(maxsize=4)
def _stated(manifest: Path, look: Look) -> dict[str, str]:
    """SHA-256 by the path of every file, read once for a manifest that looks the same."""
    files: dict[str, str] = read_json(manifest)["files"]
    return files
