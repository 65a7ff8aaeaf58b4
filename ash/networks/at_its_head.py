"""A network that torch.fx cannot follow, cut at its head: `forward_features` and all before the classifier, classifier.

timm's networks have these two functions. The parts are not looked into, so there is one placement, `pre_logits`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ash.networks.failures import SplitError, reason_of
from ash.networks.graphs import OneStep


class PreLogits(OneStep):
    """Images (N, C, H, W) -> what enters the classifier (N, D)."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.forward_head(self.network.forward_features(x), pre_logits=True)


class AtItsHead(nn.Module):
    """A network as features and classifier; its weights have the names that they have in the network itself."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.pre_logits, self.classifier = PreLogits(network), network.get_classifier()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pre_logits(x))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The weights under the network's own names."""
        return self.pre_logits.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights under the network's own names."""
        return self.pre_logits.network.load_state_dict(*args, **kwargs)


def check(network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """SplitError where the two parts of a network, whose weights do not matter, are not the network."""
    name = type(network).__name__
    x = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            whole, parted = network.eval()(x), AtItsHead(network).eval()(x)
    except Exception as error:  # whatever the network's code raises
        raise SplitError(f"{name} cannot be cut at its head: {reason_of(error)}.") from error
    if not isinstance(whole, Tensor) or not torch.equal(whole, parted):
        raise SplitError(f"{name} cannot be cut at its head: its classifier on its features is not the network.")
