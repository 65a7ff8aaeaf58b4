"""An image set from a CSV file: a header with `image` and, where classes are known, `label`; other columns are ignored.

Paths are relative to the CSV's folder or, where the first image is not there, to the folder beside it that bears its
name (`images.csv` and `images/`). Rows keep their order.
"""

import csv
import hashlib
import io
import os
import posixpath
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ash.files import LongLineError, lines_of, open_regular
from ash.images import UNKNOWN, DataError, FileImages

IMAGE, LABEL = "image", "label"
LIST = "images.csv"  # a folder with this file in it is read by it


class CsvImages(FileImages):
    """The images that a CSV file lists, with its labels: class indices from 0; DataError names file and line."""

    def __init__(self, path: Path, name: str, label: str = "") -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"There is no file {path}; give a CSV file with the columns image,label.")
        lines, files, labels = [], [], []
        for line, file, value in _rows(path):
            lines.append(line)
            files.append(file)
            labels.append(value)
        if not files:
            raise DataError(f"{path} lists no images below its header.")
        _no_duplicates(path, lines, files)
        self._labels = np.array(labels, np.int64)
        super().__init__(_folder(path, files[0]), files, name, label)
        for line, file in zip(lines, files, strict=True):
            if not os.path.isfile(f"{self.root}/{file}"):
                raise DataError(f"{path}, line {line}: there is no image {file} in {self.root}.")

    @property
    def labels(self) -> NDArray[np.int64]:
        return self._labels

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(super().fingerprint.encode() + self._labels.tobytes()).hexdigest()


def _text(path: Path) -> IO[str]:
    return io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="")


def is_list(path: Path) -> bool:
    """Whether a file is a CSV whose header names a column `image`."""
    try:
        with _text(path) as file:
            return path.suffix.lower() == ".csv" and IMAGE in next(csv.reader(lines_of(file)), [])
    except (OSError, ValueError, csv.Error):
        return False


def _rows(path: Path) -> Iterator[tuple[int, str, int]]:
    """Line number, image and label of every row that is not empty."""
    try:
        with _text(path) as file:
            reader = csv.reader(lines_of(file), strict=True)
            header = next(reader, [])
            if IMAGE not in header:
                raise DataError(
                    f"{path}, line 1: the header must have the columns image,label, not {','.join(header)}."
                )
            at, label_at = header.index(IMAGE), header.index(LABEL) if LABEL in header else None
            for row in reader:
                if row:
                    where = f"{path}, line {reader.line_num}"
                    if len(row) != len(header):
                        raise DataError(f"{where}: {len(row)} values under a header of {len(header)} columns.")
                    value = UNKNOWN if label_at is None else _label(row[label_at], where)
                    yield reader.line_num, _relative(row[at], where), value
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a CSV file in UTF-8.") from error
    except (csv.Error, LongLineError) as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _label(text: str, where: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise DataError(f"{where}: the label must be a class index, an integer from 0, not '{text}'.")
    return int(text)


def _relative(text: str, where: str) -> str:
    """The path without `.` and doubled slashes; DataError when it is absolute or leaves its folder."""
    file = posixpath.normpath(text) if text else ""
    if file in ("", ".") or "\0" in file:
        raise DataError(f"{where}: the image has no name.")
    if PurePosixPath(file).is_absolute() or PureWindowsPath(file).drive or file.split("/")[0] == "..":
        raise DataError(f"{where}: the path {text} must lie within the folder of the CSV file.")
    return file


def _no_duplicates(path: Path, lines: list[int], files: list[str]) -> None:
    first: dict[str, int] = {}
    for line, file in zip(lines, files, strict=True):
        if file in first:
            raise DataError(f"{path}, line {line}: {file} is listed already in line {first[file]}.")
        first[file] = line


def _folder(path: Path, file: str) -> Path:
    """The folder that the list's paths are relative to."""
    beside = path.with_suffix("")
    return beside if not (path.parent / file).is_file() and (beside / file).is_file() else path.parent
