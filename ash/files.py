"""Files that are whole or not there: how everything in a cache is written and read."""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ash.errors import AshError


class BankError(AshError):
    """A bank is missing, incomplete, damaged or in use; the message says which, where and what to do."""


def expand(path: Path | str) -> Path:
    """A path with `~` and `~name` resolved; AshError where that account or its home folder is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise AshError(f"{path}: there is no such home folder here; write the full path.") from error


def user_folder(setting: str, xdg: str, default: str) -> Path:
    """A folder of this user's: what the environment variable `setting` names, or `ash` in `xdg`'s or in ~/`default`.

    AshError where that needs a home folder and there is none.
    """
    given = os.environ.get(setting)
    try:
        if given:
            return Path(given).expanduser().absolute()
        base = os.environ.get(xdg)
        return (Path(base) if base else Path.home() / default).absolute() / "ash"
    except RuntimeError as error:  # an account without a home folder, or ~somebody who is not known
        asked = f"{setting}={given}" if given else "This account"
        raise AshError(f"{asked} has no home folder here: set {setting} to the full path of a folder.") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when the process is killed or the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are private; a bank may be shared
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove_unfinished(folder: Path, names: str) -> None:
    """Remove what killed processes left of the files whose names match a pattern; nobody else may be writing them."""
    for temporary in folder.glob(f".{names}-*"):
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted, so that equal content is equal bytes."""
    write_atomically(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """The bytes that `write_json` writes."""
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; BankError when the file is damaged."""
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise BankError(f"{path} is damaged ({error}); delete it and extract again.") from error
    return content
