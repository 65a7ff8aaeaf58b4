"""A network's traced graph: its nodes by name, and what a node does to the values that pass through it."""

import inspect
import operator
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import NodePathTracer

from ash.errors import AshError

DIVISIONS = (operator.truediv, torch.div, torch.true_divide, torch.divide, "div", "true_divide", "divide")
IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)
WRAPPERS = {"_orig_mod": "torch.compile", "module": "nn.DataParallel"}  # the attribute that holds the network itself
HELP = (
    "What helps: decide it once in the constructor, or hide a function from the tracing with torch.fx.wrap('its name')."
)
_TORCH = str(Path(torch.__file__).parent)


class SplitError(AshError):
    """The model cannot be traced, or has no such placement; the message says which and why."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without nn.DataParallel or torch.compile around it."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(model, parallel) or type(model).__name__ == "OptimizedModule":
        model = model.module if isinstance(model, parallel) else model._orig_mod  # type: ignore[assignment]
    return model


def place_of(frames: Iterable[tuple[FrameType, int]]) -> str:
    """`file.py:12`, the line of a network's own code among frames that are given innermost first; "" for none."""
    for frame, line in frames:
        file = frame.f_code.co_filename
        if file.startswith((_TORCH, "<")):
            continue
        if isinstance(frame.f_locals.get("self"), nn.Module):
            return f"{Path(file).name}:{line}"
    return ""


def reason_of(error: Exception) -> str:
    """What a network's own code, or a layer in it, says of a failure: its first line, and where in that code it is."""
    place = place_of(reversed(list(traceback.walk_tb(error.__traceback__))))
    text = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"{text} ({place})" if place else text


def name_output(model: nn.Module, output: str | int) -> None:
    """Say which part of what a network returns are its logits: a key, the name of an attribute, or a position."""
    unwrapped(model)._output_of_logits = output  # type: ignore[assignment]


def logits_of(model: nn.Module, answer: Any) -> Any:
    """The logits in what a network returns: the part that was named, what is called `logits`, or all of it.

    SplitError where there are several parts and nothing says which.
    """
    output = getattr(model, "_output_of_logits", None)
    if output is None:
        if isinstance(answer, Tensor | fx.Proxy | fx.Node):
            return answer
        output = "logits" if _parts(answer).get("logits") is not None else None
    if output is None and len(_parts(answer)) == 1 and isinstance(answer, tuple | list):
        output = 0
    if output is None:
        if not _parts(answer):
            return answer  # whoever asked says that it is no tensor
        raise SplitError(
            f"{type(model).__name__} returns {_told(answer)}: say which are the logits with output={_example(answer)}, "
            "where it is registered, or wrap it in a module whose forward returns them alone."
        )
    try:
        return answer[output] if isinstance(output, int) or hasattr(answer, "keys") else getattr(answer, output)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise SplitError(f"{type(model).__name__} returns {_told(answer)}, which has no output={output!r}.") from error


def _parts(answer: Any) -> Mapping[Any, Any]:
    """What a network returns, part by part: of a dict its values, of a list or tuple its entries, else attributes."""
    if isinstance(answer, Mapping):
        return answer
    fields = getattr(answer, "_fields", ())  # a named tuple
    if isinstance(answer, tuple | list) and not fields:
        return dict(enumerate(answer))
    names = fields or tuple(getattr(answer, "__dict__", ()))
    return {name: getattr(answer, name) for name in names if isinstance(getattr(answer, name), Tensor | fx.Proxy)}


def _told(answer: Any) -> str:
    kind, parts = type(answer).__name__, _parts(answer)
    names = f"of {len(parts)}" if all(isinstance(one, int) for one in parts) else f"with {', '.join(map(str, parts))}"
    return f"{_a(kind)} {names}"


def _example(answer: Any) -> str:
    return repr(next(iter(_parts(answer))))


def _a(kind: str) -> str:
    return f"{'an' if kind[:1].lower() in 'aeio' else 'a'} {kind}"


class OneStep(nn.Module):
    """A part of a network that is traced as one operation, because torch.fx cannot follow it."""


class _Tracer(NodePathTracer):
    """Traces the thread it was made in: fx patches nn.Module for the whole process, and other threads go on computing.

    Two tracings at once would undo each other's patches in the wrong order, so they wait for each other. A network is
    called with images alone: its other arguments keep their defaults. Nodes know the line that made them (`place`).
    """

    lock = threading.Lock()

    def __init__(self) -> None:
        modules, functions = _not_entered()
        super().__init__(leaf_modules=modules, autowrap_functions=functions)
        self._thread = threading.get_ident()
        self.whole_answer = True  # whether the network gives its logits and nothing else

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        forward = inspect.unwrap(root_fn)
        first, *others = list(inspect.signature(forward).parameters.values())[1:]
        needed = [
            one.name
            for one in others
            if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        ]
        if needed:
            raise SplitError(
                f"{type(self.root).__name__} takes {', '.join([first.name, *needed])}; a network to split takes images "
                "alone: wrap it in one that gives the others."
            )
        name = first.name if first.kind is not first.VAR_POSITIONAL else "input"

        def picked(*args: Any) -> Any:
            answer = root_fn(*args)
            logits = logits_of(self.root, answer)
            self.whole_answer = logits is answer
            return logits

        return picked, [self.root, self.create_proxy("placeholder", name, (), {})]

    def create_proxy(self, *args: Any, **kwargs: Any) -> fx.Proxy:
        proxy = super().create_proxy(*args, **kwargs)
        proxy.node.meta["place"] = place_of(traceback.walk_stack(None))
        return proxy

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def _not_entered() -> tuple[list[type[nn.Module]], tuple[Callable[..., Any], ...]]:
    """Layers and functions that are taken as they are: what timm says of its own, where it is in use."""
    layers: Any = sys.modules.get("timm.layers")
    if not hasattr(layers, "get_notrace_modules"):  # timm is not there, or is being imported by another thread
        return [OneStep], ()
    return [OneStep, *layers.get_notrace_modules()], tuple(layers.get_notrace_functions())


def trace(model: nn.Module, everything: bool = False) -> tuple[fx.Graph, dict[fx.Node, str]]:
    """The eval-mode graph of a model, `unwrapped`, and the dotted name of every node.

    Without what its logits do not hang on, unless `everything` that it computes beside them is asked for.

    SplitError where torch.fx cannot follow the model, or where a layer is random or goes by the batch in eval mode.
    """
    model = unwrapped(model)
    name = type(model).__name__
    if model.training:
        raise SplitError("The model is in training mode, where its output is not fixed: call model.eval() first.")
    tracer = _Tracer()
    try:
        with tracer.lock, _nothing_left_behind(model):
            graph = tracer.trace(model)
    except SplitError:
        raise
    except Exception as error:  # fx raises whatever the model's Python raises on a proxy
        raise SplitError(f"{name} cannot be traced by torch.fx, so not cut: {reason_of(error)}. {HELP}") from error
    (out,) = (node for node in graph.nodes if node.op == "output")
    made = out.args[0]
    if not isinstance(made, fx.Node) or isinstance(made.target, type):
        kind = type(made) if not isinstance(made, fx.Node) else made.target
        raise SplitError(f"{name} returns {_a(getattr(kind, '__name__', str(kind)))}, not a tensor of logits.")
    if not everything or not tracer.whole_answer:
        _leave_out_what_is_not_needed(model, graph)
    names = dict(tracer.node_to_qualname)
    for node in graph.nodes:
        changing = _changes(model, node)
        if changing:
            raise SplitError(f"{name} is not fixed in eval mode: {where(node, names[node])} {changing}.")
    return graph, names


@contextmanager
def _nothing_left_behind(model: nn.Module) -> Iterator[None]:
    """Take out of a model what a tracing in this block puts there: proxies, where a layer keeps what it computed.

    A later tracing, or the network itself, would take them for values.
    """
    before = {module: dict(vars(module)) for module in model.modules()}
    try:
        yield
    finally:
        for module, kept in before.items():
            for name, value in list(vars(module).items()):
                if isinstance(value, fx.Proxy):
                    vars(module).pop(name)
                    vars(module).update({name: kept[name]} if name in kept else {})
                elif isinstance(value, dict):
                    for key in [key for key, one in value.items() if isinstance(one, fx.Proxy)]:
                        del value[key]


def where(node: fx.Node, name: str) -> str:
    """A node in words: its name, and the line of the network's code that made it."""
    place = node.meta.get("place")
    return f"`{name}` ({place})" if place else f"`{name}`"


RANDOM = (
    "rand",
    "randn",
    "randint",
    "randperm",
    "rand_like",
    "randn_like",
    "randint_like",
    "bernoulli",
    "multinomial",
    "normal",
    "poisson",
    "bernoulli_",
    "normal_",
    "uniform_",
    "exponential_",
    "random_",
    "cauchy_",
    "log_normal_",
    "geometric_",
    "gumbel_softmax",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
)
DROPOUTS = (
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_alpha_dropout",
    "rrelu",
    "stochastic_depth",
    "drop_block2d",
    "drop_block3d",
)


def function_of(node: fx.Node) -> str:
    """The bare name of the function or method that a node calls, "" for anything else."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def _changes(model: nn.Module, node: fx.Node) -> str:
    """Why a node's values are not fixed in eval mode, "" where they are as far as the graph says."""
    module, function = module_of(model, node), function_of(node)
    if (
        isinstance(module, nn.modules.dropout._DropoutNd | nn.RReLU)
        and module.training
        and getattr(module, "p", None) != 0
    ):
        return "drops values at random: it is in training mode"
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
        return (
            "normalises by the batch, so that an image's logits hang on the others: it has no running statistics in use"
        )
    if isinstance(module, nn.FractionalMaxPool2d | nn.FractionalMaxPool3d):
        return "pools at random places"
    if function in DROPOUTS and _is_on(node, function):
        return "drops values at random: it is called without training=self.training"
    by_batch = node.kwargs.get("training", node.args[5] if len(node.args) > 5 else False) is True
    if function == "batch_norm" and by_batch and _is_of_images(node):
        return "normalises by the batch, so that an image's logits hang on the others"
    return "is random" if function in RANDOM else ""


def _is_of_images(node: fx.Node) -> bool:
    """Whether a node's values are made of the images: not so where a layer normalises its own weights."""
    seen, waiting = set[fx.Node](), [node]
    while waiting:
        one = waiting.pop()
        if one.op == "placeholder":
            return True
        if one not in seen:
            seen.add(one)
            waiting += one.all_input_nodes
    return False


def _is_on(node: fx.Node, function: str) -> bool:
    """Whether a dropout's call is in training mode and drops anything."""

    def given(name: str, at: int, default: object) -> object:
        return node.kwargs.get(name, node.args[at] if len(node.args) > at else default)

    if function == "rrelu":
        return given("training", 3, False) is True
    if function == "stochastic_depth":
        return given("training", 3, True) is True and given("p", 1, 1.0) != 0
    if function.startswith("drop_block"):
        return given("training", 5, True) is True and given("p", 1, 1.0) != 0
    return given("training", 2, function != "alpha_dropout") is True and given("p", 1, 0.5) != 0


def module_of(model: nn.Module, node: fx.Node) -> nn.Module | None:
    """The module that a node calls, None for a function."""
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def same_values(model: nn.Module, node: fx.Node) -> bool:
    """Whether a node only reorders or forwards the values of its input (flatten, dropout in eval mode, identity)."""
    if isinstance(module_of(model, node), nn.Flatten | nn.Identity | nn.modules.dropout._DropoutNd):
        return True
    return function_of(node) in ("flatten", "reshape", "view", "squeeze", "contiguous", *DROPOUTS[:6])


VIEWS = (
    *("getitem", "chunk", "split", "tensor_split", "unbind", "transpose", "permute", "swapaxes", "swapdims", "movedim"),
    *(
        "t",
        "getattr",
        "unsqueeze",
        "expand",
        "expand_as",
        "view_as",
        "reshape_as",
        "unflatten",
        "narrow",
        "select",
        "detach",
    ),
)


def writes_into(model: nn.Module, value: fx.Node) -> bool:
    """Whether some layer works in place on this value, or on a view of it."""
    return any(_writes(model, user) or (_is_view(model, user) and writes_into(model, user)) for user in value.users)


def _writes(model: nn.Module, node: fx.Node) -> bool:
    """Whether a node works in place on its input."""
    in_place = getattr(module_of(model, node), "inplace", False) or node.kwargs.get("inplace", False)
    function = function_of(node)
    named = function == "setitem" or re.fullmatch(r"[^_].*[^_]_", function) is not None
    return bool(in_place) or node.target in IN_PLACE or named


def _is_view(model: nn.Module, node: fx.Node) -> bool:
    return same_values(model, node) or function_of(node) in VIEWS


def _leave_out_what_is_not_needed(model: nn.Module, graph: fx.Graph) -> None:
    """Take the nodes out of a graph that its output does not hang on: other heads, say.

    What works in place on a value that is needed, or on a view of one, is needed as well.
    """
    needed: set[fx.Node] = set()
    waiting = [node for node in graph.nodes if node.op in ("output", "placeholder")]
    while waiting:
        while waiting:
            node = waiting.pop()
            if node not in needed:
                needed.add(node)
                waiting += node.all_input_nodes
        waiting = [
            node
            for node in graph.nodes
            if node not in needed and _writes(model, node) and _seen_through(model, node.all_input_nodes[0]) & needed
        ]
    for node in reversed(list(graph.nodes)):
        if node not in needed:
            graph.erase_node(node)


def _seen_through(model: nn.Module, node: fx.Node) -> set[fx.Node]:
    """A node and those whose memory it may be a view of."""
    found = {node}
    while _is_view(model, node) and node.all_input_nodes:
        node = node.all_input_nodes[0]
        found.add(node)
    return found


def is_global_pool(model: nn.Module, node: fx.Node) -> bool:
    """Whether a node takes the mean of every channel over H and W."""
    module = module_of(model, node)
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return module.output_size in (1, (1, 1))
    if node.target is nn.functional.adaptive_avg_pool2d:
        return node.args[1:] in ((1,), ((1, 1),)) or node.kwargs.get("output_size") in (1, (1, 1))
    if node.target == "mean":
        dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        return isinstance(dims, list | tuple) and sorted(d % 4 for d in dims) == [2, 3]
    return False


RELU = (torch.relu, nn.functional.relu, nn.functional.relu6, "relu", "relu_")
NON_NEGATIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softmax, nn.Softplus)
NON_NEGATIVE_FUNCTIONS = (*RELU, torch.sigmoid, torch.softmax, nn.functional.softmax, "sigmoid", "softmax")
SIGNED = (
    *(nn.Conv1d, nn.Conv2d, nn.Linear, nn.MultiheadAttention),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm),
    *(nn.GELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.Tanh, nn.Mish),
)
SIGNED_FUNCTIONS = (nn.functional.layer_norm, nn.functional.gelu, operator.sub, torch.sub, operator.neg)
KEEPS_SIGN = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ChannelShuffle)
COMBINE = (operator.add, operator.iadd, torch.add, operator.mul, operator.imul, torch.mul, torch.cat, "add", "mul")
KEEPS_SIGN_FUNCTIONS = (
    *(nn.functional.adaptive_avg_pool2d, nn.functional.avg_pool2d, nn.functional.max_pool2d, nn.functional.pad),
    *(operator.getitem, torch.chunk, torch.transpose, torch.permute, torch.swapaxes, torch.unsqueeze, torch.mean),
    *("chunk", "transpose", "permute", "swapaxes", "unsqueeze", "contiguous", "mean", "expand", "clone"),
)
KEEPS_SIGN_NAMES = ("stochastic_depth", "_patch_merging_pad")  # of torchvision, wrapped so that fx does not enter them


def is_relu(model: nn.Module, node: fx.Node) -> bool:
    """Whether a node is a ReLU or ReLU6."""
    return isinstance(module_of(model, node), nn.ReLU | nn.ReLU6) or node.target in RELU


def signs(model: nn.Module, graph: fx.Graph) -> dict[fx.Node, bool | None]:
    """For every node whether its values can be negative; None where this is not known of an operation."""
    found: dict[fx.Node, bool | None] = {}
    for node in graph.nodes:
        found[node] = _sign(model, node, found)
    return found


def _sign(model: nn.Module, node: fx.Node, known: dict[fx.Node, bool | None]) -> bool | None:
    module = module_of(model, node)
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and isinstance(getattr(module, "act", None), NON_NEGATIVE):
        return False  # timm's norms hold the ReLU behind them
    if node.op in ("placeholder", "get_attr") or isinstance(module, SIGNED) or node.target in SIGNED_FUNCTIONS:
        return True
    if isinstance(module, NON_NEGATIVE) or node.target in NON_NEGATIVE_FUNCTIONS:
        return False
    if node.target in COMBINE:
        if any(isinstance(value, int | float) and value < 0 for value in node.args):
            return True
        inputs = [known[source] for source in node.all_input_nodes]
        return True if True in inputs else None if None in inputs else False
    named = getattr(node.target, "__name__", "") in KEEPS_SIGN_NAMES
    if named or isinstance(module, KEEPS_SIGN) or node.target in KEEPS_SIGN_FUNCTIONS or same_values(model, node):
        return known[node.all_input_nodes[0]]  # further inputs are sizes
    return None
