"""What passes along a traced graph: the images' values, sizes, weights; and so where the graph can be cut in two."""

from collections.abc import Iterable, Iterator
from enum import Enum, auto

from torch import fx, nn

from ash.networks.operations import function_of, module_of, writes_into

NO_TENSOR = ("chunk", "split", "unbind", "size", "getattr")
SHAPES = ("shape", "ndim")
REDUCE = ("mean", "sum", "amax", "amin", "max", "min", "prod", "std", "var", "norm", "softmax", "log_softmax", "cumsum")
SWAPS = (
    "transpose",
    "swapaxes",
    "swapdims",
    "movedim",
    "moveaxis",
    "unsqueeze",
    "squeeze",
    "unbind",
    "select",
    "narrow",
)
SCATTERS = (
    *("t", "T", "stack", "chunk", "split", "tensor_split", "unfold", "fold", "einsum", "repeat_interleave", "repeat"),
    *("roll", "flip", "gather", "index_select", "masked_select", "take", "sort", "topk", "nonzero", "where"),
)


class Kind(Enum):
    """What a node's value is made of."""

    VALUE = auto()  # of the images' values
    SIZE = auto()  # of their shape
    BATCH = auto()  # of their number alone
    WEIGHT = auto()  # of weights and constants


class Flow:
    """The nodes of a graph by `kind`, and whether the `rows` of a value are the images of the batch for certain."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self.model, self.nodes = model, list(graph.nodes)
        self.kind: dict[fx.Node, Kind] = {}
        self.rows: dict[fx.Node, bool] = {}
        for node in self.nodes:
            self.kind[node] = self._kind(node)
            self.rows[node] = self.kind[node] is Kind.VALUE and self._keeps_rows(node)
        self._position = {node: i for i, node in enumerate(self.nodes)}

    def values(self, node: fx.Node) -> list[fx.Node]:
        """The inputs of a node that are made of the images' values."""
        return [source for source in node.all_input_nodes if self.kind[source] is Kind.VALUE]

    def counts_rows(self, node: fx.Node) -> bool:
        """Whether a node reads the number of images from a value: `x.size(0)`, or `[0]` of its shape."""
        sources = {self.kind[source] for source in node.all_input_nodes}
        return self.kind[node] is Kind.BATCH and not sources <= {Kind.BATCH, Kind.WEIGHT}

    def recomputed(self, node: fx.Node) -> bool:
        """Whether a tail makes this value again where it needs it: of weights, or of the number of images."""
        return self.kind[node] in (Kind.WEIGHT, Kind.BATCH) or self._only_counts(node)

    def _only_counts(self, node: fx.Node) -> bool:
        """Whether a shape is read for nothing but the number of images."""
        return self.kind[node] is Kind.SIZE and bool(node.users) and all(map(self.counts_rows, node.users))

    def _kind(self, node: fx.Node) -> Kind:
        if node.op == "placeholder":
            return Kind.VALUE
        kinds = {self.kind[source] for source in node.all_input_nodes}
        if _reads_shape(node):
            source = node.all_input_nodes[0]
            if self.kind[source] is not Kind.VALUE:
                return self.kind[source]
            first = node.target == "size" and (node.args[1:] == (0,) or node.kwargs.get("dim") == 0)
            return Kind.BATCH if first and self.rows[source] else Kind.SIZE
        if Kind.VALUE in kinds:
            return Kind.VALUE
        if Kind.SIZE in kinds:
            return Kind.BATCH if self._first_of_shape(node) else Kind.SIZE
        if node.op != "get_attr" and writes_into(self.model, node):
            return Kind.VALUE  # made again it would not be what has become of it
        return Kind.BATCH if Kind.BATCH in kinds else Kind.WEIGHT

    def _first_of_shape(self, node: fx.Node) -> bool:
        if function_of(node) != "getitem" or node.args[1] != 0:
            return False
        shape = node.args[0]
        return isinstance(shape, fx.Node) and _is_whole_shape(shape) and self.rows[shape.all_input_nodes[0]]

    def _keeps_rows(self, node: fx.Node) -> bool:
        if node.op == "placeholder":
            return True
        sources = self.values(node)
        if node.op == "output" or not sources or not all(self.rows[source] for source in sources):
            return False
        module = module_of(self.model, node)
        if module is not None:
            whole = isinstance(module, nn.Flatten) and module.start_dim == 0
            return not whole and not isinstance(module, nn.Unflatten | nn.MultiheadAttention | nn.RNNBase)
        return self._function_keeps_rows(node, function_of(node))

    def _function_keeps_rows(self, node: fx.Node, name: str) -> bool:
        """Of functions that are not listed those of torch and operator keep the first dimension."""
        given = [*node.args[1:], *node.kwargs.values()]
        numbers = [n for one in given for n in (one if isinstance(one, tuple | list) else [one]) if type(n) is int]
        first = next(iter(given), None)
        if name in ("view", "reshape", "expand"):
            first = first[0] if isinstance(first, tuple | list) and first else first
            return isinstance(first, fx.Node) and self.kind[first] is Kind.BATCH
        if name in ("flatten", *SWAPS, *REDUCE):
            return bool(numbers) and all(number > 0 for number in numbers)
        if name == "permute":
            return bool(numbers) and numbers[0] == 0
        if name in ("cat", "concat", "concatenate"):
            return bool(numbers) and 0 not in numbers
        if name == "getitem":
            index = first[0] if isinstance(first, tuple | list) and first else first
            return index is Ellipsis or (isinstance(index, slice) and index.start is None and index.stop is None)
        if name in ("matmul", "mm", "bmm"):
            return isinstance(node.args[0], fx.Node) and self.rows[node.args[0]]
        if name == "getattr" or name in SCATTERS:
            return False
        return node.op == "call_method" or str(getattr(node.target, "__module__", "")).split(".")[0] in (
            *("torch", "_operator", "torchvision", "None"),
        )

    def cuts(self) -> Iterator[fx.Node]:
        """The nodes that are the only live value after they ran, in network order.

        Weights do not count, nor does the number of images where it can be read from the value itself.
        """
        plain = {node: self._last(node.users) for node in self.nodes}
        counted = {
            node: self._last(user for user in node.users if not (self.counts_rows(user) or self._only_counts(user)))
            for node in self.nodes
        }
        live: set[fx.Node] = set()
        for i, node in enumerate(self.nodes):
            if self.kind[node] is not Kind.WEIGHT:
                live.add(node)
            live = {value for value in live if plain[value] > i}
            if (
                node.op in ("placeholder", "output")
                or self.kind[node] is not Kind.VALUE
                or function_of(node) in NO_TENSOR
            ):
                continue
            if live == {node} or (
                self.rows[node] and {n for n in live if counted[n] > i and not self.recomputed(n)} == {node}
            ):
                yield node

    def beside(self, node: fx.Node) -> list[fx.Node]:
        """What else is still needed after a node ran."""
        at = self._position[node]
        before = [one for one in self.nodes[:at] if self._last(one.users) > at]
        return [one for one in before if not self.recomputed(one)]

    def _last(self, users: Iterable[fx.Node]) -> int:
        return max((self._position[user] for user in users), default=-1)


def _reads_shape(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in ("size", "dim", "numel", "ndimension")
    return function_of(node) == "getattr" and node.args[1] in SHAPES


def _is_whole_shape(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target == "size" and len(node.args) == 1 and not node.kwargs
    return function_of(node) == "getattr" and node.args[1] in ("shape",)


def named_cuts(model: nn.Module, graph: fx.Graph, names: dict[fx.Node, str]) -> dict[str, fx.Node]:
    """The nodes at which a model's graph can be cut, by name, in network order; the logits are none."""
    return {names[node]: node for node in Flow(model, graph).cuts() if next(iter(node.users)).op != "output"}
