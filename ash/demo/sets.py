"""The picture sets of the bundled demo: Fashion-MNIST as packaged by Debian, and six OOD sets made from free sources.

Each maker takes a count and a random generator and returns (count, 28, 28) uint8.
Sources and licences are listed in assets/README.md.
"""

import gzip
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ash.data import UNKNOWN
from ash.errors import AshError

SIDE = 28  # pixels
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "clock", "coffee", "rocket")  # skimage.data, public domain or CC0
TEXTURES = ("brick", "grass", "gravel")  # skimage.data, CC0
FONTS = Path("/usr/share/fonts/truetype/dejavu")  # Debian packages fonts-dejavu-core and fonts-dejavu-extra
FACES = ("Sans", "Sans-Bold", "Sans-Oblique", "SansMono", "Serif", "Serif-Bold", "Serif-Italic", "SansCondensed")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

KIND = (0, 1, 0, 2, 0, 3, 0, 3, 4, 3)  # of the ten classes: tops, trousers, dresses, shoes, bags

Pictures = np.ndarray  # (n, 28, 28) uint8
LabelledPictures = tuple[Pictures, np.ndarray]  # labels (n,) int64, UNKNOWN for OOD


class SourceError(AshError):
    """Something the demo is built from is not on this machine; the message says what and where to get it."""


def fashion_mnist(source: Path, part: str) -> tuple[Pictures, np.ndarray]:
    """Pictures and int64 labels of `part` ("train" or "t10k") from the gzipped IDX files in `source`."""
    labels = _idx(source / f"{part}-labels-idx1-ubyte.gz", 1)
    return _idx(source / f"{part}-images-idx3-ubyte.gz", 3), labels.astype(np.int64)


def _idx(path: Path, dimensions: int) -> np.ndarray:
    if not path.is_file():
        raise SourceError(
            f"{path.name} is not in {path.parent}: install the Debian package dataset-fashion-mnist, "
            "or point --source at a folder with its four .gz files."
        )
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} is damaged ({error}): install the package dataset-fashion-mnist again.") from None
    header = 4 + 4 * dimensions  # a magic number, then the sizes, big-endian
    shape = np.frombuffer(data[4:header], ">i4") if len(data) >= header else np.zeros(1, int)
    if data[:4] != bytes((0, 0, 8, dimensions)) or len(data) - header != shape.prod():
        raise SourceError(f"{path} is not an IDX file of unsigned bytes with {dimensions} dimensions.")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def digits(count: int, rng: np.random.Generator) -> Pictures:
    """Handwritten digits of scikit-learn (8 x 8, 17 grey levels), enlarged to the full picture."""
    from sklearn.datasets import load_digits

    small = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    chosen = np.sort(rng.choice(len(small), count, replace=False))
    return np.stack([_resize(Image.fromarray(small[i])) for i in chosen])


def letters(count: int, rng: np.random.Generator) -> Pictures:
    """Latin letters in faces of the DejaVu family, dark on light paper, slightly turned, of varying size."""
    return np.stack([_letter(LETTERS[i % len(LETTERS)], rng) for i in range(count)])


def _letter(letter: str, rng: np.random.Generator) -> Pictures:
    path = FONTS / f"DejaVu{rng.choice(FACES)}.ttf"
    if not path.is_file():
        raise SourceError(f"{path} is missing: install the Debian packages fonts-dejavu-core and fonts-dejavu-extra.")
    paper, ink = int(rng.integers(140, 256)), int(rng.integers(0, 101))
    canvas = Image.new("L", (4 * SIDE, 4 * SIDE), paper)  # drawn four times as large, then reduced
    font = ImageFont.truetype(str(path), int(rng.integers(80, 121)))
    ImageDraw.Draw(canvas).text((2 * SIDE, 2 * SIDE), letter, fill=ink, font=font, anchor="mm")
    return _resize(canvas.rotate(float(rng.uniform(-20, 20)), Image.Resampling.BILINEAR, fillcolor=paper))


def textures(count: int, rng: np.random.Generator) -> Pictures:
    """Crops of brick, grass and gravel."""
    return _crops(_skimage(TEXTURES), count, rng, sides=(28, 112))


def photographs(count: int, rng: np.random.Generator) -> Pictures:
    """Grey crops of photographs."""
    return _crops(_skimage(PHOTOGRAPHS), count, rng, sides=(42, 224))


def _skimage(names: Sequence[str]) -> list[Image.Image]:
    try:
        from skimage import data
    except ImportError:
        raise SourceError("Building the demo needs scikit-image: pip install -r tests/requirements.txt") from None
    return [Image.fromarray(getattr(data, name)()).convert("L") for name in names]


def _crops(pictures: Sequence[Image.Image], count: int, rng: np.random.Generator, sides: tuple[int, int]) -> Pictures:
    """Square crops, each picture in turn; nearly flat ones (an empty sky) are drawn again."""
    crops: list[np.ndarray] = []
    while len(crops) < count:
        picture = pictures[len(crops) % len(pictures)]
        side = int(rng.integers(sides[0], sides[1] + 1))
        left, top = int(rng.integers(picture.width - side + 1)), int(rng.integers(picture.height - side + 1))
        crop = _resize(picture.crop((left, top, left + side, top + side)))
        if crop.std() >= 8:
            crops.append(crop)
    return np.stack(crops)


def noise(count: int, rng: np.random.Generator) -> Pictures:
    """Three kinds in turn: independent pixels, smooth blobs, gratings."""
    kinds: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (_pixels, _blobs, _grating)
    return np.stack([np.uint8(255 * np.clip(kinds[i % len(kinds)](rng), 0, 1)) for i in range(count)])


def _pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(size=(SIDE, SIDE))


def _blobs(rng: np.random.Generator) -> np.ndarray:
    coarse = rng.uniform(size=(int(rng.integers(3, 9)),) * 2)
    fine = np.asarray(Image.fromarray(np.float32(coarse)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return (fine - fine.min()) / np.ptp(fine)


def _grating(rng: np.random.Generator) -> np.ndarray:
    angle, phase, period = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(3, 14)
    y, x = np.mgrid[:SIDE, :SIDE]
    return 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase)


def chimeras(pictures: Pictures, labels: np.ndarray, count: int, rng: np.random.Generator) -> Pictures:
    """The upper half of one garment on the lower half of another kind of garment (a shirt on a shoe, not on a coat)."""
    kinds = np.asarray(KIND)[labels]
    made: list[np.ndarray] = []
    while len(made) < count:
        upper, lower = rng.integers(len(pictures), size=2)
        if kinds[upper] != kinds[lower]:
            made.append(np.concatenate([pictures[upper, : SIDE // 2], pictures[lower, SIDE // 2 :]]))
    return np.stack(made)


def _resize(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def stratified(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of `count` samples, equally many of each class."""
    classes = np.unique(labels)
    each = [rng.choice(np.flatnonzero(labels == c), count // len(classes), replace=False) for c in classes]
    return np.sort(np.concatenate(each))


OOD_MAKERS: dict[str, Callable[[int, np.random.Generator], Pictures]] = {
    "noise": noise,
    "textures": textures,
    "letters": letters,
    "digits": digits,
    "photographs": photographs,
}
ID_SET, TRAIN_SET, NEAR_SET = "fashion_mnist", "fashion_mnist_train", "chimeras"
OOD_SETS = (*OOD_MAKERS, NEAR_SET)  # from far to near
SETS = (ID_SET, TRAIN_SET, *OOD_SETS)
ID_COUNT, OOD_COUNT, TRAIN_COUNT = 3_000, 1_000, 3_000


def make_sets(source: Path, seed: int) -> dict[str, LabelledPictures]:
    """Every set by name. Each has a generator of its own, so a change to one leaves the others as they are."""
    pictures, labels = fashion_mnist(source, "train")
    rngs = {name: np.random.default_rng((seed, number)) for number, name in enumerate(SETS)}
    chosen = stratified(labels, TRAIN_COUNT, rngs[TRAIN_SET])
    ood = {name: make(OOD_COUNT, rngs[name]) for name, make in OOD_MAKERS.items()}
    ood[NEAR_SET] = chimeras(pictures, labels, OOD_COUNT, rngs[NEAR_SET])
    unknown = {name: (images, np.full(len(images), UNKNOWN, np.int64)) for name, images in ood.items()}
    tested, classes = fashion_mnist(source, "t10k")
    return {ID_SET: (tested[:ID_COUNT], classes[:ID_COUNT]), TRAIN_SET: (pictures[chosen], labels[chosen]), **unknown}
