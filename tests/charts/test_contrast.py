"""Contrast (WCAG), from the theme's own colours: 4.5:1 for what is read, 3:1 for marks, on both themes and on paper."""

import tomllib
from pathlib import Path

import pytest

from app import theme
from app.theme import PAPER, colours
from app.ui.appearance import on_primary

THEME = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())["theme"]
SURFACES = {"background", "panel", "grid"}  # what is drawn on, and lines that only guide the eye
READ, SEEN = 4.5, 3.0
FADED = 0.6  # of captions and of the names of settings: Streamlit draws them in the text's colour at this opacity
screens = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


def channels(colour: str) -> list[float]:
    digits = colour.removeprefix("#")
    pairs = [digit * 2 for digit in digits] if len(digits) == 3 else [digits[i : i + 2] for i in (0, 2, 4)]
    return [int(pair, 16) / 255 for pair in pairs]


def luminance(parts: list[float]) -> float:
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(text: str, ground: str, opacity: float = 1.0) -> float:
    """The contrast of a colour, drawn with an opacity, on another."""
    below = channels(ground)
    mixed = [opacity * one + (1 - opacity) * other for one, other in zip(channels(text), below, strict=True)]
    light, dark = sorted((luminance(mixed), luminance(below)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def settings(dark: bool) -> dict[str, str]:
    """What `config.toml` says of a theme."""
    found: dict[str, str] = THEME["dark" if dark else "light"]
    return found


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000", "#FFF") == pytest.approx(21)
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)
    assert contrast("#000", "#FFF", 0.5) == pytest.approx(contrast("#808080", "#FFF"), abs=0.05)


@screens
def test_every_colour_of_a_chart_can_be_read_where_it_is_a_label(dark: bool) -> None:
    colour = colours(dark)
    for name in colour.keys() - SURFACES:
        assert contrast(colour[name], colour["background"]) >= READ, name
    for name in ("ink", "muted"):  # of what the pointer shows
        assert contrast(colour[name], colour["panel"]) >= READ, name


def test_print_can_be_read() -> None:
    for name in PAPER.keys() - SURFACES:
        assert contrast(PAPER[name], "#FFF") >= READ, name


@screens
def test_the_text_of_pages_and_sidebar_can_be_read_in_its_palest_form(dark: bool) -> None:
    said = settings(dark)
    for ground in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(said["textColor"], said[ground], FADED) >= READ, ground


@screens
def test_what_has_the_primary_colour_stands_out_and_its_words_can_be_read(dark: bool) -> None:
    said = settings(dark)
    for ground in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(said["primaryColor"], said[ground]) >= SEEN
        assert contrast(said["primaryColor"], said[ground]) >= READ, "the number over a slider has it too"
    assert contrast(on_primary(dark), said["primaryColor"]) >= READ


@screens
def test_charts_and_pages_have_the_same_surfaces(dark: bool) -> None:
    said, colour = settings(dark), theme.colours(dark)
    pairs = (("background", "backgroundColor"), ("panel", "secondaryBackgroundColor"), ("ink", "textColor"))
    assert {role: colour[role] for role, _ in pairs} == {role: said[name] for role, name in pairs}
