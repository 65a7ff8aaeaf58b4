"""The picture sets of 224 x 224 pixels that ship: photographs as the ID set, and five kinds of pictures that are none.

Each maker yields (row, picture): the row of the set's list (`image`, `label`, and what is known of its origin) and an
RGB picture of SIDE x SIDE. What a set holds was decided by kind, before anything was measured on it: taken are pictures
in the order of a shuffle, equally many of each kind, and nothing is looked at but the size. Sources and licences are
listed in assets/README.md.
"""

import io
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ash.data import UNKNOWN, CsvImages
from ash.demo.sets import FACES, FONTS, SourceError

SIDE, SHORTER = 224, 256  # pixels: the centre of a photograph whose shorter side is SHORTER, as ImageNet is cut
MARGIN = 12  # pixels round a drawing
CLIPART = Path("/usr/share/openclipart/png")  # Debian package openclipart-png
EMOJI = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # Debian package fonts-noto-color-emoji
EMOJI_SIZE = 109  # the one size of the font's pictures
QUALITY, FINE = 80, 84  # of the WebP files of drawings and of photographs

# Folders of the clip art whose motifs are no ImageNet classes, and those of single objects, which are or are near
SIGNS = (
    "computer/buttons", "computer/connectors", "computer/diagrams", "decorations", "geography/astronomy", "logos",
    "people/smilies", "people/stickmen", "recreation/games/cards", "recreation/religion", "shapes/arrows",
    "shapes/callouts", "shapes/flowchart", "shapes/jigsaw", "shapes/stars", "signs_and_symbols/awards",
    "signs_and_symbols/flags", "signs_and_symbols/hazard", "signs_and_symbols/map_symbols", "signs_and_symbols/money",
    "signs_and_symbols/weather", "special/patterns",
)  # fmt: skip
OBJECTS = (
    "animals/birds", "animals/bugs", "animals/fish", "animals/mammals", "buildings/furniture", "buildings/homes",
    "computer/hardware", "containers", "education/books", "electronics", "food/beverages", "food/desserts",
    "food/fruit", "food/vegetables", "office", "people/clothing", "plants/flowers", "recreation/music",
    "recreation/sports", "recreation/toys", "tools", "transportation/boating", "transportation/vehicles",
)  # fmt: skip
# Blocks of emoji that show no animals, food, vehicles or other objects: faces, people, hands, hearts, signs, weather
EMOJI_BLOCKS = (
    (0x1F300, 0x1F321), (0x1F466, 0x1F488), (0x1F48B, 0x1F4B0), (0x1F500, 0x1F53E), (0x1F550, 0x1F568),
    (0x1F600, 0x1F650), (0x1F910, 0x1F930), (0x1F970, 0x1F97B), (0x1F7E0, 0x1F7EC), (0x1F9D0, 0x1F9E0),
    (0x1F190, 0x1F19B), (0x2600, 0x2700), (0x2700, 0x27C0),
)  # fmt: skip

Row = dict[str, str]
Picture = tuple[Row, Image.Image]


def photographs(source: Path) -> Iterator[Picture]:
    """The photographs that a list `images.csv` in `source` names, with their authors, cut as ImageNet's are."""
    path = source / "images.csv"
    if not path.is_file():
        raise SourceError(f"{path} is missing: a list with the columns image, label, author, page and licence.")
    images = CsvImages(path, "photos")
    for index, row in enumerate(_rows(path)):
        picture = images.image(index).convert("RGB")
        scale = SHORTER / min(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        picture = picture.resize(size, Image.Resampling.BILINEAR)
        left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
        yield {**row, "image": f"{Path(row['image']).stem}.webp"}, picture.crop((left, top, left + SIDE, top + SIDE))


def _rows(path: Path) -> list[Row]:
    import csv

    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def clip_art(folders: Sequence[str], count: int, rng: np.random.Generator) -> Iterator[Picture]:
    """Drawings on white from folders of the clip art, one from each in turn."""
    if not CLIPART.is_dir():
        raise SourceError(f"{CLIPART} is missing: install the Debian package openclipart-png.")
    shuffled = [rng.permutation(sorted(map(str, (CLIPART / folder).rglob("*.png")))) for folder in folders]
    taken: set[str] = set()
    for path in chain.from_iterable(zip_longest(*shuffled)):
        if path is None or len(taken) == count:
            continue
        name = Path(path).relative_to(CLIPART)
        with Image.open(path) as drawing:
            if not SIDE // 4 < min(drawing.size) <= max(drawing.size) < 16 * SIDE or name.stem in taken:
                continue
            picture = _on_white(drawing.convert("RGBA"))
        taken.add(name.stem)
        yield _row(f"{name.stem}.webp", source=str(name)), picture


def emoji(count: int, rng: np.random.Generator) -> Iterator[Picture]:
    """Colour emoji of the blocks above, enlarged."""
    if not EMOJI.is_file():
        raise SourceError(f"{EMOJI} is missing: install the Debian package fonts-noto-color-emoji.")
    font = ImageFont.truetype(str(EMOJI), EMOJI_SIZE)
    signs = [chr(code) for first, end in EMOJI_BLOCKS for code in range(first, end)]
    drawn = 0
    for sign in rng.permutation(signs):
        canvas = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(canvas).text((10, 10), sign, font=font, embedded_color=True)
        if drawn == count or canvas.getbbox() is None or len(set(canvas.get_flattened_data())) < 8:
            continue  # the font has no coloured picture of this sign
        drawn += 1
        name = unicodedata.name(sign, f"U+{ord(sign):X}").lower().replace(" ", "_")
        yield _row(f"{name}.webp", source=f"U+{ord(sign):X}"), _on_white(canvas)


def _on_white(drawing: Image.Image) -> Image.Image:
    """A drawing as large as fits, in the middle of a white square."""
    drawing = drawing.crop(drawing.getbbox())
    scale = (SIDE - 2 * MARGIN) / max(drawing.size)
    size = (max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale)))
    drawing = drawing.resize(size, Image.Resampling.BICUBIC)
    square = Image.new("RGBA", (SIDE, SIDE), "white")
    square.alpha_composite(drawing, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square.convert("RGB")


def pages(count: int, rng: np.random.Generator) -> Iterator[Picture]:
    """Printed pages in turn with charts: paragraphs of made-up words, tables of numbers, bars, lines and points."""
    kinds = (_text, _bars, _text, _table, _text, _curve)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        paper = tuple(int(value) for value in rng.integers(225, 256, 3))
        page = Image.new("RGB", (2 * SIDE, 2 * SIDE), paper)  # drawn twice as large, then reduced
        kind(ImageDraw.Draw(page), rng)
        yield _row(f"{kind.__name__.strip('_')}_{number:03d}.webp"), page.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _font(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    path = FONTS / f"DejaVu{rng.choice(FACES)}.ttf"
    if not path.is_file():
        raise SourceError(f"{path} is missing: install the Debian packages fonts-dejavu-core and fonts-dejavu-extra.")
    return ImageFont.truetype(str(path), size)


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list("etaoinshrdlucmwfgypbvk"), int(rng.integers(2, 10))))


def _ink(rng: np.random.Generator, most: int = 90) -> tuple[int, ...]:
    return tuple(int(value) for value in rng.integers(0, most, 3))


def _text(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """A heading and lines of text, in one or two columns."""
    size, columns = int(rng.integers(14, 30)), int(rng.integers(1, 3))
    font, ink = _font(rng, size), _ink(rng)
    draw.text((30, 22), " ".join(_word(rng) for _ in range(3)).title(), ink, _font(rng, 2 * size))
    width = (2 * SIDE - 60) // columns - 10
    for column in range(columns):
        y = 30 + 3 * size
        while y < 2 * SIDE - 40:
            line = _word(rng)
            while draw.textlength(line, font) < width - 4 * size:
                line += f" {_word(rng)}"
            draw.text((30 + column * (width + 20), y), line, ink, font)
            y += round(1.4 * size)


def _table(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Ruled rows and columns of numbers."""
    rows, columns, ink, font = int(rng.integers(6, 15)), int(rng.integers(3, 7)), _ink(rng), _font(rng, 17)
    height, width = (2 * SIDE - 60) // rows, (2 * SIDE - 60) // columns
    for row in range(rows + 1):
        draw.line((30, 30 + row * height, 30 + columns * width, 30 + row * height), ink, 1 + 2 * (row in (0, 1)))
    for row in range(rows):
        for column in range(columns):
            cell = f"{rng.uniform(0, 100):.1f}" if row and column else _word(rng)[:6]
            draw.text((36 + column * width, 34 + row * height), cell, ink, font)


def _axes(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    ink, font = _ink(rng), _font(rng, 18)
    draw.line((60, 40, 60, 400, 420, 400), ink, 2)
    for tick in range(5):
        draw.text((22, 390 - 80 * tick), str(20 * tick), ink, font)
    draw.text((150, 410), _word(rng), ink, font)


def _bars(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """A bar chart."""
    _axes(draw, rng)
    bars = int(rng.integers(3, 10))
    for bar in range(bars):
        left, colour = 70 + bar * 345 // bars, tuple(int(value) for value in rng.integers(30, 230, 3))
        draw.rectangle((left, 400 - int(rng.integers(20, 350)), left + 250 // bars, 399), colour)


def _curve(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """A line chart of a few curves, or points."""
    _axes(draw, rng)
    for _ in range(int(rng.integers(1, 5))):
        colour = tuple(int(value) for value in rng.integers(20, 220, 3))
        heights = np.clip(220 + np.cumsum(rng.normal(0, 22, 24)), 50, 395)
        points = [(62 + 15 * step, float(height)) for step, height in enumerate(heights)]
        if rng.random() < 0.5:
            draw.line(points, colour, 4)
        else:
            for x, y in points:
                draw.ellipse((x - 5, y - 5, x + 5, y + 5), colour)


def patterns(count: int, rng: np.random.Generator) -> Iterator[Picture]:
    """Four kinds in turn: coloured blocks, smooth blobs, gratings, checks."""
    kinds = (_blocks, _blobs, _grating, _checks)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        by_channel = kind in (_blocks, _blobs)
        values = np.stack([kind(rng) for _ in range(3)], axis=-1) if by_channel else _tinted(kind(rng), rng)
        picture = Image.fromarray(np.uint8(255 * np.clip(values, 0, 1)))
        yield _row(f"{kind.__name__.strip('_')}_{number:03d}.webp"), picture


def _blocks(rng: np.random.Generator) -> np.ndarray:
    """Independent squares: coarse noise, since that of single pixels cannot be packed."""
    side = (4, 7, 8, 14, 16, 28)[int(rng.integers(6))]
    return np.kron(rng.uniform(size=(SIDE // side,) * 2), np.ones((side, side)))


def _blobs(rng: np.random.Generator) -> np.ndarray:
    coarse = np.float32(rng.uniform(size=(int(rng.integers(3, 14)),) * 2))
    fine = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return (fine - fine.min()) / np.ptp(fine)


def _grating(rng: np.random.Generator) -> np.ndarray:
    angle, phase, period = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(6, 80)
    y, x = np.mgrid[:SIDE, :SIDE]
    return 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase)


def _checks(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] // int(rng.integers(6, 57))
    return ((x + y) % 2).astype(np.float64)


def _tinted(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(SIDE, SIDE) -> (SIDE, SIDE, 3), between two colours."""
    colours = rng.uniform(size=(2, 3))
    tinted: np.ndarray = colours[0] + values[..., None] * (colours[1] - colours[0])
    return tinted


def _row(image: str, source: str = "") -> Row:
    return {"image": image, "label": str(UNKNOWN), "source": source}


def encoded(picture: Image.Image, quality: int = QUALITY) -> bytes:
    """A picture as it ships."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


OOD_MAKERS: dict[str, tuple[int, Callable[[int, np.random.Generator], Iterator[Picture]]]] = {
    "patterns": (300, patterns),
    "pages": (200, pages),
    "emoji": (300, emoji),
    "clipart": (300, partial(clip_art, SIGNS)),
    "clipart_objects": (300, partial(clip_art, OBJECTS)),
}
