"""A network and a placement -> stem, tail, by cutting the graph that torch.fx traces.

A node is a placement when it is the only live value at that point of the graph, so `tail(stem(x)) == model(x)` bitwise
in eval mode. Names are torchvision's dotted node names (`layer4.2.add`, `avgpool`). Stem and tail share the model's
weights; there are no hooks, so two users of one model cannot meet.
"""

import difflib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.overrides import TorchFunctionMode

from ash.networks.entries import PENULTIMATE
from ash.networks.failures import SplitError, reason_of
from ash.networks.flow import Flow, named_cuts
from ash.networks.graphs import trace, where
from ash.networks.heads import LinearTail, is_affine, linear_form, linear_tail, way_to_the_head
from ash.networks.operations import DIVISIONS, is_relu, signs, writes_into
from ash.networks.outputs import unwrapped

__all__ = [
    "PENULTIMATE",
    "Cut",
    "LinearTail",
    "SplitError",
    "check_penultimate",
    "cuts",
    "cuts_of_architecture",
    "linear_tail",
    "numerators",
    "placements",
    "resolve",
    "split",
]


def placements(model: nn.Module) -> list[str]:
    """The names of all placements of a model in eval mode, in network order."""
    model = unwrapped(model)
    return list(named_cuts(model, *trace(model)))


def _penultimate(model: nn.Module, graph: fx.Graph, known: dict[str, fx.Node], names: dict[fx.Node, str]) -> str:
    """The placement whose values enter the head that makes the logits, before any flatten or dropout on the way."""
    try:
        way = way_to_the_head(model, graph, names)
    except SplitError as error:
        raise SplitError(f"{error} Placements: {', '.join(known) or 'there is none'}.") from error
    cut_at = {node: name for name, node in known.items()}
    found = [cut_at[node] for node in way if node in cut_at]
    if found:
        return found[-1]
    beside = [where(node, names[node]) for node in Flow(model, graph).beside(way[-1])]
    raise SplitError(
        f"{type(model).__name__} cannot be cut at its penultimate tensor, {where(way[-1], names[way[-1]])}, alone: "
        f"{' and '.join(beside) or 'another value'} is still needed behind it. Name another placement: "
        f"{', '.join(known) or 'there is none'}."
    )


def check_penultimate(model: nn.Module) -> None:
    """SplitError, in a sentence, where a model in eval mode has no penultimate tensor, or cannot be cut at it alone."""
    model = unwrapped(model)
    graph, names = trace(model)
    way = way_to_the_head(model, graph, names)
    if not set(way) & set(named_cuts(model, graph, names).values()):
        last = where(way[-1], names[way[-1]])
        raise SplitError(f"{type(model).__name__} cannot be cut at its penultimate tensor, {last}, alone.")


def resolve(model: nn.Module, placement: str) -> str:
    """The node name of a placement: `penultimate` resolved, anything else checked; SplitError names near ones."""
    model = unwrapped(model)
    graph, names = trace(model)
    return _resolve(model, graph, named_cuts(model, graph, names), names, placement)


def _resolve(
    model: nn.Module, graph: fx.Graph, known: dict[str, fx.Node], names: dict[fx.Node, str], placement: str
) -> str:
    if placement == PENULTIMATE:
        return _penultimate(model, graph, known, names)
    if placement not in known:
        near = difflib.get_close_matches(placement, known, n=3, cutoff=0.3) or list(known)[-3:]
        raise SplitError(
            f"{type(model).__name__} has no placement '{placement}'. Nearest: {', '.join(near)}. "
            f"All {len(known)}: {', '.join(known)}."
        )
    return placement


def split(model: nn.Module, placement: str) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Stem and tail of a model in eval mode, cut at a placement: `tail(stem(x)) == model(x)`, bitwise."""
    model = unwrapped(model)
    graph, names = trace(model)
    known = named_cuts(model, graph, names)
    cut = known[_resolve(model, graph, known, names, placement)]
    flow = Flow(model, graph)
    at = flow.nodes.index(cut)
    return _part(flow, flow.nodes[: at + 1], None, "Stem"), _part(flow, flow.nodes[at + 1 :], cut, "Tail")


def _part(flow: Flow, nodes: list[fx.Node], start: fx.Node | None, name: str) -> fx.GraphModule:
    """A module of some nodes of the model's graph. With `start`, that node's value is the input."""
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    if start is not None:
        made[start] = graph.placeholder("activation")
        if writes_into(flow.model, start):  # the caller's activation is never modified
            made[start] = graph.call_method("clone", (made[start],))

    def copied(node: fx.Node) -> fx.Node:
        if node not in made:
            if start is not None and flow.rows[start] and flow.counts_rows(node):
                made[node] = graph.call_method("size", (made[start], 0))
            else:
                made[node] = graph.node_copy(node, copied)
        return made[node]

    for node in nodes:
        if node.op == "output":
            graph.output(map_arg(node.args[0], copied))
        elif not flow.recomputed(node):  # what is made of weights and counts alone is made where it is used
            copied(node)
    if start is None:
        graph.output(made[nodes[-1]])
    part = fx.GraphModule(flow.model, graph, class_name=name)
    part.delete_all_unused_submodules()
    return part.eval()


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
    model = unwrapped(model)
    graph, names = trace(model)
    found = named_cuts(model, graph, names)
    shapes = _shapes(model, graph, list(found.values()), input_shape)
    signed, flow = signs(model, graph), Flow(model, graph)
    try:
        last = _penultimate(model, graph, found, names)
    except SplitError:
        last = ""
    return [
        Cut(
            name=name,
            shape=shapes[node],
            linear=_is_linear(flow, node, shapes[node]),
            before_relu=all(is_relu(model, user) for user in node.users),
            signed=signed[node],
            penultimate=name == last,
        )
        for name, node in found.items()
        if node in shapes
    ]


def _is_linear(flow: Flow, cut: fx.Node, shape: tuple[int, ...]) -> bool:
    """Whether what is behind a cut is one linear map: by its graph and, where the weights are there, by its answers."""
    behind = flow.nodes[flow.nodes.index(cut) + 1 :]
    if linear_form(flow, behind, cut, shape) is None and not is_affine(flow, behind, cut, shape):
        return False
    if any(weight.is_meta for weight in flow.model.parameters()):
        return True
    return linear_tail(_part(flow, behind, cut, "Tail"), shape) is not None


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
        with torch.inference_mode():
            for count in (2, 3):
                images = torch.empty(count, *input_shape, device="meta")
                values.append(torch.func.functional_call(probe, state, images))
    except Exception as error:  # whatever a layer says of a shape it does not take, or of values that are not there
        values = _for_real(probe, input_shape)
        if not values:
            size = " x ".join(map(str, input_shape))
            raise SplitError(
                f"{type(model).__name__} does not compute on inputs of {size}: {reason_of(error)}"
            ) from error
    return {
        node: tuple(two.shape[1:])
        for node, two, three in zip(at, *values, strict=True)
        if isinstance(two, Tensor)
        and (two.shape[:1], three.shape[:1]) == ((2,), (3,))
        and two.shape[1:] == three.shape[1:]
    }


def _for_real(probe: fx.GraphModule, input_shape: tuple[int, ...]) -> list[list[Tensor]]:
    """What a graph computes of two and of three images; nothing where its weights are not here, or it fails again."""
    if any(value.is_meta for value in (*probe.parameters(), *probe.buffers())):
        return []
    with suppress(Exception), torch.inference_mode():
        return [probe(torch.zeros(count, *input_shape)) for count in (2, 3)]
    return []


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
