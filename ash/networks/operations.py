"""What a node of a network's graph does to the values that pass through it."""

import operator
import re

import torch
from torch import fx, nn

DIVISIONS = (operator.truediv, torch.div, torch.true_divide, torch.divide, "div", "true_divide", "divide")
IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)
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


def changes(model: nn.Module, node: fx.Node) -> str:
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
    return any(writes(model, user) or (is_view(model, user) and writes_into(model, user)) for user in value.users)


def writes(model: nn.Module, node: fx.Node) -> bool:
    """Whether a node works in place on its input."""
    in_place = getattr(module_of(model, node), "inplace", False) or node.kwargs.get("inplace", False)
    function = function_of(node)
    named = function == "setitem" or re.fullmatch(r"[^_].*[^_]_", function) is not None
    return bool(in_place) or node.target in IN_PLACE or named


def is_view(model: nn.Module, node: fx.Node) -> bool:
    return same_values(model, node) or function_of(node) in VIEWS


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
