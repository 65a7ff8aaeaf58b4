"""What is said of a picture that is unlike the images a network knows: on pictures made for it."""

import numpy as np
import pytest
from PIL import Image

from app.backend import setups
from app.backend.unlike import Borders, hints, usual_borders
from app.link.spec import RunSpec

DARK = Borders(0.0, 0.1)  # as of garments on black
ANY = Borders(0.0, 1.0)


def box(size: int, side: int, ground: int, ink: int) -> Image.Image:
    """A square of `ink` in the middle of a `ground`."""
    pixels = np.full((size, size), ground, np.uint8)
    start = (size - side) // 2
    pixels[start : start + side, start : start + side] = ink
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("picture", "usual", "said"),
    [
        (box(28, 20, 0, 200), DARK, ()),
        (box(28, 20, 255, 30), DARK, ("inverted",)),
        (box(28, 20, 255, 30), ANY, ()),
        (box(28, 20, 255, 30), None, ()),
        (box(28, 20, 128, 30), DARK, ()),  # neither as it is nor inverted
        (box(200, 40, 0, 200), DARK, ("crop it closer",)),
        (box(200, 40, 250, 10), DARK, ("inverted", "crop it closer")),
        (box(200, 0, 0, 0), DARK, ()),  # nothing in it
        (box(1400, 1000, 0, 200), DARK, ("shrunk 50 times",)),
        (Image.effect_noise((28, 28), 80), ANY, ()),
    ],
    ids=["alike", "inverted", "any border", "unknown", "grey", "small", "both", "plain", "huge", "noise"],
)
def test_what_is_said(picture: Image.Image, usual: Borders | None, said: tuple[str, ...]) -> None:
    found = hints(picture, (28, 28), usual)
    assert len(found) == len(said)
    assert all(word in text for word, text in zip(said, found, strict=True))


def test_the_borders_of_garments_are_dark_and_those_of_photographs_are_any() -> None:
    garments, photographs = (
        usual_borders(setups.setup(RunSpec(model=name))) for name in ("demo", "mobilenet_v2_photos")
    )
    assert garments is not None
    assert photographs is not None
    assert garments.high < 0.5
    assert photographs.high - photographs.low > 0.5


def test_of_images_that_do_not_ship_nothing_is_known() -> None:
    assert usual_borders(setups.setup(RunSpec(model="densenet101_cifar10"))) is None
