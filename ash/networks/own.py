"""Networks that torchvision does not have: the bundled demo's, and the DenseNet of the paper's CIFAR rows.

The demo's is a ResNet of four stages for 28 x 28 grey pictures, one residual block a stage. Module names follow
torchvision's ResNets, so placements read the same: `layer3.0.add` (before the block's last ReLU), `layer3.0.relu2`
(after it), `layer4.0.add`, `layer4.0.relu2`, `avgpool`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 192)  # channels of the four stages; the last is the penultimate width
CLASSES = 10


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016); a stride other than 1 halves the map."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(y + self.downsample(x))


class DemoNet(nn.Module):
    """(N, 1, 28, 28) normalised pictures -> (N, classes) logits."""

    def __init__(self, widths: Sequence[int] = WIDTHS, classes: int = CLASSES) -> None:
        super().__init__()
        w1, w2, w3, w4 = widths
        self.conv1 = nn.Conv2d(1, w1, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w1)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(Block(w1, w1, stride=1))  # (N, w1, 28, 28)
        self.layer2 = nn.Sequential(Block(w1, w2, stride=2))  # (N, w2, 14, 14)
        self.layer3 = nn.Sequential(Block(w2, w3, stride=2))  # (N, w3, 7, 7)
        self.layer4 = nn.Sequential(Block(w3, w4, stride=2))  # (N, w4, 4, 4)
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # (N, w4, 1, 1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(w4, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.flatten(self.avgpool(x)))


class Dense(nn.Module):
    """One layer of a dense block: a 1 x 1 bottleneck of 4 x growth channels, then growth new ones beside the old."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu1(self.bn1(x)))
        y = self.conv2(self.relu2(self.bn2(y)))
        return torch.cat([x, y], 1)


class DenseBlock(nn.Module):
    """(N, C, H, W) -> (N, C + layers x growth, H, W)."""

    def __init__(self, layers: int, inputs: int, growth: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(*(Dense(inputs + i * growth, growth) for i in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Transition(nn.Module):
    """Between two dense blocks: fewer channels on a map of half the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv1(self.relu(self.bn1(x))))


class DenseNetBC(nn.Module):
    """DenseNet-BC for 32 x 32 pictures (Huang et al. 2017): (N, 3, 32, 32) -> (N, classes).

    With the paper's depth 100, growth 12 and reduction 0.5 the penultimate layer has 342 channels. Modules are named
    as in the public checkpoints of the paper's "DenseNet-101". Placements after a block and its ReLU: `trans1.relu`,
    `trans2.relu`, `relu`; then `avgpool`.
    """

    def __init__(self, classes: int, depth: int = 100, growth: int = 12, reduction: float = 0.5) -> None:
        super().__init__()
        layers = (depth - 4) // 6  # three blocks, two convolutions a layer
        c1 = 2 * growth
        c2 = int((c1 + layers * growth) * reduction)
        c3 = int((c2 + layers * growth) * reduction)
        width = c3 + layers * growth
        self.conv1 = nn.Conv2d(3, c1, 3, padding=1, bias=False)
        self.block1 = DenseBlock(layers, c1, growth)  # (N, c1 + layers * growth, 32, 32)
        self.trans1 = Transition(c1 + layers * growth, c2)
        self.block2 = DenseBlock(layers, c2, growth)  # (N, c2 + layers * growth, 16, 16)
        self.trans2 = Transition(c2 + layers * growth, c3)
        self.block3 = DenseBlock(layers, c3, growth)  # (N, width, 8, 8)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # (N, width, 1, 1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.trans1(self.block1(self.conv1(x)))
        x = self.trans2(self.block2(x))
        x = self.relu(self.bn1(self.block3(x)))
        return self.fc(self.flatten(self.avgpool(x)))
