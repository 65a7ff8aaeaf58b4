"""The user's own models, data sets, methods and scores: files that ASH_PLUGINS names, run once, at the first look-up.

A folder of features (`ash.features`) is one as well, named there or found in the data root; it is registered, not run.

Such a file uses `ash.register_model`, `ash.register_dataset`, `ash.register_method` and `ash.register_score`, as the
library does for its own networks and scores. One that fails leaves nothing behind: why is in `problems()` and in the
log, and everything else works.
This module knows nothing of what is registered, and imports no torch.
"""

import importlib.util
import linecache
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Generic, TypeVar

from ash.errors import AshError

VARIABLE = "ASH_PLUGINS"
_LIBRARY = (
    "ash.models",
    "ash.data",
    "ash.methods",
    "ash.scores",
)  # imported first: its own names are taken before a file runs
_LOG = logging.getLogger("ash.plugins")  # without a handler, Python writes warnings to stderr as they are

T = TypeVar("T")


class PluginError(AshError):
    """Something cannot be registered; the message says why."""


@dataclass(frozen=True)
class Problem:
    """Why a plug-in, or one thing it registers, cannot be used: where, and one sentence. `file` None: no plug-in's."""

    file: Path | None
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = [self.file.name] if self.file else []
        where += [f"line {self.line}"] if self.file and self.line else []
        return f"{', '.join(where)}: {self.reason}" if where else self.reason


class Registry(MutableMapping[str, T], Generic[T]):
    """Name -> what is registered under it. The first look-up, of whatever kind, loads the user's plug-ins.

    `kind` is what its entries are called. `own` are those that come with the library: nothing replaces them.
    `failed` has the names that turned out not to work, and why.
    """

    def __init__(self, kind: str, own: Mapping[str, T] | None = None) -> None:
        self.kind, self.failed = kind, dict[str, Problem]()
        self._entries = dict(own or {})
        self._own = set(self._entries)
        self._places: dict[str, tuple[Path | None, int | None]] = {}
        _REGISTRIES.append(self)

    def __getitem__(self, name: str) -> T:
        load()
        return self._entries[name]

    def __setitem__(self, name: str, entry: T) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]
        self._places.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        load()
        return iter(self._entries)

    def __len__(self) -> int:
        load()
        return len(self._entries)

    def add(self, name: str, entry: T) -> None:
        """Register; PluginError when the name is the library's, or a second plug-in's. A program may register again."""
        if name in self._own:
            raise PluginError(f"There is a {self.kind} '{name}' already: give yours another name.")
        first, _ = self._places.get(name, (None, None))
        if _STATE.file is not None and first is not None:
            raise PluginError(f"The {self.kind} '{name}' is registered twice: it is {first.name}'s already.")
        self._entries[name] = entry
        self._places[name] = (_STATE.file, _STATE.line())
        self.failed.pop(name, None)

    def seal(self) -> None:
        """What is registered so far comes with the library."""
        self._own, self._places = set(self._entries), {}

    def file_of(self, name: str) -> Path | None:
        """The plug-in that registered a name; None for the library's and a program's own."""
        return self._places.get(name, (None, None))[0]

    def users(self) -> tuple[str, ...]:
        """The names that plug-ins, or a program, have registered."""
        return tuple(name for name in self if name in self._places)

    def report(self, name: str, error: Exception) -> Problem:
        """Remember and report that something registered turned out not to work; the problem is returned."""
        file, line = self._places.get(name, (None, None))
        found = self.failed[name] = _problem(error, file, line, f"the {self.kind} '{name}' cannot be used: ")
        _report(found)
        return found

    def forget(self, file: Path) -> None:
        """Take out all that a plug-in has registered."""
        for name in [name for name, place in self._places.items() if place[0] == file]:
            self._entries.pop(name, None)
            del self._places[name]


class _State:
    """What was loaded. `file` is the plug-in that is running."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.loaded = self.loading = False
        self.file: Path | None = None
        self.problems: list[Problem] = []
        self.texts: dict[str, str] = {}

    def line(self) -> int | None:
        """The line of the running plug-in that is at work."""
        frames = traceback.extract_stack() if self.file else []
        return next((frame.lineno for frame in reversed(frames) if frame.filename == str(self.file)), None)


_REGISTRIES: list[Registry] = []
_STATE = _State()


def holds(kind: str, name: str) -> bool:
    """Whether something of a kind is registered under a name so far; no plug-in is loaded for it."""
    return any(registry.kind == kind and name in registry._entries for registry in _REGISTRIES)


def files() -> list[Path]:
    """The files that ASH_PLUGINS names, separated as in PATH, relative ones in the working directory; then the folders
    of features in the data root."""
    from ash.features.places import folders_in_data_root

    named = [
        Path(os.path.expanduser(part)).absolute() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part
    ]
    return list(dict.fromkeys((*named, *folders_in_data_root())))


def running() -> Path | None:
    """The plug-in that is being run now."""
    return _STATE.file


def problems() -> tuple[Problem, ...]:
    """What is wrong with the plug-ins, as far as it has shown: files that fail, models and sets that do not work."""
    load()
    return tuple(_STATE.problems)


def registered() -> dict[Path, dict[str, tuple[str, ...]]]:
    """Plug-in -> kind -> the names it has registered."""
    found: dict[Path, dict[str, tuple[str, ...]]] = {file: {} for file in files()}
    for registry in _REGISTRIES:
        for name in registry.users():
            names = found.setdefault(registry.file_of(name) or Path(), {})
            names[registry.kind] = tuple(dict.fromkeys((*names.get(registry.kind, ()), name)))
    found.pop(Path(), None)  # what a program has registered itself
    return found


def load() -> None:
    """Run the plug-ins, once a process. What fails is left out and reported."""
    if _STATE.loaded:
        return
    with _STATE.lock:
        if _STATE.loaded or _STATE.loading:
            return
        _STATE.loading = True
        try:
            for module in _LIBRARY if files() else ():
                import_module(module)
            for file in files():
                _run(file)
        finally:
            _STATE.loading, _STATE.loaded = False, True


def reload() -> None:
    """Forget the plug-ins and what was wrong with them; the next look-up runs them again."""
    with _STATE.lock:
        for registry in _REGISTRIES:
            for file in {place[0] for place in registry._places.values() if place[0]}:
                registry.forget(file)
            registry.failed.clear()
        folders = [file.parent for file in files()]  # a module beside a plug-in stays loaded, and its text known
        for path in [path for path in _STATE.texts if not any(map(Path(path).is_relative_to, folders))]:
            del _STATE.texts[path]
        _STATE.problems.clear()
        _STATE.loaded = False


def _run(file: Path) -> None:
    """Run one plug-in as a module of its own; modules beside it can be imported."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    if main and Path(main).absolute() == file:
        return  # the program itself: it has registered already
    name = f"ash_plugin_{files().index(file)}_{file.stem}"
    _STATE.file = file
    try:
        _execute(name, file)
    except (Exception, SystemExit) as error:  # whatever the user's file raises
        sys.modules.pop(name, None)
        for registry in _REGISTRIES:
            registry.forget(file)
        _report(_problem(error, file, None))
    finally:
        _STATE.file = None


def _execute(name: str, file: Path) -> None:
    from ash.features.places import is_folder_of_features

    if is_folder_of_features(file):
        import_module("ash.features.registering").register(file)
        return
    if not file.is_file():
        raise PluginError("it is a folder: name the files in it" if file.is_dir() else "there is no such file")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError("it is no Python file: its name must end in .py")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    before = set(sys.modules)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for loaded in sys.modules.keys() - before | {name}:
        path = getattr(sys.modules.get(loaded), "__file__", None)
        if path and path.endswith(".py") and Path(path).is_relative_to(file.parent) and not _is_installed(loaded, path):
            _hold_text(path)


def _is_installed(module: str, path: str) -> bool:
    return module.partition(".")[0] == "ash" or not {"site-packages", "dist-packages"}.isdisjoint(Path(path).parts)


def _hold_text(path: str) -> None:
    """Keep the text of a module as it was when it was run, for `inspect.getsource` as well.

    Banks and evaluations are known by the user's code: what is edited while the program runs is not what computes, and
    numbers of the old code must not be kept under the name of the new one.
    """
    linecache.cache.pop(path, None)
    lines = linecache.getlines(path)
    linecache.cache[path] = sum(map(len, lines)), None, lines, path  # without a time it is not read again
    _STATE.texts[path] = "".join(lines)


def texts() -> dict[str, str]:
    """Path -> text of the plug-ins and of the modules in their folders that they import, as they were when run."""
    load()
    return dict(_STATE.texts)


def _problem(error: BaseException, file: Path | None, line: int | None, what: str = "") -> Problem:
    """An error as one sentence: the last line of the plug-in on its way and, if not ours, its kind."""
    chain = [error, *([error.__cause__] if error.__cause__ else [])]
    frames = [frame for one in chain for frame in traceback.extract_tb(one.__traceback__)]
    lines = [frame.lineno for frame in frames if file and frame.filename == str(file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines, text = [error.lineno], error.msg
    else:
        text = (str(error).strip().splitlines() or [""])[0]
    if not type(error).__module__.startswith("ash."):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return Problem(file, lines[-1] if lines else line, what + text.rstrip("."))


def _report(problem: Problem) -> None:
    if problem not in _STATE.problems:
        _STATE.problems.append(problem)
        _LOG.warning("Plug-in %s.", problem)
