"""A network and a placement -> stem, tail, by cutting the graph that torch.fx traces.

A node is a placement when it is the only live value at that point of the graph, so `tail(stem(x)) == model(x)` bitwise
in eval mode. Names are torchvision's dotted node names (`layer4.2.add`, `avgpool`). Stem and tail share the model's
weights; there are no hooks, so two users of one model cannot meet.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.overrides import TorchFunctionMode

from ash.networks.graphs import (
    DIVISIONS,
    IN_PLACE,
    SplitError,
    is_relu,
    linear_layer,
    module_of,
    named_cuts,
    same_values,
    signs,
    trace,
)

__all__ = [
    "PENULTIMATE",
    "Cut",
    "LinearTail",
    "SplitError",
    "cuts",
    "cuts_of_architecture",
    "linear_tail",
    "numerators",
    "placements",
    "resolve",
    "split",
]

PENULTIMATE = "penultimate"  # alias, for every model: the tensor that enters the last layer with weights


def placements(model: nn.Module) -> list[str]:
    """The names of all placements of a model in eval mode, in network order."""
    return list(named_cuts(*trace(model)))


def _penultimate(model: nn.Module, graph: fx.Graph, known: dict[str, fx.Node]) -> str:
    """The placement whose values enter the last layer with weights, before any flatten or dropout on the way."""
    weighted = [node for node in graph.nodes if isinstance(module_of(model, node), nn.Linear | nn.Conv2d)]
    if not weighted:
        raise SplitError(f"{type(model).__name__} has no linear or convolutional layer, so no penultimate placement.")
    node = weighted[-1].all_input_nodes[0]
    while same_values(model, node):
        node = node.all_input_nodes[0]
    for name, cut in known.items():
        if cut is node:
            return name
    raise SplitError(f"{type(model).__name__} cannot be cut at its penultimate tensor alone; name another placement.")


def resolve(model: nn.Module, placement: str) -> str:
    """The node name of a placement: `penultimate` resolved, anything else checked; SplitError names near ones."""
    graph, names = trace(model)
    return _resolve(model, graph, named_cuts(graph, names), placement)


def _resolve(model: nn.Module, graph: fx.Graph, known: dict[str, fx.Node], placement: str) -> str:
    if placement == PENULTIMATE:
        return _penultimate(model, graph, known)
    if placement not in known:
        near = difflib.get_close_matches(placement, known, n=3, cutoff=0.3) or list(known)[-3:]
        raise SplitError(
            f"{type(model).__name__} has no placement '{placement}'. Nearest: {', '.join(near)}. "
            f"All {len(known)}: {', '.join(known)}."
        )
    return placement


def split(model: nn.Module, placement: str) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Stem and tail of a model in eval mode, cut at a placement: `tail(stem(x)) == model(x)`, bitwise."""
    graph, names = trace(model)
    known = named_cuts(graph, names)
    cut = known[_resolve(model, graph, known, placement)]
    nodes = list(graph.nodes)
    at = nodes.index(cut)
    return _part(model, nodes[: at + 1], None, "Stem"), _part(model, nodes[at + 1 :], cut, "Tail")


def _overwritten(model: nn.Module, value: fx.Node) -> bool:
    """Whether some layer works in place on this value, or on a view of it."""
    for user in value.users:
        in_place = getattr(module_of(model, user), "inplace", False) or user.kwargs.get("inplace", False)
        if in_place or str(user.target).endswith("_") or user.target in IN_PLACE:
            return True
        if same_values(model, user) and _overwritten(model, user):
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


def linear_tail(tail: fx.GraphModule) -> LinearTail | None:
    """The tail as one linear map, or None when it is anything else than [pool], [flatten, dropout ...], Linear."""
    found = linear_layer(tail, tail.graph.nodes)
    if found is None:
        return None
    linear, pooled = found
    bias = linear.bias if linear.bias is not None else torch.zeros(linear.out_features)
    return LinearTail(linear.weight.detach(), bias.detach().to(linear.weight), pooled)


def numerators(tail: fx.GraphModule) -> fx.GraphModule | None:
    """Of a tail that ends in a divided head, logits = h(x) / g(x) (Hsu et al. 2020), the part up to h(x); else None."""
    (out,) = [node for node in tail.graph.nodes if node.op == "output"]
    last = out.args[0]
    if not isinstance(last, fx.Node) or last.target not in DIVISIONS or len(last.all_input_nodes) != 2:
        return None
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in list(tail.graph.nodes)[: list(tail.graph.nodes).index(last)]:
        made[node] = graph.node_copy(node, lambda source: made[source])
    graph.output(made[last.args[0]])  # type: ignore[index]
    part = fx.GraphModule(tail, graph, class_name="Numerators")
    part.graph.eliminate_dead_code()
    part.recompile()
    part.delete_all_unused_submodules()
    return part.eval()


@dataclass(frozen=True)
class Cut:
    """One placement of a network.

    `shape` is that of one sample's activation; `linear` says that its tail takes the one-pass sweep; `before_relu` that
    a ReLU follows at once; `signed` whether it may hold negative values, None where that is not known.
    """

    name: str
    shape: tuple[int, ...]
    linear: bool
    before_relu: bool
    signed: bool | None
    penultimate: bool = False

    @property
    def size(self) -> int:
        """The number of values of one sample."""
        return prod(self.shape)


def cuts(model: nn.Module, input_shape: tuple[int, ...]) -> list[Cut]:
    """All placements of a model in eval mode for inputs of a shape (C, H, W), in network order.

    Shapes come from the meta device: nothing is computed and no weights are read, so they may be on it too.
    """
    graph, names = trace(model)
    found = named_cuts(graph, names)
    nodes = list(graph.nodes)
    shapes = _shapes(model, graph, list(found.values()), input_shape)
    signed = signs(model, graph)
    try:
        last = _penultimate(model, graph, found)
    except SplitError:
        last = ""
    return [
        Cut(
            name=name,
            shape=shapes[node],
            linear=linear_layer(model, nodes[nodes.index(node) + 1 :]) is not None,
            before_relu=all(is_relu(model, user) for user in node.users),
            signed=signed[node],
            penultimate=name == last,
        )
        for name, node in found.items()
        if node in shapes
    ]


def _shapes(
    model: nn.Module, graph: fx.Graph, at: list[fx.Node], input_shape: tuple[int, ...]
) -> dict[fx.Node, tuple[int, ...]]:
    """The shape of one sample at nodes; a node that is no tensor with a row for every sample has none."""
    whole = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.op != "output":
            made[node] = whole.node_copy(node, lambda source: made[source])
    whole.output([made[node] for node in at])
    probe = fx.GraphModule(model, whole).eval()
    real = {**dict(probe.named_parameters()), **dict(probe.named_buffers())}
    state = {name: torch.empty_like(value, device="meta") for name, value in real.items()}
    values: list[list[Tensor]] = []
    try:
        for count in (2, 3):
            with torch.inference_mode():
                values.append(torch.func.functional_call(probe, state, torch.empty(count, *input_shape, device="meta")))
    except Exception as error:  # whatever a layer says of a shape that it does not take
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        size = " x ".join(map(str, input_shape))
        raise SplitError(f"{type(model).__name__} does not compute on inputs of {size}: {reason}") from error
    return {
        node: tuple(two.shape[1:])
        for node, two, three in zip(at, *values, strict=True)
        if isinstance(two, Tensor)
        and (two.shape[:1], three.shape[:1]) == ((2,), (3,))
        and two.shape[1:] == three.shape[1:]
    }


class _MetaWeights(TorchFunctionMode):
    """Weights are made on the meta device, without memory; small tables that a constructor computes with are not."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


@cache
def cuts_of_architecture(
    build: Callable[[], nn.Module], input_shape: tuple[int, ...], whole: bool = False
) -> tuple[Cut, ...]:
    """`cuts` of a network that is built for it, without memory for its weights where its constructor allows that.

    `whole`: built as it is, because the function that builds it is anybody's and may do more than construct.
    """
    return tuple(cuts((build() if whole else weightless(build)).eval(), input_shape))


def weightless(build: Callable[[], nn.Module]) -> nn.Module:
    """A network without memory for its weights, on the meta device, where its constructor allows that."""
    try:
        with _MetaWeights():
            return build()
    except Exception:  # a constructor may look at its weights
        return build()
