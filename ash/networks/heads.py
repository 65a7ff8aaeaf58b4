"""The head of a network, what makes its logits, found by the flow of data; and the head as one matrix and one bias."""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from ash.networks.failures import SplitError
from ash.networks.flow import Flow, Kind
from ash.networks.graphs import where
from ash.networks.operations import function_of, is_global_pool, module_of, same_values

PRODUCTS = (
    *("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "tensordot", "inner", "bilinear", "cdist"),
    *("conv1d", "conv2d", "conv3d", "cosine_similarity"),
)
PLAIN_MODULES = (  # work value by value, or take means: what they give is made of the same features
    *(nn.Identity, nn.Flatten, nn.modules.dropout._DropoutNd, nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool1d),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardtanh),
    *(nn.Softmax, nn.LogSoftmax, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm),
)
SCALINGS = {
    **dict.fromkeys(("add", "iadd", "add_"), "add"),
    **dict.fromkeys(("sub", "isub", "sub_", "subtract"), "sub"),
    **dict.fromkeys(("mul", "imul", "mul_", "multiply"), "mul"),
    **dict.fromkeys(("div", "truediv", "itruediv", "div_", "true_divide", "divide"), "div"),
}
PLAIN_FUNCTIONS = (
    *SCALINGS,
    *("neg", "softmax", "log_softmax", "sigmoid", "tanh", "relu", "relu_", "clamp", "softplus", "exp", "log", "gelu"),
    *("adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "layer_norm", "clone", "float", "double", "half", "bfloat16"),
    *("to", "type_as", "type"),
)
MOST_UNITS = 2**13  # of a tail whose matrix is told from unit vectors
SCALES = (0.01, 1.0, 100.0)  # of the activations on which a matrix is compared with the head that it stands for
_LOG = logging.getLogger(__name__)


def way_to_the_head(model: nn.Module, graph: fx.Graph, names: dict[fx.Node, str]) -> list[fx.Node]:
    """The tensor that enters the head, and before it those of the same values: before dropout, flatten, a unit norm.

    The head is the last operation with weights on the way to the logits, whatever its class, with the batch norm right
    before it, which is part of the same linear map. SplitError where there is
    none, where several tensors enter, or where an operation lies between it and the logits that may mix features.
    """
    flow = Flow(model, graph)
    (out,) = (node for node in flow.nodes if node.op == "output")
    return _before(flow, _entering(flow, out.all_input_nodes[0], names, {}))


def _entering(flow: Flow, node: fx.Node, names: dict[fx.Node, str], known: dict[fx.Node, fx.Node]) -> fx.Node:
    """The one tensor that enters the head, or the heads, from which a node behind them is made."""
    if node in known:
        return known[node]
    model, sources = type(flow.model).__name__, flow.values(node)
    advice = "so its penultimate placement is not known: name another placement"
    if node.op == "placeholder" or not sources:
        raise SplitError(f"{model} has no linear or convolutional layer, so no penultimate placement.")
    if _has_weights(flow, node):
        if len(sources) > 1:
            raise SplitError(
                f"The head of {model}, {where(node, names[node])}, takes {len(sources)} tensors, {advice}."
            )
        known[node] = _before_its_norm(flow, sources[0])
    elif _is_plain(flow, node):
        found = {_before(flow, _entering(flow, source, names, known))[-1]: source for source in sources}
        if len(found) > 1:
            ways = " and ".join(where(one, names[one]) for one in found)
            raise SplitError(
                f"{where(node, names[node])} of {model} joins what is made of different tensors, {ways}, {advice}."
            )
        known[node] = _entering(flow, sources[0], names, known)
    else:
        raise SplitError(
            f"Between the last layer with weights of {model} and its logits lies {where(node, names[node])}, {advice}."
        )
    return known[node]


def _before_its_norm(flow: Flow, entering: fx.Node) -> fx.Node:
    """What enters a head: before a batch norm of stored statistics, where there is one, or else the tensor itself."""
    norm = entering
    while same_values(flow.model, norm) and flow.values(norm):
        norm = flow.values(norm)[0]
    return flow.values(norm)[0] if _is_fixed_norm(flow, norm) else entering


def _is_fixed_norm(flow: Flow, node: fx.Node) -> bool:
    """Whether a node is a batch norm of torch in eval mode: every channel times a number, plus another."""
    module = module_of(flow.model, node)
    if not isinstance(module, nn.modules.batchnorm._BatchNorm) or module.running_mean is None:
        return False
    return type(module).forward is nn.modules.batchnorm._BatchNorm.forward and not _has_more(module)


def _has_more(module: Any) -> bool:
    """Whether a layer does more than its class says: hooks, or a forward function of its own."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _has_weights(flow: Flow, node: fx.Node) -> bool:
    """Whether a node mixes features by weights."""
    module = module_of(flow.model, node)
    if module is not None:
        return not isinstance(module, PLAIN_MODULES) and next(module.parameters(), None) is not None
    weights = any(flow.kind[source] is Kind.WEIGHT for source in node.all_input_nodes)
    return weights and function_of(node) in PRODUCTS


def _is_plain(flow: Flow, node: fx.Node) -> bool:
    """Whether a node behind the head leaves it the head: values one by one, or the mean of every map."""
    module = module_of(flow.model, node)
    if module is not None:
        return isinstance(module, PLAIN_MODULES)
    return function_of(node) in PLAIN_FUNCTIONS or same_values(flow.model, node) or is_global_pool(flow.model, node)


def _before(flow: Flow, node: fx.Node) -> list[fx.Node]:
    """A node and those before it that have its values, up to their length: the last is the first to be made."""
    way = [node]
    while True:
        source = _unit_norm_of(flow, way[-1])
        if source is None and same_values(flow.model, way[-1]) and flow.values(way[-1]):
            source = flow.values(way[-1])[0]
        if source is None:
            return way
        way.append(source)


def _unit_norm_of(flow: Flow, node: fx.Node) -> fx.Node | None:
    """The tensor that a node divides by its own length, as a cosine head does first; None for any other node."""
    sources = flow.values(node)
    if function_of(node) == "normalize":
        return sources[0]
    if SCALINGS.get(function_of(node)) != "div" or len(sources) != 2:
        return None
    divided, length = sources
    waiting, norms = [length], False
    while waiting:
        one = waiting.pop()
        if one is divided:
            continue
        if one.op not in ("call_function", "call_method") or _has_weights(flow, one):
            return None
        norms = norms or function_of(one) in ("norm", "vector_norm", "linalg_norm", "linalg_vector_norm", "sqrt")
        waiting += flow.values(one)
    return divided if norms else None


@dataclass(frozen=True)
class LinearTail:
    """A tail that is one linear map: logits = x @ weight.T + bias, for x the sample's mean over H, W when `pooled`.

    weight (C, F), bias (C,). Such tails take the one-pass sweep.
    """

    weight: Tensor
    bias: Tensor
    pooled: bool


@dataclass(frozen=True)
class LinearForm:
    """Nodes that are [pool], [flatten, dropout ...], a linear `head`, constants that scale or shift it (`after`)."""

    head: fx.Node
    after: tuple[fx.Node, ...]
    pooled: bool


def linear_form(
    flow: Flow, nodes: Sequence[fx.Node], start: fx.Node, features: tuple[int, ...] | None = None
) -> LinearForm | None:
    """The nodes behind `start` as one linear map, None where they are anything else. Weights are not read.

    `features`: the shape of one sample at `start`, None where it is not known.
    """
    pooled, head, after, last = False, None, [], start
    one_pixel = features is not None and features[1:] == (1, 1)
    for node in nodes:
        if flow.kind[node] is not Kind.VALUE or node.op == "placeholder":
            continue
        if flow.values(node) != [last]:
            return None
        if node.op == "output":
            return None if head is None else LinearForm(head, tuple(after), pooled)
        if node.target == "clone" or same_values(flow.model, node):
            pass
        elif head is None and not pooled and is_global_pool(flow.model, node):
            pooled = True
        elif head is None and _is_linear(flow, node, pooled or one_pixel):
            head = node
        elif head is not None and _is_scaling(flow, node):
            after.append(node)
        else:
            return None
        last = node
    return None


def _is_linear(flow: Flow, node: fx.Node, one_pixel: bool) -> bool:
    """Whether a node is x @ W.T + b and no more than that; a 1 x 1 convolution is where H and W are 1."""
    module = module_of(flow.model, node)
    if module is not None:
        more = _has_more(module)
        kind = type(module).forward
        if kind is nn.Conv2d.forward and isinstance(module, nn.Conv2d):
            one = (module.kernel_size, module.stride, module.padding, module.groups) == ((1, 1), (1, 1), (0, 0), 1)
            return one and one_pixel and not more
        return kind is nn.Linear.forward and not more
    weights = [flow.kind[one] is Kind.WEIGHT if isinstance(one, fx.Node) else one is None for one in node.args]
    weights += [
        isinstance(one, fx.Node) and flow.kind[one] is Kind.WEIGHT for one in node.kwargs.values() if one is not None
    ]
    match function_of(node), weights:
        case "linear", [False, True] | [False, True, True]:
            return True
        case "matmul" | "mm", [False, True]:
            return True
        case "addmm", [True, False, True]:
            return not node.kwargs
    return False


def _is_scaling(flow: Flow, node: fx.Node) -> bool:
    """Whether a node adds constants to logits, or multiplies them by constants."""
    if len(node.args) != 2 or node.kwargs:
        return False
    first, second = node.args
    known = SCALINGS.get(function_of(node))
    constant = second if isinstance(first, fx.Node) and flow.kind[first] is Kind.VALUE else first
    if isinstance(constant, fx.Node) and flow.kind[constant] is not Kind.WEIGHT:
        return False
    return known in ("add", "mul") or (known in ("sub", "div") and constant is second)


def is_affine(flow: Flow, nodes: Sequence[fx.Node], start: fx.Node, features: tuple[int, ...] | None) -> bool:
    """Whether the nodes behind `start` are one linear map that is no chain: several heads added, norms before them."""
    if features is None or any(size != 1 for size in features[1:]):
        return False
    known = {start}
    for node in nodes:
        if flow.kind[node] is not Kind.VALUE or node.op == "placeholder":
            continue
        sources, known_by = flow.values(node), SCALINGS.get(function_of(node))
        if not known.issuperset(sources):
            return False
        if node.op == "output":
            return isinstance(node.args[0], fx.Node)
        joined = known_by in ("add", "sub") and len(sources) == 2 and not node.kwargs
        one = len(sources) == 1 and (
            node.target == "clone" or same_values(flow.model, node) or _is_linear(flow, node, True)
            or _is_fixed_norm(flow, node) or _is_scaling(flow, node)
        )  # fmt: skip
        if not (joined or one):
            return False
        known.add(node)
    return False


def _evaluated(tail: fx.GraphModule, features: tuple[int, ...]) -> LinearTail | None:
    """Weight and bias of a tail that `is_affine`, as float64 tells them from what it makes of unit vectors."""
    size = math.prod(features)
    held = next(tail.parameters(), None)
    if held is None or held.dtype != torch.float32 or size > MOST_UNITS:
        return None
    exact = copy.deepcopy(tail).double()
    with torch.inference_mode(False), torch.no_grad():
        bias = exact(torch.zeros(1, *features, dtype=torch.float64, device=held.device))[0]
        units = torch.eye(size, dtype=torch.float64, device=held.device).view(size, *features)
        weight = torch.cat([exact(part) - bias for part in units.split(256)])
    return LinearTail(weight.T.float().contiguous(), bias.float(), False)


def linear_tail(tail: nn.Module, features: tuple[int, ...] | None = None) -> LinearTail | None:
    """The tail as one linear map, or None when it is anything else than [pool], [flatten, dropout ...], linear.

    What the graph promises is compared with what the tail answers, on activations of the shape `features` (default: of
    any that fits), and nothing is returned where the two differ: such a tail is evaluated as it is.
    """
    if isinstance(tail, fx.GraphModule):
        flow = Flow(tail, tail.graph)
        (start,) = (node for node in flow.nodes if node.op == "placeholder")
        form = linear_form(flow, flow.nodes, start, features)
        found = None if form is None else _matrix(flow, form)
        if form is None and features is not None and is_affine(flow, flow.nodes, start, features):
            found = _evaluated(tail, features)
    else:
        found = _tail_of(tail.weight, tail.bias, False) if isinstance(tail, nn.Linear) else None
    if found is None or found.weight.dim() != 2 or _agrees(found, tail, features):
        return found if found is None or found.weight.dim() == 2 else None
    _LOG.warning(
        "The last layer computes something else than its matrix and its bias say: methods are evaluated one by one."
    )
    return None


def _tail_of(weight: Tensor, bias: Tensor | None, pooled: bool) -> LinearTail:
    bias = torch.zeros(len(weight)) if bias is None else bias.detach()
    return LinearTail(weight.detach(), bias.to(weight), pooled)


def _matrix(flow: Flow, form: LinearForm) -> LinearTail:
    """Weight and bias of a linear form, with the constants behind it."""
    with torch.inference_mode(False), torch.no_grad():
        weight, bias = _weight_and_bias(flow, form.head)
        made = _tail_of(weight, bias, form.pooled)
        weight, bias = made.weight, made.bias
        for node in form.after:
            first, second = (_constant(flow, one) for one in node.args)
            constant = torch.as_tensor(second if first is None else first).to(weight).reshape(-1)
            match SCALINGS[function_of(node)]:
                case "add":
                    bias = bias + constant
                case "sub":
                    bias = bias - constant
                case "mul":
                    weight, bias = weight * constant[:, None], bias * constant
                case "div":
                    weight, bias = weight / constant[:, None], bias / constant
        return LinearTail(weight, bias, form.pooled)


def _weight_and_bias(flow: Flow, head: fx.Node) -> tuple[Tensor, Tensor | None]:
    module: Any = module_of(flow.model, head)
    if module is not None:
        return module.weight.flatten(1), module.bias
    given = [_constant(flow, one) for one in head.args]
    match function_of(head):
        case "linear":
            named = dict(zip(("weight", "bias"), given[1:], strict=False))
            named |= {name: _constant(flow, one) for name, one in head.kwargs.items()}
            return named["weight"], named.get("bias")
        case "addmm":
            return given[2].T, given[0]
    return given[1].T, None


def _constant(flow: Flow, value: Any) -> Any:
    """What a node that is made of weights alone computes, or the number that stands in its place; None for others."""
    if not isinstance(value, fx.Node):
        return value
    if flow.kind[value] is not Kind.WEIGHT:
        return None
    if value.op == "get_attr":
        return attrgetter(str(value.target))(flow.model)
    args: Any = map_arg(value.args, lambda one: _constant(flow, one))
    kwargs: Any = map_arg(value.kwargs, lambda one: _constant(flow, one))
    if value.op == "call_module":
        return flow.model.get_submodule(str(value.target))(*args, **kwargs)
    if value.op == "call_method":
        return getattr(args[0], str(value.target))(*args[1:], **kwargs)
    return value.target(*args, **kwargs)  # type: ignore[operator]


def _agrees(found: LinearTail, tail: nn.Module, features: tuple[int, ...] | None) -> bool:
    """Whether a tail answers as a linear map does, twice, on activations of several sizes, up to rounding.

    True for activations of another shape than the map takes: that is said by whoever gives them.
    """
    weight, size = found.weight, found.weight.shape[1]
    shapes = [(size, 3, 3)] if found.pooled else [(size,), (size, 1, 1)]
    if features is not None:
        if (len(features) != 3 or features[0] != size) if found.pooled else math.prod(features) != size:
            return True
        shapes = [features]
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(4 * len(SCALES), math.prod(shapes[0]), generator=draw)
    noise[::2].clamp_(min=0)
    x = (noise * torch.tensor(SCALES).repeat_interleave(4)[:, None]).to(weight)
    with torch.inference_mode():
        answers = next((two for shape in shapes if (two := _twice(tail, x.view(-1, *shape))) is not None), None)
        if answers is None:
            return False
        wide = torch.promote_types(weight.dtype, torch.float32)
        means = x.to(wide).view(len(x), size, -1).mean(2)
        matrix, bias = weight.to(wide), found.bias.to(wide)
        expected, most = means @ matrix.T + bias, means.abs() @ matrix.abs().T + bias.abs()
        allowed = 64 * torch.finfo(wide).eps * most + torch.finfo(wide).tiny
        return all(
            answer.shape == expected.shape and bool(((answer.to(wide) - expected).abs() <= allowed).all())
            for answer in answers
        )


def _twice(tail: nn.Module, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """What a tail answers on the same activations twice; None where it does not take their shape."""
    try:
        return tail(x.clone()), tail(x.clone())
    except (RuntimeError, IndexError):
        return None
