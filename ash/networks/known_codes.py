"""The codes of networks (`ash.networks.code`), known without tracing where their source has not changed.

What ships is listed in codes.json; networks of this library, of torchvision and timm are traced once and kept in the
cache, `codes/`; those of the user's, whose code may lie anywhere, once a process. Imports no torch before one must be
traced: a network's graph is what its source says, whichever torch traces it.
"""

import contextlib
import hashlib
import inspect
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ash.bank import cache_root
from ash.files import BankError, file_hash, read_json, write_json
from ash.networks import curated, timm_models, torchvision_models
from ash.networks.entries import ModelEntry

if TYPE_CHECKING:
    from torch import nn

_SHIPPED = Path(__file__).with_name("codes.json")  # of the networks that ship: nobody has to trace them
_codes: dict[Callable[[], "nn.Module"], str] = {}  # those that this process has traced


def code_of(entry: ModelEntry) -> str:
    """Hash of what a network computes besides its weights (`ash.networks.code`).

    A network of this library or of torchvision is traced once for as long as its source is the same; one of the user's,
    whose code may lie anywhere, once a process. SplitError where it cannot be traced, and whatever its function raises.
    """
    known = known_code(entry)
    if known is not None:
        return known
    from ash.networks.code import code_hash
    from ash.splitting import weightless

    source, build = source_of(entry.architecture), entry.architecture
    code = code_hash((build() if source is None else weightless(build)).eval())
    _codes[build] = code
    if source is not None:
        with contextlib.suppress(OSError):
            write_json(_code_path(source), {"code": code})
    return code


def known_code(entry: ModelEntry) -> str | None:
    """The code of a network where it does not have to be traced for it, else None."""
    if entry.architecture in _codes:
        return _codes[entry.architecture]
    source = source_of(entry.architecture)
    if source is None:
        return None
    if source in shipped_codes():
        return shipped_codes()[source]
    with contextlib.suppress(BankError):
        found = read_json(_code_path(source)).get("code") if _code_path(source).is_file() else None
        return found if isinstance(found, str) else None
    return None


def source_of(architecture: Callable[[], "nn.Module"]) -> str | None:
    """Hash of all that decides the code of a network of this library, torchvision or timm; None for the user's."""
    function = architecture.func if isinstance(architecture, partial) else architecture
    given = architecture.args if isinstance(architecture, partial) else ()
    if function is torchvision_models.build:
        files = torchvision_models.sources_of(given[0])
        told = " ".join(map(file_hash, files)) or f"torchvision {version('torchvision')}, torch {version('torch')}"
    elif function in (timm_models.build, timm_models.build_at_its_head):
        told = f"{function.__name__} {timm_models.source_of(given[0])}"
    elif getattr(function, "__module__", "") == curated.__name__:
        told = f"{inspect.getsource(function)} {file_hash(Path(curated.__file__).with_name('own.py'))}"
    else:
        return None
    return hashlib.sha256(f"{told} {given}".encode()).hexdigest()


def _code_path(source: str) -> Path:
    return cache_root().parent / "codes" / f"{source[:16]}.json"


@cache
def shipped_codes() -> dict[str, str]:
    """`source_of` -> `code_of` of the networks that ship; those of another source are not in it."""
    try:
        return {str(source): str(code) for source, code in read_json(_SHIPPED).items()}
    except BankError:
        return {}
