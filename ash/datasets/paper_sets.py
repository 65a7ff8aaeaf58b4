"""The data sets that come with the explorer, and those of the paper.

Checksums are torchvision's, and for LSUN those on which two independent collections agree; where none is published the
entry has none. Addresses are those that the authors of the paper load from. Folder names are theirs too.
"""

from collections.abc import Iterator
from typing import Literal

from ash.datasets.dataset_entries import ASSETS, Archive, DatasetEntry, Layout

_MOS = "https://pages.cs.wisc.edu/~huangrui/imagenet_ood_dataset/"
_MOS_HOME = "https://github.com/deeplearning-wisc/large_scale_ood"
_ODIN_HOME = "https://github.com/facebookresearch/odin"
_RESEARCH = "research only"
_MADE_HERE = "made here"  # drawn by a program of this repository, under its licence


_Bundled = tuple[str, str, Literal["id", "ood"], int, str, str]  # name, label, role, images, licence, note


_NEAR_OF = {"fashion_mnist": ("chimeras",), "photos": ("clipart_objects",)}


def _bundled(layout: Literal["npz", "zip"], *sets: _Bundled) -> Iterator[DatasetEntry]:
    """The sets that ship with their images, in files of one kind."""
    for name, label, role, count, licence, note in sets:
        yield DatasetEntry(
            name,
            label,
            role,
            note,
            (Layout(layout, f"{name}.{layout}"),),
            ("images",),
            count=count,
            licence=licence,
            rule="All images that ship.",
            near=_NEAR_OF.get(name, ()),
            noise=name in ("noise", "patterns"),
            home=ASSETS / "demo",
        )


_GARMENTS = "The first 3,000 test images: ten kinds of clothing, 28 x 28, grey."
_PHOTOS = "1,000 photographs of things that ImageNet has classes for, each by a named author."
_NEAR = "Drawings of animals, food, tools and vehicles, from Open Clip Art: near the classes of the photographs."
_FITTING = "3,000 training images, 300 a class, for fitting."
_HALVES = "The upper half of one garment on the lower half of another."
DEMO_SETS = (
    *_bundled(  # of 28 x 28 pixels
        "npz",
        ("fashion_mnist", "Fashion-MNIST", "id", 3_000, "MIT", _GARMENTS),
        ("fashion_mnist_train", "Fashion-MNIST, training", "id", 3000, "MIT", _FITTING),
        ("noise", "Noise", "ood", 1000, _MADE_HERE, "Generated: independent pixels, smooth blobs, gratings."),
        ("textures", "Textures", "ood", 1000, "CC0", "Crops of brick, grass and gravel."),
        ("letters", "Letters", "ood", 1000, _MADE_HERE, "Latin letters in faces of the DejaVu fonts."),
        ("digits", "Digits", "ood", 1000, "CC BY 4.0", "Handwritten digits of scikit-learn."),
        ("photographs", "Photographs", "ood", 1000, "public, CC0", "Grey crops of photographs."),
        ("chimeras", "Chimeras", "ood", 1000, "MIT", _HALVES),
    ),
    *_bundled(  # of 224 x 224
        "zip",
        ("photos", "Photos", "id", 1000, "CC BY 2.0", _PHOTOS),
        ("patterns", "Patterns", "ood", 300, _MADE_HERE, "Drawn by a program: blocks, blobs, gratings, checks."),
        ("pages", "Pages and charts", "ood", 200, _MADE_HERE, "Drawn by a program: printed pages, tables, charts."),
        ("emoji", "Emoji", "ood", 300, "OFL 1.1", "Faces, hands, people and signs of Noto Color Emoji."),
        ("clipart", "Clip art", "ood", 300, "public domain", "Drawings of signs and symbols, from Open Clip Art."),
        ("clipart_objects", "Clip art of objects", "ood", 300, "public domain", _NEAR),
    ),
)


def _cifar(classes: int, size: int, md5: str, base: str, batch: str, near: tuple[str, ...]) -> DatasetEntry:
    name = f"cifar{classes}"
    file = f"cifar-{classes}-python.tar.gz"
    return DatasetEntry(
        name,
        f"CIFAR-{classes}",
        "id",
        f"The 10,000 test images of CIFAR-{classes}: {classes} classes, 32 x 32, colour.",
        (Layout("batch", f"{base}/{batch}"), Layout("batch", batch), Layout("folder", "test"), Layout("folder", ".")),
        (name,),
        count=10_000,
        classes=classes,
        licence="none stated",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        files=(Archive(file, f"https://www.cs.toronto.edu/~kriz/{file}", size, f"md5:{md5}"),),
        rule="The whole test set.",
        torchvision=f"CIFAR{classes}",
        near=near,
    )


IMAGENET = DatasetEntry(
    "imagenet",
    "ImageNet-1k",
    "id",
    "The 50,000 validation images of ILSVRC 2012: 1,000 classes, photographs.",
    (Layout("folder", "val"), Layout("folder", ".")),
    ("imagenet", "ImageNet", "ILSVRC-2012", "ILSVRC2012"),
    count=50_000,
    classes=1000,
    licence=_RESEARCH,
    homepage="https://image-net.org/challenges/LSVRC/2012/",
    files=(
        Archive("ILSVRC2012_img_val.tar", size=6_744_924_160, checksum="md5:29b22e2961454d5413ddabcf34fc5622"),
        Archive("ILSVRC2012_devkit_t12.tar.gz", checksum="md5:fa75699e90414af021442c21a62c3abf"),
    ),
    rule="The whole validation set.",
    torchvision="ImageNet",
    near=("ssb_hard", "ninco"),
    wall="register at https://image-net.org and download from https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
)

SVHN = DatasetEntry(
    "svhn",
    "SVHN",
    "ood",
    "House numbers from street views, 32 x 32, colour.",
    (
        Layout("mat", "test_32x32.mat"),
        Layout("mat", "selected_test_32x32.mat"),
        Layout("folder", "test"),
        Layout("folder", "."),
    ),
    ("svhn", "SVHN"),
    count=10_000,
    licence="non-commercial",
    homepage="http://ufldl.stanford.edu/housenumbers/",
    files=(
        Archive(
            "test_32x32.mat",
            "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
            64_275_384,
            checksum="md5:eb5a983be6a315427106f1b164d9cef3",
        ),
    ),
    rule="The first 1,000 images of each digit of the test set, in the file's order.",
    per_class=1000,
    torchvision="SVHN",
)


def _odin(
    name: str, label: str, note: str, archive: Archive, places: tuple[str, ...], folders: tuple[str, ...], count: int
) -> DatasetEntry:
    return DatasetEntry(
        name,
        label,
        "ood",
        note,
        tuple(Layout("folder", place) for place in (*places, ".")),
        (name, *folders),
        count=count,
        licence="none stated",
        homepage=_ODIN_HOME,
        files=(archive,),
        rule="All images of the archive published with ODIN.",
    )


LSUN_C = _odin(
    "lsun_c",
    "LSUN-C",
    "Random crops of 10,000 LSUN test scenes.",
    Archive(
        "LSUN.tar.gz",
        "https://www.dropbox.com/s/fhtsw1m3qxlwj6h/LSUN.tar.gz?dl=1",
        checksum="md5:458a0a0ab8e5f1cb4516d7400568e460",
    ),
    ("LSUN/test", "test", "LSUN"),
    ("LSUN_C", "LSUN"),
    10_000,
)
LSUN_R = _odin(
    "lsun_r",
    "LSUN-R",
    "10,000 LSUN test scenes, resized to 32 x 32.",
    Archive(
        "LSUN_resize.tar.gz",
        "https://www.dropbox.com/s/moqh2wh8696c3yl/LSUN_resize.tar.gz?dl=1",
        checksum="md5:278b7b31c8cb7e804a1465a8ce03a2dc",
    ),
    ("LSUN_resize/LSUN_resize", "LSUN_resize"),
    ("LSUN_R", "LSUN_resize"),
    10_000,
)
ISUN = _odin(
    "isun",
    "iSUN",
    "8,925 scenes of SUN, resized to 32 x 32.",
    Archive("iSUN.tar.gz", "https://www.dropbox.com/s/ssz7qxfqae0cca5/iSUN.tar.gz?dl=1"),
    ("iSUN_patches", "iSUN/iSUN_patches", "iSUN"),
    ("iSUN",),
    8925,
)

PLACES365 = DatasetEntry(
    "places365",
    "Places365",
    "ood",
    "Scenes of the Places365 test set, 256 x 256.",
    tuple(
        Layout("folder", place)
        for place in ("test_256", "test_subset/test_subset", "test_subset", "places365/test_256", ".")
    ),
    ("places365", "Places365"),
    count=10_000,
    licence=_RESEARCH,
    homepage="http://places2.csail.mit.edu/download.html",
    files=(
        Archive(
            "test_256.tar",
            "http://data.csail.mit.edu/places/places365/test_256.tar",
            checksum="md5:f532f6ad7b582262a2ec8009075e186b",
            members=r"test_256/Places365_test_000(0\d{4}|10000)\.jpg",
        ),
    ),
    rule="The first 10,000 images of test_256 in path order, as the paper's code takes them.",
    first=10_000,
)

DTD = DatasetEntry(
    "dtd",
    "Textures (DTD)",
    "ood",
    "The Describable Textures: 47 kinds, 300 to 640 pixels.",
    tuple(Layout("folder", place) for place in ("dtd/images", "images", ".")),
    ("dtd", "textures", "Textures"),
    count=5640,
    classes=47,
    licence=_RESEARCH,
    homepage="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    files=(
        Archive(
            "dtd-r1.0.1.tar.gz",
            "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
            625_239_812,
            checksum="md5:fff73e5086ae6bdbea199a49dfb8a4c1",
        ),
    ),
    rule="All images of all splits.",
    torchvision="DTD",
)


def _mos(name: str, folder: str, note: str, licence: str) -> DatasetEntry:
    return DatasetEntry(
        name,
        folder,
        "ood",
        note,
        tuple(Layout("folder", place) for place in (f"{folder}/images", "images", ".")),
        (name, folder),
        count=10_000,
        licence=licence,
        homepage=_MOS_HOME,
        files=(Archive(f"{folder}.tar.gz", f"{_MOS}{folder}.tar.gz"),),
        rule="The 10,000 images that Huang & Li chose so that no class overlaps with ImageNet-1k's.",
    )


PAPER_SETS = (
    _cifar(
        10, 170_498_071, "c58f30108f718f92721af3b95e74349a", "cifar-10-batches-py", "test_batch", ("cifar100", "tin")
    ),
    _cifar(100, 169_001_437, "eb9058c3a382ffc7106e4002c42a8d85", "cifar-100-python", "test", ("cifar10", "tin")),
    IMAGENET,
    SVHN,
    LSUN_C,
    LSUN_R,
    ISUN,
    PLACES365,
    DTD,
    _mos("inaturalist", "iNaturalist", "Plants of iNaturalist.", "non-commercial"),
    _mos("sun", "SUN", "Scenes of SUN.", _RESEARCH),
    _mos("places", "Places", "Scenes of Places.", _RESEARCH),
)
