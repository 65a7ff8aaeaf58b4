"""The network of the bundled demo: a ResNet of four stages for 28 x 28 grey pictures, one residual block a stage.

Module names follow torchvision's ResNets, so placements read the same: `layer3.0.add` (before the block's last ReLU),
`layer3.0.relu2` (after it), `layer4.0.add`, `layer4.0.relu2`, `avgpool`.
"""

from collections.abc import Sequence

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
