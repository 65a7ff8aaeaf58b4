"""Whether a network answers the same image the same: twice, by its graph, and whatever is beside it in the batch."""

import traceback
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ash.networks.failures import SplitError, place_of, reason_of
from ash.networks.graphs import trace, where
from ash.networks.operations import function_of, module_of, same_values
from ash.networks.outputs import logits_of, unwrapped

MOST = 3  # images in the largest batch that is tried
NORMALISED = 1e-4  # how far from 1 the sum of what counts as probabilities may lie


def check_answers(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Run a model in eval mode on noise of a shape (C, H, W), nine images in all; returns the number of its logits.

    SplitError where it cannot be traced or takes no such images, where it draws random numbers that are not the same
    each time, however seldom they show, or remembers, where its graph computes something else, where an image's logits
    hang on how many are in the batch, or where they are no logits but probabilities: with the part that does it.
    """
    model = unwrapped(model)
    graph, names = trace(model)
    name = type(model).__name__
    x = torch.randn(MOST, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), _Draws() as draws:
        logits = _answer(model, x)
    kept = {key: value.clone() for key, value in model.named_buffers()}
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != MOST:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise SplitError(f"{name} makes {got} of {MOST} images, not a row of logits for each.")
    part = fx.GraphModule(model, graph).eval()
    with torch.inference_mode():
        if draws.found and (what := _first_other_draw(model, x, draws)):
            raise SplitError(f"{name} draws other random numbers at every call, also in eval mode: {what}.")
        if not _same(part(x), logits):
            raise SplitError(_why_not_fixed(model, part, names, x))
        for count in (2, 1):
            fewer = _answer(model, x[:count])
            if fewer.shape != logits[:count].shape or not _close(fewer, logits[:count]):
                raise SplitError(_why_by_the_batch(name, part, names, x, count, fewer))
    for key, value in model.named_buffers():
        if key in kept and not _same(value, kept[key]):
            raise SplitError(f"{name} is not fixed in eval mode: it changes its buffer `{key}` whenever it is run.")
    if what := _other_than_logits(model, graph, logits):
        raise SplitError(
            f"{name} makes {what} instead of logits, which Energy and the other scores are made of: take that layer "
            "off its end."
        )
    return logits.shape[1]


def _answer(model: nn.Module, x: Tensor) -> Any:
    """The model's answer; SplitError for what it says of inputs, or weights, that do not fit."""
    try:
        return logits_of(model, model(x))
    except SplitError:
        raise
    except Exception as error:  # whatever the network's code raises
        kinds = {str(one.dtype).removeprefix("torch.") for one in model.parameters() if one.is_floating_point()}
        other = kinds - {"float32"}
        help_ = (
            f" Its weights are {' and '.join(sorted(kinds))}, its images float32: call .float() on it." if other else ""
        )
        shape = " x ".join(map(str, x.shape[1:]))
        name = type(model).__name__
        raise SplitError(
            f"{name} does not compute on inputs of {shape}, {len(x)} at once: {reason_of(error)}.{help_}"
        ) from error


def _other_than_logits(model: nn.Module, graph: fx.Graph, made: Tensor) -> str:
    """What a network makes in place of logits, in words, "" for logits: a softmax of any make, or a sigmoid, ends it.

    Energy would be 0 for every image behind a log-softmax, and its rounding the only thing that a table shows.
    """
    rows = made.double()
    if rows.shape[1] > 1 and bool(((rows >= 0).all(1) & ((rows.sum(1) - 1).abs() < NORMALISED)).all()):
        return "probabilities (a softmax)"
    if rows.shape[1] > 1 and bool(((rows <= 0).all(1) & (rows.logsumexp(1).abs() < NORMALISED)).all()):
        return "logarithms of probabilities (a log-softmax)"
    (out,) = (node for node in graph.nodes if node.op == "output")
    last = out.args[0]
    while isinstance(last, fx.Node) and same_values(model, last):
        last = last.all_input_nodes[0]
    squashed = isinstance(module_of(model, last), nn.Sigmoid | nn.Hardsigmoid)
    return "values from 0 to 1 (a sigmoid)" if squashed or function_of(last) in ("sigmoid", "hardsigmoid") else ""


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two results are the same bits; NaN is NaN."""
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two results agree in half of their digits: batches of other sizes are rounded in other ways."""
    one, other = one.double().nan_to_num(), other.double().nan_to_num()
    eps = torch.finfo(torch.float32).eps ** 0.5
    return bool((one - other).abs().amax() <= eps * other.abs().amax())


def _why_not_fixed(model: nn.Module, part: fx.GraphModule, names: dict[fx.Node, str], x: Tensor) -> str:
    """One sentence on a network whose second answer differs from its first."""
    name = type(model).__name__
    if _same(_answer(model, x), _answer(model, x)):
        return (
            f"{name} computes something else than torch.fx records of its forward function: a hook on it, or Python "
            "that is decided anew at every call. Take hooks off, and decide it in the constructor."
        )
    first = _first_difference(part, x, MOST, exact=True)
    what = where(first, names[first]) if first else "something that torch.fx does not record"
    return f"{name} gives other logits when it sees the same images twice in eval mode: {what} is random or remembers."


def _why_by_the_batch(
    name: str, part: fx.GraphModule, names: dict[fx.Node, str], x: Tensor, count: int, fewer: Tensor
) -> str:
    """One sentence on a network whose logits for an image hang on the number of images."""
    first = _first_difference(part, x, count, exact=False)
    what = where(first, names[first]) if first else "its Python"
    if fewer.shape[:1] != (count,):
        return (
            f"{name} makes {tuple(fewer.shape)} of {count} image{'s' * (count > 1)}: {what} goes by the batch's size."
        )
    return f"{name} gives an image other logits when others are beside it in the batch: {what} goes by the whole batch."


def _first_difference(part: fx.GraphModule, x: Tensor, count: int, exact: bool) -> fx.Node | None:
    """The first node that answers the first `count` images otherwise than among all of them, or than before."""
    whole, fewer = _Values(part), _Values(part)
    whole.run(x)
    with suppress(RuntimeError):  # then it has come as far as it can
        fewer.run(x[:count])
    for node in part.graph.nodes:
        one, other = whole.values.get(node), fewer.values.get(node)
        if not isinstance(one, Tensor) or not one.is_floating_point() or node.op == "output":
            continue
        if other is None:
            return node
        expected = one[:count] if one.dim() and len(one) == MOST else one
        if other.shape != expected.shape or not (_same if exact else _close)(other, expected):
            return node
    return None


class _Values(fx.Interpreter):
    """Runs a graph and keeps what every node computed."""

    def __init__(self, part: fx.GraphModule) -> None:
        super().__init__(part, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        self.values[n] = found.clone() if isinstance(found, Tensor) else found  # a later layer may write into it
        return found


class _Draws(TorchDispatchMode):
    """Remembers every draw of random numbers while a network runs: the generator's state before it, and what draws.

    An operation that may draw but does not, as dropout in eval mode, leaves its generator as it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Tensor, str]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What is not compiled need not be left out of it, for which torch would load its compiler (see `vision`)."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **given)
        generators = (one for one in (*args, *given.values()) if isinstance(one, torch.Generator))
        generator = next(generators, torch.default_generator)
        before = generator.get_state()
        result = func(*args, **given)
        if not torch.equal(before, generator.get_state()):
            place = place_of(traceback.walk_stack(None))
            self.found.append((before, f"`{func.overloadpacket.__name__}`" + (f" ({place})" if place else "")))
        return result


def _first_other_draw(model: nn.Module, x: Tensor, draws: _Draws) -> str:
    """What draws from another state when the model runs again, and so other numbers; "" for a network that seeds."""
    with _Draws() as again:
        model(x)
    pairs = zip(draws.found, again.found, strict=False)
    return next((what for (before, what), (now, _) in pairs if not torch.equal(before, now)), "")
