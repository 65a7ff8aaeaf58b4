"""Files that nobody should upload, and odd ones that are fine: kind -> name, bytes, what must be said of them.

`KINDS[kind]()` makes a `Case`. Used by the tests and by the benchmark that sends all of them to a running server.
"""

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Case:
    """`refused`: whether the file must be refused. `says`: what the sentence, or a note, must hold; "" for no note."""

    name: str
    data: bytes
    refused: bool
    says: str


KINDS: dict[str, Callable[[], Case]] = {}


def kind(name: str, refused: bool, says: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """Register a function of bytes under its own name, in words."""

    def register(make: Callable[[], bytes]) -> Callable[[], bytes]:
        KINDS[make.__name__.replace("_", " ")] = lambda: Case(name, make(), refused, says)
        return make

    return register


def bad(name: str, says: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """A file that must be refused."""
    return kind(name, True, says)


def odd(name: str, says: str = "") -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """A file that must be accepted."""
    return kind(name, False, says)


def picture(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> Image.Image:
    """A picture with edges and a slope, so that formats have something to store."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    ImageDraw.Draw(image).ellipse((size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2), fill=(200, 30, 60))
    return image.convert(mode)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """The file of an image."""
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*chunks: bytes, width: int = 8, height: int = 8, depth: int = 8, colour: int = 0, body: bytes = b"") -> bytes:
    """A PNG with more chunks after its header. `body`: its deflated lines; grey and plain if not given."""
    body = body or zlib.compress(bytes(min((width + 1) * height, 10_000)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG + header + b"".join(chunks) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_sized(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    data = bytearray(saved(picture("L"), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_canvas(width: int, height: int) -> bytes:
    """A WebP that declares a canvas, with nothing on it."""
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little")
    body += (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body)) + body


def zeros(count: int) -> bytes:
    """So many zeros, deflated, made in pieces."""
    packer, out, piece = zlib.compressobj(9), [], bytes(2**20)
    for _ in range(count // 2**20):
        out.append(packer.compress(piece))
    return b"".join((*out, packer.compress(bytes(count % 2**20)), packer.flush()))


def archive() -> bytes:
    """A ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as one:
        one.writestr("a.txt", "hello")
    return out.getvalue()


def film(format: str, **options: object) -> bytes:
    """Three frames."""
    frames = [picture("P" if format == "GIF" else "RGB").rotate(90 * i) for i in range(3)]
    return saved(frames[0], format, save_all=True, append_images=frames[1:], duration=100, **options)


# Nothing, or only the beginning of something


@bad("empty.png", "empty: it has 0 bytes")
def zero_bytes() -> bytes:
    return b""


@bad("one.png", "although its name ends in .png")
def one_byte() -> bytes:
    return b"\x89"


@bad("start.png", "damaged")
def png_signature_alone() -> bytes:
    return PNG


@bad("start.jpg", "damaged")
def jpeg_signature_alone() -> bytes:
    return b"\xff\xd8\xff\xe0"


@bad("start.webp", "cut off")
def webp_signature_alone() -> bytes:
    return b"RIFF\x24\0\0\0WEBP"


@bad("half.png", "cut off")
def half_a_png() -> bytes:
    data = saved(Image.effect_noise((80, 80), 80), "PNG")
    return data[: len(data) // 2]


@bad("half.jpg", "cut off")
def half_a_jpeg() -> bytes:
    data = saved(picture(size=(300, 200)), "JPEG")
    return data[: len(data) // 2]


@bad("half.webp", "damaged")
def half_a_webp() -> bytes:
    data = saved(picture(size=(300, 200)), "WEBP")
    return data[: len(data) // 2]


@bad("header.png", "damaged")
def png_without_pixels() -> bytes:
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)) + chunk(b"IEND", b"")


# Damaged


@bad("crc.png", "damaged")
def png_with_a_wrong_header_checksum() -> bytes:
    data = bytearray(saved(picture(), "PNG"))
    data[29] ^= 255
    return bytes(data)


@bad("idat.png", "damaged")
def png_with_garbage_for_pixels() -> bytes:
    return png(body=b"\x12\x34" * 200)


@bad("length.png", "damaged")
def png_with_a_huge_chunk_length() -> bytes:
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)) + b"\xff\xff\xff\xffIDAT" + bytes(50)


@bad("mode.png", "damaged")
def png_of_an_impossible_mode() -> bytes:
    return png(depth=5, colour=7)


@bad("zero.png", "damaged")
def png_without_area() -> bytes:
    return png(width=0, height=0)


@bad("tables.jpg", "damaged")
def jpeg_without_its_tables() -> bytes:
    data = saved(picture(), "JPEG")
    return data[:2] + data[data.index(b"\xff\xc0") :]


@bad("noise.jpg", "save it again")
def jpeg_of_noise() -> bytes:
    return b"\xff\xd8\xff\xe0" + np.random.default_rng(0).bytes(5000)


@bad("noise.webp", "damaged")
def webp_of_noise() -> bytes:
    return b"RIFF" + struct.pack("<I", 5012) + b"WEBPVP8L" + struct.pack("<I", 5000) + b"\x2f" + bytes(5000)


# Too much


@bad("large.jpg", "at most 5,000,000 (5 MB)")
def more_than_5_megabytes() -> bytes:
    return saved(picture(), "JPEG") + bytes(5_000_000)


@bad("100mp.png", "108 megapixels")
def png_that_says_100_megapixels() -> bytes:
    return png(width=12_000, height=9_000)


@bad("3gp.png", "megapixels")
def png_that_says_3600_megapixels() -> bytes:
    return png(width=60_000, height=60_000)


@bad("max.png", "megapixels")
def png_of_the_largest_sides() -> bytes:
    return png(width=2**31 - 1, height=2**31 - 1)


@bad("max.jpg", "megapixels")
def jpeg_that_says_4295_megapixels() -> bytes:
    return jpeg_sized(65_535, 65_535)


@bad("100mp.jpg", "megapixels")
def jpeg_that_says_100_megapixels() -> bytes:
    return jpeg_sized(12_000, 9_000)


@bad("max.webp", "megapixels")
def webp_that_says_268_megapixels() -> bytes:
    return webp_canvas(16_384, 16_384)


@bad("canvas.webp", "megapixels")
def webp_with_the_largest_canvas() -> bytes:
    return webp_canvas(2**24, 2**24)


@bad("bomb.png", "100 megapixels")
def png_bomb_of_100_real_megapixels() -> bytes:
    return png(width=10_000, height=10_000, body=zeros(10_001 * 10_000))


@bad("text.png", "unpacks to more than 1 MB")
def png_with_a_bomb_of_text() -> bytes:
    return png(chunk(b"zTXt", b"Comment\0\0" + zeros(200 * 2**20)))


@bad("itext.png", "unpacks to more than 1 MB")
def png_with_a_bomb_of_unicode_text() -> bytes:
    return png(chunk(b"iTXt", b"Comment\0\1\0\0\0" + zeros(200 * 2**20)))


@bad("texts.png", "unpacks to more than 1 MB")
def png_with_a_hundred_texts_of_a_megabyte() -> bytes:
    return png(*[chunk(b"zTXt", b"Comment\0\0" + zeros(2**20))] * 100)


@bad("chunks.png", "more than 20,000 parts")
def png_of_very_many_chunks() -> bytes:
    return png(*[chunk(b"vpAg", b"")] * 300_000)


@bad("strip.png", "at most 100 times")
def png_one_pixel_high() -> bytes:
    return png(width=1_000_000, height=1, body=zeros(1_000_001))


@bad("strip.jpg", "at most 100 times")
def jpeg_one_pixel_wide() -> bytes:
    return saved(picture("L", (1, 60_000)), "JPEG")


@bad("scans.jpg", "scans, more than 100")
def jpeg_with_thousands_of_scans() -> bytes:
    data = saved(picture("L", (2000, 2000)), "JPEG", progressive=True)
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[start:end] * 300 + data[end:]


# Films


@bad("film.png", "animated (3 frames)")
def animated_png() -> bytes:
    return film("PNG")


@bad("film.webp", "animated (3 frames)")
def animated_webp() -> bytes:
    return film("WEBP")


@bad("film.webp", "a GIF image, although its name ends in .webp")
def animated_gif_named_webp() -> bytes:
    return film("GIF")


# Something else under the name of an image


@bad("picture.png", "a GIF image, although its name ends in .png")
def gif_named_png() -> bytes:
    return saved(picture("P"), "GIF")


@bad("picture.png", "a BMP image")
def bmp_named_png() -> bytes:
    return saved(picture(), "BMP")


@bad("picture.jpg", "a TIFF image")
def tiff_named_jpg() -> bytes:
    return saved(picture(), "TIFF")


@bad("picture.png", "an icon (ICO)")
def ico_named_png() -> bytes:
    return saved(picture(), "ICO")


@bad("picture.jpg", "a JPEG 2000 image")
def jpeg2000_named_jpg() -> bytes:
    return b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)


@bad("picture.png", "an AVIF image")
def avif_named_png() -> bytes:
    return b"\0\0\0\x1cftypavif" + bytes(100)


@bad("picture.jpg", "a HEIC image")
def heic_named_jpg() -> bytes:
    return b"\0\0\0\x18ftypheic" + bytes(100)


@bad("picture.jpg", "a JPEG XL image")
def jpeg_xl_named_jpg() -> bytes:
    return b"\xff\x0a" + bytes(100)


@bad("picture.png", "a Photoshop file")
def psd_named_png() -> bytes:
    return b"8BPS\0\1" + bytes(100)


@bad("film.webp", "a video")
def mp4_named_webp() -> bytes:
    return b"\0\0\0\x18ftypisom" + bytes(100)


@bad("sound.webp", "a sound or video file")
def wav_named_webp() -> bytes:
    return b"RIFF\x24\0\0\0WAVEfmt " + bytes(100)


@bad("drawing.png", "an SVG drawing, although its name ends in .png")
def svg_named_png() -> bytes:
    return b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@bad("laughs.png", "an SVG drawing")
def svg_of_a_billion_laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return f'<!DOCTYPE svg [<!ENTITY l0 "lol">{entities}]><svg><text>&l9;</text></svg>'.encode()


@bad("page.jpg", "an HTML page")
def html_named_jpg() -> bytes:
    return b"<!DOCTYPE html><html><script>alert(document.cookie)</script></html>"


@bad("data.png", "an XML file")
def xml_named_png() -> bytes:
    return b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'


@bad("paper.png", "a PDF document")
def pdf_named_png() -> bytes:
    return b"%PDF-1.7\n" + bytes(100)


@bad("script.png", "a PostScript document")
def postscript_named_png() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file"


@bad("box.png", "a ZIP archive")
def zip_named_png() -> bytes:
    return archive()


@bad("box.jpg", "a gzip archive")
def gzip_bomb_named_jpg() -> bytes:
    return gzip.compress(bytes(50 * 2**20))


@bad("program.png", "a program (ELF)")
def elf_named_png() -> bytes:
    return b"\x7fELF\2\1\1" + bytes(200)


@bad("program.exe.png", "a program (Windows)")
def exe_named_png() -> bytes:
    return b"MZ\x90\0" + bytes(200)


@bad("weights.png", "not an image in a known format, although its name ends in .png")
def pickle_named_png() -> bytes:
    return pickle.dumps({"run": print})


@bad("notes.jpg", "a text file")
def text_named_jpg() -> bytes:
    return b"P3\n1 1\n255\n0 0 0\n"


@bad("noise", "not an image in a known format")
def noise_without_a_suffix() -> bytes:
    return b"\0" + np.random.default_rng(0).bytes(3000)


# Odd, but fine


@odd("shoe.png", "a JPEG file, although its name ends in .png")
def jpeg_named_png() -> bytes:
    return saved(picture(), "JPEG")


@odd("shoe.jpg", "a PNG file, although its name ends in .jpg")
def png_named_jpg() -> bytes:
    return saved(picture(), "PNG")


@odd("shoe.svg", "a WebP file, although its name ends in .svg")
def webp_named_svg() -> bytes:
    return saved(picture(), "WEBP")


@odd("shoe")
def png_without_a_suffix() -> bytes:
    return saved(picture(), "PNG")


@odd("deep.png", "16 bits a pixel")
def grey_of_16_bits() -> bytes:
    return saved(Image.fromarray(np.linspace(0, 65535, 60 * 40).reshape(40, 60).astype(np.uint16)), "PNG")


@odd("deep.png")
def colour_of_16_bits() -> bytes:
    lines = b"".join(b"\0" + np.random.default_rng(y).bytes(32 * 6) for y in range(32))
    return png(width=32, height=32, depth=16, colour=2, body=zlib.compress(lines))


@odd("palette.png", "stands on white")
def palette_with_transparency() -> bytes:
    return saved(picture("P"), "PNG", transparency=0)


@odd("alpha.png", "stands on white")
def grey_with_alpha() -> bytes:
    return saved(Image.merge("LA", (picture("L"), Image.linear_gradient("L").resize((60, 40)))), "PNG")


@odd("bits.png")
def one_bit_a_pixel() -> bytes:
    return saved(picture("1"), "PNG")


@odd("cmyk.jpg", "converted from CMYK")
def cmyk_jpeg() -> bytes:
    return saved(picture("CMYK"), "JPEG")


@odd("grey.jpg")
def grey_jpeg() -> bytes:
    return saved(picture("L"), "JPEG")


@odd("dot.png")
def one_pixel() -> bytes:
    return saved(picture("RGB", (1, 1)), "PNG")


@odd("flat.png", "averaged down from 7,000 x 7,000")
def bomb_within_the_limits() -> bytes:
    return png(width=7_000, height=7_000, body=zeros(7_001 * 7_000))


@odd("turned.jpg", "turned upright")
def turned_by_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(picture(), "JPEG", exif=exif)


@odd("junk.jpg")
def exif_of_junk() -> bytes:
    return saved(picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(256)) * 20)


@odd("profile.png")
def colour_profile_of_junk() -> bytes:
    return saved(picture(), "PNG", icc_profile=b"no profile" * 500)


@bad("profile.png", "unpacks to more than 1 MB")
def colour_profile_that_is_a_bomb() -> bytes:
    return png(chunk(b"iCCP", b"icc\0\0" + zeros(200 * 2**20)))


@odd("both.png")
def png_and_zip_in_one() -> bytes:
    return saved(picture(), "PNG") + archive()


@odd("both.jpg")
def jpeg_and_html_in_one() -> bytes:
    return saved(picture(), "JPEG", comment=b"<script>alert(1)</script>") + b"<html><script>alert(2)</script></html>"


@odd("script.png")
def png_with_a_script_in_its_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("<script>alert(1)</script>", "<?php system($_GET[0]); ?>")
    return saved(picture(), "PNG", pnginfo=info)


@odd("two.jpg")
def jpeg_with_a_second_picture() -> bytes:
    return saved(picture(), "MPO", save_all=True, append_images=[picture("RGB", (30, 20))])


@odd("slow.jpg")
def progressive_jpeg() -> bytes:
    return saved(picture(), "JPEG", progressive=True)


@odd("nul\0.png")
def name_with_a_nul() -> bytes:
    return saved(picture("RGB", (61, 40)), "PNG")


@odd("a" * 5000 + ".png")
def very_long_name() -> bytes:
    return saved(picture("RGB", (62, 40)), "PNG")


@odd("../../../etc/passwd.png")
def name_like_a_path() -> bytes:
    return saved(picture("RGB", (63, 40)), "PNG")


@odd('<img src=x onerror="alert(1)"> **bold** [x](http://example.org) :smile:.png')
def name_with_markup() -> bytes:
    return saved(picture("RGB", (64, 40)), "PNG")


@odd("harmless\u202egnp.exe\r\n.png")
def name_that_turns_around() -> bytes:
    return saved(picture("RGB", (65, 40)), "PNG")


@odd("=HYPERLINK(A1)#.png")
def name_that_is_a_formula() -> bytes:
    return saved(picture("RGB", (66, 40)), "PNG")
