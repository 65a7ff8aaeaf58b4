"""A network's traced graph, and its nodes by name."""

import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx, nn

from ash.networks.failures import SplitError, place_of, reason_of
from ash.networks.operations import changes, is_view, writes
from ash.networks.outputs import logits_of, unwrapped, with_article
from ash.networks.vision import NodePathTracer

HELP = (
    "What helps: decide it once in the constructor, or hide a function from the tracing with torch.fx.wrap('its name')."
)


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
        raise SplitError(
            f"{name} returns {with_article(getattr(kind, '__name__', str(kind)))}, not a tensor of logits."
        )
    if not everything or not tracer.whole_answer:
        _leave_out_what_is_not_needed(model, graph)
    names = dict(tracer.node_to_qualname)
    for node in graph.nodes:
        changing = changes(model, node)
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
            if node not in needed and writes(model, node) and _seen_through(model, node.all_input_nodes[0]) & needed
        ]
    for node in reversed(list(graph.nodes)):
        if node not in needed:
            graph.erase_node(node)


def _seen_through(model: nn.Module, node: fx.Node) -> set[fx.Node]:
    """A node and those whose memory it may be a view of."""
    found = {node}
    while is_view(model, node) and node.all_input_nodes:
        node = node.all_input_nodes[0]
        found.add(node)
    return found
