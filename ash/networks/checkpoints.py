"""Weights on disk: where a model's file lies, and loading it strictly, without running code from it."""

import contextlib
import errno
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ash import data
from ash.errors import AshError
from ash.files import Look, file_hash, look_of, open_regular, read_bytes, write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn

SAFE = ".safetensors"
SUFFIXES = (".pth", ".pt", ".pth.tar", SAFE)
# The keys under which training scripts keep a state_dict; the mean of weights only where there are no others.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema_state_dict", "state_dict_ema", "model_ema", "ema")
PREFIXES = ("module.", "_orig_mod.", "net.", "model.", "ema.")  # of nn.DataParallel, of torch.compile, of a wrapper
SHOWN = 2  # mismatches of a kind in a message
MOST_AT_ONCE = 2**31  # bytes of a file that are held in memory beside the network


class ModelError(AshError):
    """A model is unknown, or its weights are missing or another network's; the message says what to do."""


def checkpoints_root() -> Path:
    """The folder of weights files: `checkpoints` in the data root (ASH_DATA)."""
    return data.data_root() / data.CHECKPOINTS


def find_weights(name: str, url: str, url_hash: str) -> Path:
    """The file of a model's weights, the first that is there of

    `checkpoints_root()/NAME` with one of SUFFIXES and, where the published file's name has its hash in it, that name in
    the same folder and in torch hub's cache; of a file of the model hub, its copy in that cache. Where none is, the
    path at which it belongs.
    """
    root, place = checkpoints_root(), weights_place(name)
    candidates = [root / f"{place}{suffix}" for suffix in dict.fromkeys((suffix_of(url), *SUFFIXES))]
    published = url.rpartition("/")[2]
    if url_hash and url_hash in published:
        candidates += [root / published, *(folder / published for folder in _torch_hub())]
    if copy := find_hub_file(url):
        candidates.append(copy)
    return next((path for path in candidates if path.is_file()), candidates[0])


def weights_place(name: str) -> str:
    """Where the weights of a model belong in `checkpoints_root()`, without a suffix: `timm/NAME`, `hf-hub/ORG/NAME`."""
    return name.replace(":", "/")


def suffix_of(url: str) -> str:
    """The suffix of the file that is fetched from an address."""
    return SAFE if url.endswith(SAFE) else SUFFIXES[0]


def find_hub_file(url: str) -> Path | None:
    """The copy of a file of the model hub that other programs have left in its cache; None where there is none.

    Of a branch or tag at the commit that they last saw, `refs/REVISION`; a whole commit is its snapshot itself.
    """
    found = re.fullmatch(r"https://huggingface\.co/([^/]+)/([^/]+)/resolve/([^/]+)/([^/]+)", url)
    if found is None:
        return None
    with contextlib.suppress(RuntimeError, OSError):  # no home folder, no such repository
        home = os.environ.get("HF_HOME") or _user_cache() / "huggingface"
        cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
        repository, revision = cache / f"models--{found[1]}--{found[2]}", found[3]
        of_commit = re.fullmatch("[0-9a-f]{40}", revision)
        commit = revision if of_commit else read_bytes(repository / "refs" / revision, 100).decode().strip()
        path = repository / "snapshots" / commit / found[4]
        return path if path.is_file() else None
    return None


def _torch_hub() -> Iterator[Path]:
    """Where torch hub keeps weights; nowhere for an account without a home folder."""
    with contextlib.suppress(RuntimeError):
        yield Path(os.environ.get("TORCH_HOME") or _user_cache() / "torch").expanduser() / "hub" / "checkpoints"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def weights_hash(path: Path) -> str:
    """SHA-256 of a weights file, hex; computed once for a file that looks the same. ModelError."""
    _check_is_file(path)
    try:
        return _hash(path, look_of(path))
    except OSError as error:
        raise ModelError(f"The checkpoint {path} cannot be read: {error.strerror or error}.") from error


@lru_cache(maxsize=256)
def _hash(path: Path, look: Look) -> str:
    return file_hash(path)


def damage(path: Path) -> str:
    """Why a file holds no weights as torch.save or safetensors write them, or what the checksums say that torch.save
    leaves in it, in a sentence; "" where all agree, or it has none.

    torch.load does not look at them: with one flipped byte it would give other weights without a word.
    """
    return _damage(path, look_of(path))


@lru_cache(maxsize=256)
def _damage(path: Path, look: Look) -> str:
    if path.suffix == SAFE:
        return _unsafe(path)
    start = _start(path)
    if not start.startswith(b"PK\x03\x04"):  # of an older form: without checksums
        begins = start.startswith(b"\x80")
        return "" if begins else _why_not(path, ValueError("it begins otherwise") if start else EOFError())
    try:
        with zipfile.ZipFile(path) as parts:
            names = {name.partition("/")[2] for name in parts.namelist()}
            if "data.pkl" not in names or "constants.pkl" in names:
                return _why_not(path, ValueError("TorchScript" if "constants.pkl" in names else "another archive"))
            for part in (one for one in parts.infolist() if one.CRC):  # 0 where torch was told to leave them out
                with parts.open(part) as content:
                    while content.read(2**20):
                        pass
    except Exception as error:  # zipfile raises many kinds on what a byte more or less makes of a list of parts
        what = f" ({error})" if isinstance(error, zipfile.BadZipFile) else ""
        return f"{path} is damaged or only half downloaded{what}: get it again."
    return ""


def _unsafe(path: Path) -> str:
    """What the list of tensors at the beginning of a safetensors file, which has no checksums, says of its length."""
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy"):
            return ""
    except Exception as error:  # it raises many kinds, on an empty file too
        return _why_not(path, error if path.stat().st_size else EOFError())


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(9)


@lru_cache(maxsize=16)
def own_weights_hash(build: "Callable[[], nn.Module]") -> str:
    """SHA-256 of the weights of a network that is built with them, hex; ModelError when they differ at every call."""
    first, again = (_state_hash(build().state_dict()) for _ in range(2))
    if first != again:
        raise ModelError(
            "The function that builds the network gives other weights at every call: name a file of weights, or load "
            "them in it."
        )
    return first


def _state_hash(state: "dict[str, Tensor]") -> str:
    import torch

    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise ModelError(f"{path} is a folder; give the checkpoint file in it.")
    if not path.is_file():
        raise ModelError(f"There is no checkpoint {path}.")


def load_weights(model: "nn.Module", path: Path, sha256: str = "") -> None:
    """Load a checkpoint (a `state_dict`, one in WRAPPERS, with PREFIXES, safetensors) strictly, without running code.

    Strictly: the names, shapes and kinds of number of the network, in any precision. ModelError where it is another
    one's, damaged, or its bytes do not have the SHA-256 `sha256`, where that is given.
    """
    _check_is_file(path)
    wanted = model.state_dict()
    given = _renamed(_state_dict(_content(path, sha256), path), wanted)
    wrong = list(_mismatches(given, wanted))
    if wrong:
        raise ModelError(f"{path} is not a checkpoint of {type(model).__name__}: {'; '.join(wrong)}.")
    # the model's own dict carries format versions, and counters that old files lack
    wanted.update(given)
    model.load_state_dict(wanted)


def _content(path: Path, sha256: str) -> Any:
    """What torch.load finds in a file, with code refused; ModelError says what kind of file it is instead.

    The bytes that are loaded are those whose checksum was compared; a file too large for memory is read twice.
    """
    import torch

    try:
        with open_regular(path) as file:
            source = io.BytesIO(file.read()) if os.fstat(file.fileno()).st_size <= MOST_AT_ONCE else file
            if sha256 and hashlib.file_digest(source, "sha256").hexdigest() != sha256:
                raise ModelError(f"{path} changed while it was in use, or is damaged: run the same again.")
            source.seek(0)
            if path.suffix == SAFE:
                from safetensors.torch import load

                return load(source.read())
            return torch.load(source, map_location="cpu", weights_only=True)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # unpickling raises many kinds
        raise ModelError(_why_not(path, error)) from error


def _why_not(path: Path, error: Exception) -> str:
    """One sentence on a file that torch.load refused; torch's own advice, to load it all the same, is not repeated."""
    text = str(error)
    if isinstance(error, OSError) and error.errno != errno.EINVAL:
        return f"The checkpoint {path} cannot be read: {error.strerror or error}."
    if isinstance(error, EOFError | OSError) or re.search(
        "StreamReader failed|unexpected EOF|corrupt|negative seek", text
    ):
        size = path.stat().st_size
        return f"{path} ({size:,} bytes) is not a checkpoint: it is damaged or only half downloaded; get it again."
    if path.suffix == SAFE:
        return f"{path} is no {SAFE} file, or is damaged ({text}): get it again."
    start = f"{path} is not a checkpoint that loads with weights_only=True"
    whole = re.search(r"GLOBAL (\S+)", text)
    if whole or "TorchScript" in text:
        what = f"a pickled {whole[1]}, not only tensors" if whole else "a TorchScript program"
        return f"{start}: it holds {what}; save model.state_dict() instead."
    if _start(path)[8:] == b"{":
        return f"{start}, but looks like one of safetensors: give its name the end {SAFE}."
    return f"{start}: torch.save, as it is by default, has not written it."


def not_as_fetched(path: Path, sha256: str, url_hash: str) -> str:
    """Why a weights file with this SHA-256 is not the one that was fetched, in a sentence; "" where it is.

    A published file is known by the digits of its hash, `url_hash`, in its name, or by the file of its checksum that
    a fetch leaves beside it (made at the first use of a published file that has none). Any other is the user's own,
    of which its own checksums say whether it is damaged.
    """
    record = checksum_path(path)
    if url_hash and url_hash in path.name:
        same = sha256.startswith(url_hash)
        return "" if same else f"{path} is not the published file: it is damaged; delete it and fetch it again."
    if not os.path.lexists(record):
        if url_hash and sha256.startswith(url_hash):
            with contextlib.suppress(OSError):  # a folder that cannot be written is used all the same
                note_checksum(path, sha256)
            return ""
        return damage(path)
    try:
        stated = read_bytes(record, 1000).decode(errors="replace").split(" ")[0]
    except OSError as error:
        return f"{record} cannot be read ({error.strerror}); delete it if {path.name} is your own file."
    if sha256 == stated:
        return ""
    return (
        f"{path} is not the file that was fetched: it is damaged; delete it and fetch it again. If you put another "
        f"one there yourself, delete {record.name} beside it."
    )


def checksum_path(path: Path) -> Path:
    """Where the checksum of a fetched file is noted, in the form of `sha256sum`."""
    return path.with_name(f"{path.name}.sha256")


def note_checksum(path: Path, sha256: str) -> None:
    """Note the checksum of a fetched file beside it; OSError."""
    write_atomically(checksum_path(path), f"{sha256}  {path.name}\n".encode())


def _state_dict(content: Any, path: Path) -> "dict[str, Tensor]":
    """The names and tensors in a checkpoint, unwrapped; ModelError when there are none."""
    import torch

    while isinstance(content, dict) and (key := next((one for one in WRAPPERS if _is_dict(content, one)), None)):
        content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        keys = f" (its keys: {', '.join(map(str, list(content)[:5]))})" if isinstance(content, dict) else ""
        raise ModelError(f"{path} holds no state_dict{keys}: save one with torch.save(model.state_dict(), ...).")
    return {str(name): value for name, value in content.items()}


def _is_dict(content: dict[Any, Any], key: str) -> bool:
    return isinstance(content.get(key), dict)


def _renamed(given: "dict[str, Tensor]", wanted: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Names as in the network: without a prefix that all have, as far as more of them are the network's then."""
    ways = [_new_names(given, wanted)]
    while prefix := next((one for one in PREFIXES if given and all(name.startswith(one) for name in given)), ""):
        given = {name.removeprefix(prefix): value for name, value in given.items()}
        ways.append(_new_names(given, wanted))
    return max(ways, key=lambda way: len(way.keys() & wanted.keys()))


def _new_names(given: "dict[str, Tensor]", wanted: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Old files' names as new ones: torchvision's DenseNets say `norm.1` where its networks now say `norm1`."""
    new = {name: re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name) for name in given}
    return {name if name in wanted else new[name]: value for name, value in given.items()}


def _mismatches(given: "dict[str, Tensor]", wanted: "dict[str, Tensor]") -> Iterator[str]:
    """What keeps a state_dict from loading strictly: the first of other shapes, kinds, missing names, strange names."""

    def shape(value: "Tensor") -> str:
        return str(tuple(value.shape))

    shapes = [
        f"{name} has the shape {shape(given[name])}, expected {shape(value)}"
        for name, value in wanted.items()
        if name in given and given[name].shape != value.shape
    ]
    kinds = [
        f"{name} {wrong}" for name, value in wanted.items() if name in given and (wrong := _unlike(given[name], value))
    ]
    absent = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    strange = [f"{name} {shape(value)} is not in the network" for name, value in given.items() if name not in wanted]
    for kind in (shapes, kinds, [f"{name} is missing" for name in absent], strange):
        yield from kind[:SHOWN]
        if len(kind) > SHOWN:
            yield f"and {len(kind) - SHOWN:,} more like it"


def _unlike(given: "Tensor", wanted: "Tensor") -> str:
    """What makes a tensor's values unfit for a parameter, "" for nothing; a float of any precision may be any other."""
    import torch

    if given.device.type == "meta":
        return "has no values (it was saved from the meta device)"
    if given.layout != torch.strided or given.is_quantized:
        return f"is {'quantised' if given.is_quantized else 'sparse'}, expected plain numbers"
    if _kind(given) != _kind(wanted):
        return f"holds {_kind(given)} numbers ({given.dtype}), expected {_kind(wanted)} ({wanted.dtype})"
    if given.is_floating_point() and bool(given.isnan().any()):
        return "holds NaN, which is no weight"
    return ""


def _kind(tensor: "Tensor") -> str:
    import torch

    if tensor.dtype == torch.bool:
        return "true/false"
    return "complex" if tensor.is_complex() else "floating-point" if tensor.is_floating_point() else "whole"
