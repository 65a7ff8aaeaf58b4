"""Your own images: whether they are like those of the ID set, in the words of `python -m ash score`."""

import io

import pytest
from app_pages import open_page
from streamlit.testing.v1 import AppTest

from app.link.spec import RunSpec
from ash.data import get_dataset
from ash.drift import LEAST

pytestmark = pytest.mark.slow


def dropped(name: str, count: int) -> str:
    """What the page says of the first images of a data set."""
    data, files = get_dataset(name), []
    for row in range(count):
        buffer = io.BytesIO()
        data.image(row).save(buffer, "PNG")
        files.append((f"{row}.png", buffer.getvalue(), "image/png"))
    app: AppTest = open_page("samples", model=RunSpec().model, look="own", variant="ash_s", p="80")
    app.file_uploader[0].set_value(files).run()
    assert not app.exception
    assert not app.error
    return next(one.value for one in app.caption if "same world" in one.value).replace("\\", "")


def test_few_are_told_how_many_it_takes() -> None:
    assert f"2 images are too few to say whether they are like those of Fashion-MNIST: it takes {LEAST}." in dropped(
        "fashion_mnist", 2
    )


def test_images_of_the_id_set_are_like_it_and_digits_are_not() -> None:
    same, other = dropped("fashion_mnist", 24), dropped("digits", 24)
    for said in (same, other):
        assert "Of as many images like those of Fashion-MNIST" in said
        assert "largest distance between both distributions" in said
    assert "other images" not in same
    assert other.endswith("These are other images than those of Fashion-MNIST.")
