"""Weights of half precision: such a network is computed with in float32, as the images are, unless it casts them."""

from typing import Any

import torch
from torch import nn

HALF = {torch.float16, torch.bfloat16}


def widened(network: Any, shape: tuple[int, ...]) -> Any:
    """A network whose weights are all of half precision and that takes no float32 images (C, H, W), in float32.

    Every value stays what it is. Any other network, or what is none, is returned as it is.
    """
    if not isinstance(network, nn.Module):
        return network
    kinds = {weight.dtype for weight in network.parameters() if weight.is_floating_point()}
    if not kinds or not kinds <= HALF:
        return network
    was = network.training
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, *shape))
        return network.train(was)
    except RuntimeError:  # it does not cast the images itself
        return network.train(was).float()
