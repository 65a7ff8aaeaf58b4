"""A network's traced graph: its nodes by name, and what a node does to the values that pass through it."""

import operator
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import fx, nn
from torchvision.models.feature_extraction import NodePathTracer

from ash.errors import AshError

NO_TENSOR = (getattr, torch.chunk, torch.split, torch.unbind, "chunk", "split", "unbind", "size")
DIVISIONS = (operator.truediv, torch.div, torch.true_divide, torch.divide, "div", "true_divide", "divide")
IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)


class SplitError(AshError):
    """The model cannot be traced, or has no such placement; the message says which and why."""


class _Tracer(NodePathTracer):
    """Traces the thread it was made in: fx patches nn.Module for the whole process, and other threads go on computing.

    Two tracings at once would undo each other's patches in the wrong order, so they wait for each other.
    """

    lock = threading.Lock()

    def __init__(self) -> None:
        super().__init__(leaf_modules=[])
        self._thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def trace(model: nn.Module) -> tuple[fx.Graph, dict[fx.Node, str]]:
    """The eval-mode graph and the dotted name of every node; SplitError where torch.fx cannot follow the model."""
    if model.training:
        raise SplitError("The model is in training mode, where its output is not fixed: call model.eval() first.")
    tracer = _Tracer()
    try:
        with tracer.lock:
            graph = tracer.trace(model)
    except Exception as error:  # fx raises whatever the model's Python raises on a proxy
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SplitError(f"{type(model).__name__} cannot be traced by torch.fx, so not cut: {reason}") from error
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise SplitError(f"{type(model).__name__} takes {len(inputs)} inputs; a network to split takes images alone.")
    return graph, dict(tracer.node_to_qualname)


def _last_use(graph: fx.Graph) -> dict[fx.Node, int]:
    position = {node: i for i, node in enumerate(graph.nodes)}
    return {node: max((position[user] for user in node.users), default=-1) for node in graph.nodes}


def _cuts(graph: fx.Graph) -> Iterator[fx.Node]:
    """The nodes that are the only live value after they ran, in network order. Weights do not count."""
    last_use = _last_use(graph)
    live: set[fx.Node] = set()
    for i, node in enumerate(graph.nodes):
        if node.op == "get_attr":
            continue
        live.add(node)
        live = {value for value in live if last_use[value] > i}
        if live == {node} and node.op not in ("placeholder", "output") and node.target not in NO_TENSOR:
            yield node


def named_cuts(graph: fx.Graph, names: dict[fx.Node, str]) -> dict[str, fx.Node]:
    """The nodes at which the graph can be cut, by name, in network order; the logits are none."""
    return {names[node]: node for node in _cuts(graph) if next(iter(node.users)).op != "output"}


def module_of(model: nn.Module, node: fx.Node) -> nn.Module | None:
    """The module that a node calls, None for a function."""
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def same_values(model: nn.Module, node: fx.Node) -> bool:
    """Whether a node only reorders or forwards the values of its input (flatten, dropout in eval mode, identity)."""
    if isinstance(module_of(model, node), nn.Flatten | nn.Dropout | nn.Identity):
        return True
    return node.target in (torch.flatten, nn.functional.dropout, "flatten", "reshape", "view", "squeeze")


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


def linear_layer(model: nn.Module, nodes: Iterable[fx.Node]) -> tuple[nn.Linear, bool] | None:
    """The layer of nodes that are [pool], [flatten, dropout ...], Linear, and whether they pool; None for any other."""
    pooled, linear = False, None
    for node in nodes:
        if node.op in ("placeholder", "output", "get_attr") or node.target == "clone":
            continue
        module = module_of(model, node)
        if isinstance(module, nn.Linear) and linear is None:
            linear = module
        elif linear is None and not pooled and is_global_pool(model, node):
            pooled = True
        elif not (linear is None and same_values(model, node)):
            return None
    return None if linear is None else (linear, pooled)


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
