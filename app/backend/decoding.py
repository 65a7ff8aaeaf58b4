"""One file of unknown origin -> pixels, or one sentence why not. Nothing it says of itself is believed.

The format is what the content says, sizes are checked before anything is decoded, and of a large picture only an
averaged one is kept. One file is decoded at a time, whoever uploads it, so that memory stays bounded: a picture of
MOST_PIXELS takes 4 bytes a pixel, and four times that for a moment where libwebp decodes it.
"""

import io
import math
import re
import threading
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from ash.images import MAX_PIXELS, eight_bit, turn_of

MOST_BYTES = 5_000_000  # as the drop zone in the browser counts megabytes
MOST_PIXELS = MAX_PIXELS
MOST_RATIO = 100  # of the sides: a network's transform makes the shorter one its own, and the longer one grows with it
WORKING = 2_000_000  # pixels that are kept of a larger picture, at least
MOST_SCANS = 100  # of a progressive JPEG, each of which goes over the whole picture; usual are about 10
MOST_CHUNKS = 20_000  # of a PNG; usual are less than 1,000
SHOWN = 60  # characters of a file's name
LABELS = {"PNG": "PNG", "JPEG": "JPEG", "WEBP": "WebP"}
_SUFFIXES = {".png": "PNG", ".apng": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".webp": "WEBP"}
_OTHERS: tuple[tuple[int, bytes, str], ...] = (  # offset, signature, what it is
    (0, b"GIF8", "a GIF image"),
    (0, b"BM", "a BMP image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (0, b"\0\0\1\0", "an icon (ICO)"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (4, b"ftypavi", "an AVIF image"),
    (4, b"ftyphei", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC image"),
    (4, b"ftyp", "a video or another media file"),
    (0, b"RIFF", "a sound or video file (RIFF)"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"PK\5\6", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"MZ", "a program (Windows)"),
)
_one_at_a_time = threading.Semaphore(1)


class _Refused(ValueError):
    """The sentence of a refusal, on its way out."""


@dataclass(frozen=True)
class Refusal:
    """Why a file cannot be scored, in one sentence."""

    sentence: str


@dataclass(frozen=True)
class Picture:
    """The pixels of a file, mode L or RGB, upright. `format` as Pillow names it, `size` (width, height) as stored.

    `notes`: what was done to them, or what a viewer of the name alone would not expect; one sentence each.
    """

    image: Image.Image
    format: str
    size: tuple[int, int]
    notes: tuple[str, ...]


def decode(name: str, data: bytes) -> Picture | Refusal:
    """The picture in a file, or why there is none. Raises nothing, whatever the bytes; the name is only compared."""
    kind = ""
    try:
        kind = _format(name, data)
        with _one_at_a_time:
            return _decode(name, data, kind)
    except _Refused as refused:
        return Refusal(str(refused))
    except Image.DecompressionBombError:  # Pillow's own limit, from the header: more than three times this one
        return Refusal(f"The image has more than {MOST_PIXELS / 1e6:g} megapixels: make it smaller.")
    except MemoryError:
        return Refusal("The server has not enough memory for this image: make it smaller.")
    except Exception as error:  # decoders meet hostile bytes with errors of every kind
        return Refusal(f"The {LABELS.get(kind, 'image')} file {_trouble(str(error))}.")


def _trouble(error: str) -> str:
    """A decoder's complaint in words for people; what it says of its own insides helps nobody."""
    if "truncated" in error.lower():
        return "is cut off: a part of it is missing; save it again"
    if "MAX_TEXT_CHUNK" in error or "text chunks" in error:
        return "holds text or a colour profile that unpacks to more than 1 MB: save it again without it"
    return "is damaged and cannot be decoded; save it again"


def shown_name(name: str) -> str:
    """A file's name as it can be shown: without folders, in printable characters, of at most SHOWN of them."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    if len(last) > SHOWN:
        last = f"{last[: SHOWN - 17]}...{last[-14:]}"
    return "".join(letter if letter.isprintable() else "?" for letter in last).strip() or "a file without a name"


def _format(name: str, data: bytes) -> str:
    """The format that the content shows."""
    if not data:
        raise _Refused("The file is empty: it has 0 bytes.")
    if len(data) > MOST_BYTES:
        most = f"{MOST_BYTES:,} ({MOST_BYTES / 1e6:g} MB)"
        raise _Refused(f"The file has {len(data):,} bytes; an image may have at most {most}.")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    what = _other(data)
    suffix = PurePosixPath(name.lower().replace("\0", "")).suffix
    if suffix in _SUFFIXES:
        what += f", although its name ends in {suffix}"
    raise _Refused(f"This is {what}; PNG, JPEG and WebP images can be scored.")


def _other(data: bytes) -> str:
    """What a file is that is none of the formats wanted."""
    for offset, signature, what in _OTHERS:
        if data[offset:].startswith(signature):
            return what
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<"):
        if b"<svg" in start:
            return "an SVG drawing"
        return "an HTML page" if b"<html" in start or b"<script" in start or b"<body" in start else "an XML file"
    try:
        text = data[:256].decode("ascii")
    except UnicodeDecodeError:
        return "not an image in a known format"
    printable = all(letter.isprintable() or letter in "\r\n\t" for letter in text)
    return "a text file" if printable else "not an image in a known format"


def _decode(name: str, data: bytes, kind: str) -> Picture:
    if kind == "WEBP":  # its decoder takes memory for the whole canvas before anyone can ask for the size
        _check_size(*_webp_size(data))
    if kind == "PNG":
        _check_size(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    if kind == "JPEG" and (scans := data.count(b"\xff\xda")) > MOST_SCANS:
        raise _Refused(f"The JPEG file has {scans:,} scans, more than {MOST_SCANS}: save it again without them.")
    if kind == "PNG" and _png_chunks(data) > MOST_CHUNKS:
        raise _Refused(f"The PNG file has more than {MOST_CHUNKS:,} parts: save it again without them.")
    with Image.open(io.BytesIO(data), formats=[kind]) as image:
        size = image.size
        _check_size(*size)
        frames = getattr(image, "n_frames", 1) if kind != "JPEG" else 1  # pictures behind a JPEG's are no film
        if frames > 1:
            raise _Refused(f"The {LABELS[kind]} file is animated ({frames:,} frames): save one of them as an image.")
        factor = _factor(size)
        if factor > 1 and kind == "JPEG":
            image.draft(None, (size[0] // factor, size[1] // factor))
        image.load()
        turn, notes = turn_of(image), _notes(name, kind, image)
        pixels = _small(image)
    if pixels.size != size:
        notes.append(f"It was averaged down from {size[0]:,} x {size[1]:,} to {pixels.width:,} x {pixels.height:,}.")
    if turn is not None:
        pixels = pixels.transpose(turn)
        notes.append("It was turned upright, as its EXIF orientation says.")
    return Picture(pixels, kind, size, tuple(notes))


def _check_size(width: int, height: int) -> None:
    sides = f"{width:,} x {height:,} pixels"
    if width * height > MOST_PIXELS:
        megapixels = width * height / 1e6
        raise _Refused(
            f"The image has {megapixels:,.0f} megapixels ({sides}); it may have at most {MOST_PIXELS / 1e6:g}."
        )
    if max(width, height) > MOST_RATIO * max(min(width, height), 1):
        raise _Refused(f"The image has {sides}; its longer side may be at most {MOST_RATIO} times its shorter one.")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas, from the header alone; ValueError where it has none."""
    chunk, body = data[12:16], data[20:30]

    def number(low: int, high: int) -> int:
        return int.from_bytes(body[low:high], "little")

    if len(body) == 10:
        if chunk == b"VP8X":
            return number(4, 7) + 1, number(7, 10) + 1
        if chunk == b"VP8L":
            return (number(1, 5) & 0x3FFF) + 1, (number(1, 5) >> 14 & 0x3FFF) + 1
        if chunk == b"VP8 ":
            return number(6, 8) & 0x3FFF, number(8, 10) & 0x3FFF
    raise ValueError("truncated" if len(body) < 10 else "no WebP image")


def _png_chunks(data: bytes) -> int:
    """Number of chunks, MOST_CHUNKS + 1 at most are counted; what is broken is left to the decoder."""
    at, count = 8, 0
    while at + 12 <= len(data) and count <= MOST_CHUNKS:
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        count += 1
    return count


def _notes(name: str, kind: str, image: Image.Image) -> list[str]:
    """What is worth saying about a loaded image."""
    notes = []
    suffix = PurePosixPath(name.lower().replace("\0", "")).suffix
    if suffix and _SUFFIXES.get(suffix) != kind:
        notes.append(f"It is a {LABELS[kind]} file, although its name ends in {shown_name(suffix)}.")
    if image.mode == "CMYK":
        notes.append("It was converted from CMYK to RGB without its colour profile.")
    if image.mode.startswith("I"):
        notes.append("Its 16 bits a pixel were scaled to 8.")
    clear = image.mode in ("LA", "PA", "RGBA") and image.getchannel("A").getextrema() != (255, 255)
    if clear or "transparency" in image.info:
        notes.append("Where it is transparent it stands on white.")
    return notes


def _factor(size: tuple[int, int]) -> int:
    """By how much the sides of a picture can be divided so that WORKING pixels or more remain."""
    return max(1, math.isqrt(size[0] * size[1] // WORKING))


def _small(image: Image.Image) -> Image.Image:
    """The picture in mode L or RGB, averaged down where it is large.

    That is done in strips: converted as a whole, with transparency, 50 megapixels would take another 800 MB.
    """
    factor = _factor(image.size)
    if factor == 1:
        return eight_bit(image)
    strips, width, height = [], image.width, image.height
    step = factor * max(1, WORKING // (4 * width * factor))
    for top in range(0, height, step):
        strip = image.crop((0, top, width, min(top + step, height)))
        strips.append(eight_bit(strip).reduce(factor))
    whole = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
    top = 0
    for strip in strips:
        whole.paste(strip, (0, top))
        top += strip.height
    return whole
