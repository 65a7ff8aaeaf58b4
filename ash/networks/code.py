"""What a network computes besides its weights, as a hash: its traced graph, its layers' settings, the code fx skips.

Two networks of one hash and one weights file give the same values. The hash holds names and numbers alone, no memory
addresses and no byte code, so it is the same in every process and in all versions of Python that trace the same graph.
Of torch and torchvision only the names of functions and layers count, of anybody else's code its text without comments.
"""

import ast
import enum
import functools
import hashlib
import inspect
import json
import re
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ash.networks.graphs import trace

LIBRARIES = {"torch", "torchvision", "numpy", *sys.stdlib_module_names}
_OF_A_MODULE = set(vars(nn.Module())) | {"training"}  # what every module has; hooks and children are described below
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def code_hash(model: nn.Module) -> str:
    """SHA-256, hex, of all that decides what a model in eval mode computes but the values in its state_dict.

    The weights may be on the meta device. SplitError where torch.fx cannot follow the model.
    """
    graph, _ = trace(model, everything=True)  # as ever, so that banks keep their code
    text = json.dumps(_Description(model).of_graph(graph), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _Description:
    """Plain lists and strings for everything a graph can refer to. `_seen` breaks circles: an object is told once."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.state = set(model.state_dict(keep_vars=True))
        self._seen: dict[int, tuple[int, Any]] = {}  # the object is kept, so that its id stays its own

    def of_graph(self, graph: fx.Graph) -> list[Any]:
        """Nodes by number: what each does, with what, and the kinds of the weights."""
        number = {node: f"%{index}" for index, node in enumerate(graph.nodes)}
        nodes = []
        for node in graph.nodes:
            given = [
                self.of(fx.node.map_arg(part, lambda one: _Node(number[one]))) for part in (node.args, node.kwargs)
            ]
            nodes.append([node.op, self._target(node), *given])
        weights = [*self.model.named_parameters(), *self.model.named_buffers()]
        return [nodes, [[name, str(value.dtype), list(value.shape)] for name, value in weights if name in self.state]]

    def _target(self, node: fx.Node) -> Any:
        if node.op == "call_function":
            return self.of(node.target)
        if node.op == "call_module":
            return [node.target, self.of(self.model.get_submodule(str(node.target)))]
        if node.op == "get_attr":
            return [node.target, self._value_at(str(node.target))]
        return str(node.target) if node.op == "call_method" else ""  # the names of inputs do not matter

    def _value_at(self, path: str) -> Any:
        """What an attribute holds; nothing for one of the state_dict, whose value is the weights file's."""
        return "weight" if path in self.state else self.of(attrgetter(path)(self.model))

    def of(self, value: Any) -> Any:
        """A description of any value, equal for values that compute the same."""
        if isinstance(value, _Node) or value is None or isinstance(value, bool | int | str):
            return str(value) if isinstance(value, _Node) else [type(value).__name__, str(value)]
        if isinstance(value, float | complex):
            return [type(value).__name__, repr(value)]
        if isinstance(value, enum.Enum):
            return ["enum", type(value).__qualname__, value.name]
        if isinstance(value, slice):
            return ["slice", *(self.of(part) for part in (value.start, value.stop, value.step))]
        if isinstance(value, torch.dtype | torch.device | torch.memory_format | torch.layout | type(...)):
            return str(value)
        if isinstance(value, bytes):
            return ["bytes", value.hex()]
        if isinstance(value, Tensor | np.ndarray | np.generic):
            return _tensor(value)
        if isinstance(value, Mapping):
            return ["map", *([self.of(key), self.of(one)] for key, one in value.items())]
        if isinstance(value, set | frozenset):
            return ["set", *sorted(json.dumps(self.of(one)) for one in value)]
        if isinstance(value, Sequence):
            return ["list", *(self.of(one) for one in value)]
        if id(value) in self._seen:
            return f"again {self._seen[id(value)][0]}"
        self._seen[id(value)] = (len(self._seen), value)
        return self._object(value)

    def _object(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            return ["layer", self._class(type(value)), *self._settings(value)]
        if isinstance(value, functools.partial):
            return ["partial", *(self.of(part) for part in (value.func, value.args, value.keywords))]
        if isinstance(value, types.MethodType):
            return ["method", self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.FunctionType) and not _is_library(value):
            return ["function", _source(value), *self._surroundings(value)]
        if callable(value) and hasattr(value, "__name__"):
            return ["function", _name(value)]
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__]
        if type(value).__module__.partition(".")[0] in sys.stdlib_module_names:
            return ["value", _name(type(value)), re.sub(r" at 0x\w+", "", repr(value))]  # a path, a pattern, a logger
        facts = {**getattr(value, "__dict__", {}), **{name: getattr(value, name, None) for name in _slots(value)}}
        return ["object", self._class(type(value)), self.of(facts)]

    def _class(self, kind: type) -> Any:
        """A class of a library by its name, anybody else's by its text, that of its bases and what they refer to."""
        told = []
        for one in kind.__mro__:
            told.append(_name(one))
            if _is_library(one):
                break
            told.append(_source(one))
            for part in vars(one).values():
                function = getattr(part, "__func__", getattr(part, "fget", part))
                if isinstance(function, types.FunctionType):
                    told += self._surroundings(function)
        return told

    def _settings(self, module: nn.Module) -> Iterator[Any]:
        """What a layer keeps besides weights: kernel, stride, eps, ...; its hooks; the same of the layers in it.

        Names with an underscore are a library's own notes, which differ between versions and follow from the others.
        """
        for name, value in sorted(vars(module).items()):
            if name not in _OF_A_MODULE and not (name.startswith("_") and _is_library(type(module))):
                yield [name, self.of(value)]
        kept_out: set[str] = getattr(module, "_non_persistent_buffers_set", set())
        yield [[name, self.of(module._buffers[name])] for name in sorted(kept_out)]
        for hooks in _HOOKS:
            yield [self.of(hook) for hook in getattr(module, hooks, {}).values()]
        for name, child in module.named_children():
            yield [name, self.of(child)]

    def _surroundings(self, function: types.FunctionType) -> Iterator[Any]:
        """What a function of the user's refers to beyond its text: defaults, the scope around it, names."""
        yield self.of([function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                continue  # a name that is not bound yet
            if not isinstance(content, type):  # `super()` refers to the class itself
                yield self.of(content)
        names = sorted(set(_names(function.__code__)))
        yield from self._named(names, function.__globals__)

    def _named(self, names: list[str], scope: Mapping[str, Any], within: tuple[str, ...] = ()) -> Iterator[Any]:
        """What names stand for in a module and, of modules of the user's, in those."""
        for name in names:
            if name not in scope:
                continue
            yield [name, self.of(scope[name])]
            if isinstance(scope[name], types.ModuleType):
                module = scope[name].__name__
                if module.partition(".")[0] not in LIBRARIES and module not in within:
                    yield from self._named(names, vars(scope[name]), (*within, module))


class _Node(str):
    """The number of a node, where a graph refers to it."""


def _tensor(value: Tensor | np.ndarray | np.generic) -> list[Any]:
    """Kind, shape and bytes; of a tensor on the meta device there are no bytes."""
    if isinstance(value, Tensor):
        about = ["tensor", str(value.dtype), list(value.shape)]
        if value.is_meta:
            return about
        plain = value.detach().cpu().contiguous().flatten()
        return [*about, hashlib.sha256(plain.view(torch.uint8).numpy()).hexdigest()]
    array = np.ascontiguousarray(value)
    return ["array", array.dtype.str, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]


def _is_library(value: Any) -> bool:
    return (getattr(value, "__module__", None) or "builtins").partition(".")[0] in LIBRARIES


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', None) or 'torch'}.{getattr(value, '__qualname__', value.__name__)}"


def _slots(value: Any) -> list[str]:
    return [name for kind in type(value).__mro__ for name in (getattr(kind, "__slots__", ()) or ()) if name[:2] != "__"]


def _source(value: Any) -> str:
    """The text of a function or class without comments and layout; without a text, of a function its constants."""
    try:
        text = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        return f"{_name(value)} {_constants(code)}" if code else _name(value)
    try:
        return ast.unparse(ast.parse(text))
    except SyntaxError:  # a lambda in the middle of an expression
        return text


def _constants(code: types.CodeType) -> list[Any]:
    parts = [_constants(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts]
    return [code.co_code.hex(), code.co_names, parts]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _names(one)
