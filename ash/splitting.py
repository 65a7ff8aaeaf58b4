"""A network and a placement -> stem, tail, by cutting the graph that torch.fx traces.

A node is a placement when it is the only live value at that point of the graph, so `tail(stem(x)) == model(x)` bitwise
in eval mode. Names are torchvision's dotted node names (`layer4.2.add`, `avgpool`). Stem and tail share the model's
weights; there are no hooks, so two users of one model cannot meet.
"""

import difflib
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torchvision.models.feature_extraction import NodePathTracer

NO_TENSOR = (getattr, torch.chunk, torch.split, torch.unbind, "chunk", "split", "unbind", "size")
IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)
PENULTIMATE = "penultimate"  # alias, for every model: the tensor that enters the last layer with weights


class SplitError(ValueError):
    """The model cannot be traced, or has no such placement; the message says which and why."""


def _trace(model: nn.Module) -> tuple[fx.Graph, dict[fx.Node, str]]:
    """The eval-mode graph and the dotted name of every node."""
    if model.training:
        raise SplitError("The model is in training mode, where its output is not fixed: call model.eval() first.")
    tracer = NodePathTracer(leaf_modules=[])
    try:
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


def _named_cuts(graph: fx.Graph, names: dict[fx.Node, str]) -> dict[str, fx.Node]:
    return {names[node]: node for node in _cuts(graph) if next(iter(node.users)).op != "output"}


def placements(model: nn.Module) -> list[str]:
    """The names of all placements of a model in eval mode, in network order."""
    return list(_named_cuts(*_trace(model)))


def _module(model: nn.Module, node: fx.Node) -> nn.Module | None:
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def _same_values(model: nn.Module, node: fx.Node) -> bool:
    """Whether a node only reorders or forwards the values of its input (flatten, dropout in eval mode, identity)."""
    if isinstance(_module(model, node), nn.Flatten | nn.Dropout | nn.Identity):
        return True
    return node.target in (torch.flatten, nn.functional.dropout, "flatten", "reshape", "view", "squeeze")


def _penultimate(model: nn.Module, graph: fx.Graph, cuts: dict[str, fx.Node]) -> str:
    """The placement whose values enter the last layer with weights, before any flatten or dropout on the way."""
    weighted = [node for node in graph.nodes if isinstance(_module(model, node), nn.Linear | nn.Conv2d)]
    if not weighted:
        raise SplitError(f"{type(model).__name__} has no linear or convolutional layer, so no penultimate placement.")
    node = weighted[-1].all_input_nodes[0]
    while _same_values(model, node):
        node = node.all_input_nodes[0]
    for name, cut in cuts.items():
        if cut is node:
            return name
    raise SplitError(f"{type(model).__name__} cannot be cut at its penultimate tensor alone; name another placement.")


def resolve(model: nn.Module, placement: str) -> str:
    """The node name of a placement: `penultimate` resolved, anything else checked; SplitError names near ones."""
    graph, names = _trace(model)
    cuts = _named_cuts(graph, names)
    if placement == PENULTIMATE:
        return _penultimate(model, graph, cuts)
    if placement not in cuts:
        near = difflib.get_close_matches(placement, cuts, n=3, cutoff=0.3) or list(cuts)[-3:]
        raise SplitError(
            f"{type(model).__name__} has no placement '{placement}'. Nearest: {', '.join(near)}. "
            f"All {len(cuts)}: {', '.join(cuts)}."
        )
    return placement


def split(model: nn.Module, placement: str) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Stem and tail of a model in eval mode, cut at a placement: `tail(stem(x)) == model(x)`, bitwise."""
    name = resolve(model, placement)
    graph, names = _trace(model)
    cut = _named_cuts(graph, names)[name]
    nodes = list(graph.nodes)
    at = nodes.index(cut)
    return _part(model, nodes[: at + 1], None, "Stem"), _part(model, nodes[at + 1 :], cut, "Tail")


def _overwritten(model: nn.Module, value: fx.Node) -> bool:
    """Whether some layer works in place on this value, or on a view of it."""
    for user in value.users:
        in_place = getattr(_module(model, user), "inplace", False) or user.kwargs.get("inplace", False)
        if in_place or str(user.target).endswith("_") or user.target in IN_PLACE:
            return True
        if _same_values(model, user) and _overwritten(model, user):
            return True
    return False


def _part(model: nn.Module, nodes: list[fx.Node], start: fx.Node | None, name: str) -> fx.GraphModule:
    """A module of some nodes of the model's graph. With `start`, that node's value is the input."""
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    if start is not None:
        made[start] = graph.placeholder("activation")
        if _overwritten(model, start):  # the caller's activation is never modified
            made[start] = graph.call_method("clone", (made[start],))

    def copied(node: fx.Node) -> fx.Node:
        if node not in made:  # only a weight read before the cut can be missing: read it again
            made[node] = graph.node_copy(node, copied)
        return made[node]

    for node in nodes:
        if node.op == "get_attr":
            continue  # copied where it is used
        if node.op == "output":
            graph.output(map_arg(node.args[0], copied))
        else:
            made[node] = graph.node_copy(node, copied)
    if start is None:
        graph.output(made[nodes[-1]])
    part = fx.GraphModule(model, graph, class_name=name)
    part.delete_all_unused_submodules()
    return part.eval()


@dataclass(frozen=True)
class LinearTail:
    """A tail that is one linear map: logits = x @ weight.T + bias, for x the sample's mean over H, W when `pooled`.

    weight (C, F), bias (C,). Such tails take the one-pass sweep.
    """

    weight: Tensor
    bias: Tensor
    pooled: bool


def _is_global_pool(tail: fx.GraphModule, node: fx.Node) -> bool:
    module = _module(tail, node)
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return module.output_size in (1, (1, 1))
    if node.target is nn.functional.adaptive_avg_pool2d:
        return node.args[1:] in ((1,), ((1, 1),)) or node.kwargs.get("output_size") in (1, (1, 1))
    if node.target == "mean":
        dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        return isinstance(dims, list | tuple) and sorted(d % 4 for d in dims) == [2, 3]
    return False


def linear_tail(tail: fx.GraphModule) -> LinearTail | None:
    """The tail as one linear map, or None when it is anything else than [pool], [flatten, dropout ...], Linear."""
    pooled, linear = False, None
    for node in tail.graph.nodes:
        if node.op in ("placeholder", "output") or node.target == "clone":
            continue
        module = _module(tail, node)
        if isinstance(module, nn.Linear) and linear is None:
            linear = module
        elif linear is None and not pooled and _is_global_pool(tail, node):
            pooled = True
        elif not (linear is None and _same_values(tail, node)):
            return None
    if linear is None:
        return None
    bias = linear.bias if linear.bias is not None else torch.zeros(linear.out_features)
    return LinearTail(linear.weight.detach(), bias.detach().to(linear.weight), pooled)
