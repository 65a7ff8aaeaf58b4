"""CIFAR's batches are pickles, and a pickle is a program: here it is read by an interpreter that can call nothing.

It knows dicts, lists, texts, bytes, numbers, and the one way in which numpy writes an array of whole numbers down.
Arrays are made of bytes in the file, whose number must fit, so no content can run code or reach foreign memory.
"""

import math
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ash.files import DamagedError

VALUES = 3 * 32 * 32  # of an image: the red plane, the green, the blue, row by row
MOST_BYTES = 2**28
MOST_STEPS = 2**20  # of a pickle; 50,000 images with a label and a file name each take 200,000
_RECONSTRUCT, _FROM_BUFFER = ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.numeric", "_frombuffer")
_NDARRAY, _DTYPE, _ENCODE = ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")
_GLOBALS = (_RECONSTRUCT, _FROM_BUFFER, _NDARRAY, _DTYPE, _ENCODE)  # numpy 2 writes numpy._core
_VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "NONE", "NEWTRUE", "NEWFALSE"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Global(tuple[str, str]):
    """A name that the pickle refers to; it stands for nothing that could be called."""


class _Dtype:
    """The type of an array's values: `code` is u1, i4 or i8."""

    def __init__(self, code: Any) -> None:
        self.code = code.decode("latin-1") if isinstance(code, bytes) else code
        if self.code not in ("u1", "i4", "i8"):
            raise ValueError("it holds an array of other than whole numbers, which no CIFAR batch does")

    def build(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 2 and state[1] in ("<", "|", b"<", b"|")):
            raise ValueError("it holds an array of numbers in an unknown order of bytes")


class _Array:
    """An array that is still to get its values."""

    values: NDArray[Any] | None = None

    def build(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.fill(shape, dtype, "F" if fortran else "C", content)

    def fill(self, shape: Any, dtype: Any, order: Any, content: Any) -> None:
        content = content.encode("latin-1") if isinstance(content, str) else content
        sizes = isinstance(shape, tuple) and len(shape) <= 2 and all(type(size) is int and size >= 0 for size in shape)
        if not (sizes and isinstance(dtype, _Dtype) and isinstance(content, bytes | bytearray) and order == "C"):
            raise ValueError("it holds an array in a form that no CIFAR batch has")
        found = np.dtype(f"<{dtype.code}")
        if math.prod(shape) * found.itemsize != len(content):
            raise ValueError(f"it holds an array of shape {shape} made of {len(content):,} bytes")
        self.values = np.frombuffer(bytes(content), found).reshape(shape)


def parse(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (n, 3072) and labels (n,) of a batch of CIFAR-10 or CIFAR-100; DamagedError for anything else."""
    try:
        return _fields(_value(content))
    except RecursionError as error:
        raise DamagedError("it is nested too deep") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise DamagedError(str(error) or type(error).__name__) from error


def _fields(batch: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not isinstance(batch, dict):
        raise ValueError("it holds no dictionary")
    fields = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    pixels, labels = fields.get("data"), fields.get("labels", fields.get("fine_labels"))
    if not isinstance(pixels, _Array) or (data := pixels.values) is None:
        raise ValueError("it holds no array `data`")
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != VALUES:
        raise ValueError(f"its `data` has the shape {data.shape} and the type {data.dtype}")
    if isinstance(labels, _Array) and labels.values is not None:
        found = labels.values.astype(np.int64)
    elif isinstance(labels, list) and all(type(label) is int for label in labels):
        found = np.array(labels, np.int64)
    else:
        raise ValueError("it holds no list `labels` or `fine_labels` of whole numbers")
    if found.shape != data.shape[:1] or found.min(initial=0) < 0 or found.max(initial=0) > 99:
        raise ValueError(f"its {found.size:,} labels are not a class from 0 to 99 for each of {len(data):,} images")
    return data, found


def _value(content: bytes) -> Any:
    """What a pickle holds, arrays as `_Array`; ValueError, TypeError and the like where it is damaged or holds more."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        at = marks.pop()
        values = stack[at:]
        del stack[at:]
        return values

    argument: Any
    for step, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if step > MOST_STEPS:
            raise ValueError(f"it takes more than {MOST_STEPS:,} steps to read")
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            (value,) = stack
            return value
        if name in _VALUES:
            stack.append(_CONSTANTS.get(name, argument))
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in _TUPLES:
            count = len(stack) - _TUPLES[name]
            stack[count:] = [tuple(stack[count:])]
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name == "LIST":
            stack.append(since_mark())
        elif name == "DICT":
            stack.append(_pairs(since_mark()))
        elif name in ("APPEND", "APPENDS"):
            values = [stack.pop()] if name == "APPEND" else since_mark()
            _of_type(stack[-1], list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = [stack.pop(-2), stack.pop()] if name == "SETITEM" else since_mark()
            _of_type(stack[-1], dict).update(_pairs(values))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, attribute = argument.split(" ", 1) if name == "GLOBAL" else (stack.pop(-2), stack.pop())
            stack.append(_known(module, attribute))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_reduced(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            _of_type(stack[-1], _Array | _Dtype).build(state)
        else:
            raise ValueError(f"it holds {name}, which no CIFAR batch does")
    raise ValueError("it ends early")


def _pairs(values: list[Any]) -> dict[Any, Any]:
    if not all(isinstance(key, str | bytes | int) for key in values[::2]):  # the hash of others can take for ever
        raise ValueError("it holds a dictionary without names")
    return dict(zip(values[::2], values[1::2], strict=True))


def _of_type(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError("it is damaged")
    return value


def _known(module: str, attribute: str) -> _Global:
    if (name := (module.replace("numpy._core", "numpy.core"), attribute)) not in _GLOBALS:
        raise ValueError(f"it refers to {module}.{attribute}, which no CIFAR batch does")
    return _Global(name)


def _reduced(what: Any, arguments: Any) -> Any:
    """What numpy and Python's codecs would make of these arguments, for the few forms that batches have."""
    if what == _ENCODE and arguments[1] in ("latin1", "latin-1"):
        return _of_type(arguments[0], str).encode("latin-1")
    if what == _DTYPE:
        return _Dtype(arguments[0])
    if what == _RECONSTRUCT and arguments[0] == _NDARRAY:
        return _Array()
    if what == _FROM_BUFFER:
        content, dtype, shape, order = arguments
        array = _Array()
        array.fill(shape, dtype, order, content)
        return array
    raise ValueError("it calls what no CIFAR batch does")
