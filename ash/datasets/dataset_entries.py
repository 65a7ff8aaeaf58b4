"""What is known of a data set: where it lies under the data root, how many images it must have, where it comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ash.datasets.array_images import ArrayImages, CifarImages, OneFile, SvhnImages
from ash.datasets.packed_images import ListedImages, PackedImages
from ash.files import user_folder
from ash.images import DataError, FileImages, FirstImages, FolderImages, ImageSet, image_names
from ash.shipped import ASSETS as ASSETS
from ash.shipped import FOLDER as SHIPPED


def data_root() -> Path:
    """Where data sets and weights are kept: ASH_DATA, or the `ash` folder of the user's data directory."""
    return user_folder("ASH_DATA", "XDG_DATA_HOME", ".local/share")


@dataclass(frozen=True)
class Archive:
    """A file to download: its public http(s) address, its bytes, and `md5:` or `sha256:` and hex digits.

    `size` None and `checksum` "" where its publisher states none. `members` is a regular expression of the names to
    unpack, "" for all. An empty `url` is a file that its publisher gives only to registered users.
    """

    file: str
    url: str = ""
    size: int | None = None
    checksum: str = ""
    members: str = ""


@dataclass(frozen=True)
class Layout:
    """A way in which public copies of a set lie in its folder: `place` is relative to it, `kind` says how to read it.

    `folder`: images, flat or in class folders; `batch`: a CIFAR batch; `mat`: SVHN's file; `npz`, `zip`: as bundled.
    """

    kind: Literal["folder", "batch", "mat", "npz", "zip"]
    place: str

    def is_there(self, folder: Path) -> bool:
        """Whether there is something at this place of the set's folder."""
        path = folder / self.place
        return path.is_dir() if self.kind == "folder" else path.is_file()


@dataclass(frozen=True)
class Status:
    """What is on disk of a data set: `count` images (None: nothing), `bytes`, where, and why it is not present.

    `listed`: no image is here, but activations of so many ship. `features`: there are so many rows of features and no
    images at all. `look` changes with the files.
    """

    state: Literal["present", "missing", "incomplete", "listed", "features"]
    count: int | None
    bytes: int
    path: Path
    reason: str = ""
    look: str = ""


@dataclass(frozen=True)
class DatasetEntry:
    """A set that the explorer knows by name.

    `note` says in a sentence what is in it, `rule` which images of the publication are meant; `count` images and
    `classes` class folders it must have (None: any). `folders` are the names its folder may have in the data root, the
    first is where a fetch puts it. `first` takes that many images in path order, `per_class` that many of each class.
    `torchvision` is the dataset class that unpacks and verifies it, "" for none; `wall` says who gives out the files
    that have no public address. `near`: of an ID set, which OOD sets are near it, as near-OOD is understood in OpenOOD:
    other classes of the same kind of image. `noise`: drawn by a program, so that it takes no OOD data to have it.
    """

    name: str
    label: str
    role: Literal["id", "ood", "own"]
    note: str
    layouts: tuple[Layout, ...]
    folders: tuple[str, ...]
    count: int | None = None
    classes: int | None = None
    licence: str = ""
    homepage: str = ""
    files: tuple[Archive, ...] = ()
    rule: str = ""
    first: int = 0
    per_class: int = 0
    torchvision: str = ""
    wall: str = ""
    near: tuple[str, ...] = ()
    noise: bool = False
    home: Path | None = None  # where `folders` lie, for what is not in the data root

    def read(self, folder: Path, layout: Layout) -> FileImages | OneFile:
        """The images of the set's folder in a layout that is there; DataError when they cannot be read."""
        path = folder / layout.place
        if layout.kind == "npz":
            return ArrayImages(path, self.name, self.label, shipped=self.home == SHIPPED)
        if layout.kind == "zip":
            return PackedImages(path, self.name, self.label, shipped=self.home == SHIPPED)
        if layout.kind == "batch":
            return CifarImages(path, self.name, self.label)
        if layout.kind == "mat":
            return SvhnImages(path, self.name, self.label, self.per_class)
        if self.first:
            return FirstImages(path, self.first, self.name, self.label, upright=False)
        return FolderImages(path, self.name, self.label, upright=False)  # as everyone reads the published files

    def _lacks(self, images: FileImages | OneFile) -> str:
        """Why these images are not the whole set, "" when they are."""
        if self.count is not None and len(images) != self.count:
            return f"{len(images):,} of {self.count:,} images"
        classes = len(set(images.labels[images.labels >= 0].tolist()))
        if self.classes is not None and classes != self.classes:
            return f"{classes:,} of {self.classes:,} classes"
        return ""

    def find(self, folders: list[Path]) -> tuple[FileImages | OneFile | None, Status]:
        """The images in the first of these folders that holds the whole set, else in the fullest, and the status."""
        best: FileImages | OneFile | None = None
        status = Status("missing", None, 0, folders[0], "nothing is there")
        for folder in folders:
            for layout in self.layouts:
                if not layout.is_there(folder):
                    continue
                path = folder / layout.place
                try:
                    if layout.kind == "folder" and next(image_names(path), None) is None:
                        continue
                    images = self.read(folder, layout)
                    lacks, count, size = self._lacks(images), len(images), images.disk_bytes
                except DataError as error:
                    if status.state == "missing":
                        status = Status("incomplete", 0, 0, path, str(error))
                    continue
                if not lacks:
                    return images, Status("present", count, size, path, look=images.look)
                if best is None or count > len(best):
                    best, status = images, Status("incomplete", count, size, path, lacks, images.look)
        return best, status

    def _folders(self, root: Path | None) -> list[Path]:
        base = self.home or root or data_root()
        return [base / name for name in self.folders]

    def status(self, root: Path | None = None) -> Status:
        """What is there under the data root, by counting files: 0.3 s for 50,000 images, none is decoded."""
        status = self.find(self._folders(root))[1]
        listed = self.listed() if status.state == "missing" else None
        if listed is None:
            return status
        try:
            count, size = len(listed), listed.disk_bytes
        except DataError as error:  # not "missing", which a fetch would mend
            return Status("incomplete", 0, 0, listed.path, str(error))
        return Status("listed", count, size, status.path, "its images do not ship", listed.look)

    def listed(self) -> ListedImages | None:
        """Names and labels of the images whose activations ship while they do not; None where there are none."""
        path = SHIPPED / "images" / f"{self.name}.csv"
        if self.home is not None or self.role == "own" or not path.is_file():
            return None
        return ListedImages(path, self.name, self.label, shipped=True, instructions=self.instructions)

    def open(self, root: Path | None = None) -> ImageSet:
        """The images; DataError when they are missing or not all there."""
        images, status = self.find(self._folders(root))
        if images is not None and status.state == "present":
            return images
        if images is not None and not self.home:
            raise DataError(
                f"{self.label} is incomplete: {status.path} holds {status.reason}. "
                f"Run `python -m ash fetch {self.name}`, or use what is there as {self.name}={status.path}."
            )
        unreadable = images is None and status.state == "incomplete"
        raise DataError(status.reason if unreadable else self.how_to_get(root))

    @property
    def instructions(self) -> str:
        """How to get the set: a command or, behind a licence wall, which file, from where, put where."""
        return self.how_to_get()

    def how_to_get(self, root: Path | None = None) -> str:
        """`instructions` for another data root."""
        where = self._folders(root)[0]
        if self.home:
            return f"{self.label} is not in {where}: run `python -m ash demo build`."
        if not self.wall:
            return f"{self.label} is not in {where}: run `python -m ash fetch {self.name}`."
        files = " and ".join(file.file for file in self.files)
        return (
            f"{self.label} cannot be fetched without its licence: {self.wall}, put {files} into {where}, "
            f"then run `python -m ash fetch {self.name}`."
        )
