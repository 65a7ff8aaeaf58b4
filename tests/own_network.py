"""A network of one's own: `python own_network.py` trains it, `ASH_PLUGINS=own_network.py` shows it in the explorer."""

from pathlib import Path

import numpy as np

import ash

WEIGHTS = Path(__file__).with_name("own_network.pt")


def digits(part):  # scikit-learn's 1,797 handwritten digits, 8 x 8, grey; every other one is for training
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images[part::2] * 15.9).astype(np.uint8), found.target[part::2]


@ash.register_dataset("digits8", label="Digits, 8 x 8", role="id")
def test_digits():
    return digits(1)


@ash.register_dataset("digits8_train", label="Digits, training", role="id")
def training_digits():
    return digits(0)


@ash.register_dataset("gratings", label="Gratings", role="ood")
def gratings():
    y, x = np.mgrid[:8, :8]
    angles, waves, shifts = np.random.default_rng(0).uniform((0, 0.5, 0), (3.14, 2, 6.28), (500, 3)).T[..., None, None]
    return (127 + 127 * np.sin(waves * (x * np.cos(angles) + y * np.sin(angles)) + shifts)).astype(np.uint8)


@ash.register_model(
    "digits_net",
    label="My network on digits",
    weights=WEIGHTS,
    preprocess=ash.Preprocess(resize=8, crop=8, mean=(0.3,), std=(0.37,)),
    classes=[f"digit {number}" for number in range(10)],
    id_set="digits8",
    train_set="digits8_train",
    ood_sets=("gratings", "letters", "textures"),  # the last two ship with the explorer; they are shrunk to 8 x 8
)
def network():
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 128, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)),
    )


def train(path=WEIGHTS):
    import torch

    torch.manual_seed(0)
    model, (images, labels) = network(), digits(0)
    x, y = (torch.from_numpy(images)[:, None] / 255 - 0.3) / 0.37, torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for rows in (rows for _ in range(16) for rows in torch.randperm(len(x)).split(64)):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    torch.save(model.state_dict(), path)


if __name__ == "__main__":
    train()
