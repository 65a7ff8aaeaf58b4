"""A network without what is around it, and which part of what it returns are its logits."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from ash.networks.failures import SplitError


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without nn.DataParallel or torch.compile around it."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(model, parallel) or type(model).__name__ == "OptimizedModule":
        model = model.module if isinstance(model, parallel) else model._orig_mod  # type: ignore[assignment]
    return model


def name_output(model: nn.Module, output: str | int) -> None:
    """Say which part of what a network returns are its logits: a key, the name of an attribute, or a position."""
    unwrapped(model)._output_of_logits = output  # type: ignore[assignment]


def logits_of(model: nn.Module, answer: Any) -> Any:
    """The logits in what a network returns: the part that was named, what is called `logits`, or all of it.

    SplitError where there are several parts and nothing says which.
    """
    output = getattr(model, "_output_of_logits", None)
    if output is None:
        if isinstance(answer, Tensor | fx.Proxy | fx.Node):
            return answer
        output = "logits" if _parts(answer).get("logits") is not None else None
    if output is None and len(_parts(answer)) == 1 and isinstance(answer, tuple | list):
        output = 0
    if output is None:
        if not _parts(answer):
            return answer  # whoever asked says that it is no tensor
        raise SplitError(
            f"{type(model).__name__} returns {_told(answer)}: say which are the logits with output={_example(answer)}, "
            "where it is registered, or wrap it in a module whose forward returns them alone."
        )
    try:
        return answer[output] if isinstance(output, int) or hasattr(answer, "keys") else getattr(answer, output)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise SplitError(f"{type(model).__name__} returns {_told(answer)}, which has no output={output!r}.") from error


def _parts(answer: Any) -> Mapping[Any, Any]:
    """What a network returns, part by part: of a dict its values, of a list or tuple its entries, else attributes."""
    if isinstance(answer, Mapping):
        return answer
    fields = getattr(answer, "_fields", ())  # a named tuple
    if isinstance(answer, tuple | list) and not fields:
        return dict(enumerate(answer))
    names = fields or tuple(getattr(answer, "__dict__", ()))
    return {name: getattr(answer, name) for name in names if isinstance(getattr(answer, name), Tensor | fx.Proxy)}


def _told(answer: Any) -> str:
    kind, parts = type(answer).__name__, _parts(answer)
    names = f"of {len(parts)}" if all(isinstance(one, int) for one in parts) else f"with {', '.join(map(str, parts))}"
    return f"{with_article(kind)} {names}"


def _example(answer: Any) -> str:
    return repr(next(iter(_parts(answer))))


def with_article(kind: str) -> str:
    """A word with its article: `a list`, `an OrderedDict`."""
    return f"{'an' if kind[:1].lower() in 'aeio' else 'a'} {kind}"
