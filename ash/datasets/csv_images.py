"""An image set from a CSV file: a header with `image` and, where classes are known, `label`; other columns are ignored.

Labels are class numbers from 0 or, as soon as one of them is no number, the names of classes; numbers that are all
names of a network's classes are those, as they are for folders. In the header, spaces
and capitals do not matter, and `labels` will do.

Paths are relative to the CSV's folder or, where the first image is not there, to the folder beside it that bears its
name (`images.csv` and `images/`). Rows keep their order.
"""

import csv
import hashlib
import io
import os
import posixpath
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ash.files import LongLineError, lines_of, open_regular
from ash.images import UNKNOWN, DataError, FileImages, is_class_number

IMAGE, LABELS = "image", ("label", "labels")
MOST_LINE = 1_000_000  # characters
LIST = "images.csv"  # a folder with this file in it is read by it


class CsvImages(FileImages):
    """The images that a CSV file lists, with its labels: class numbers from 0, or names; DataError names file and line.

    `labels` are UNKNOWN where they are names: `ash.labels.read` knows those of a network. `written` are the numbers as
    they stand there, [] where there are names or no labels. `columns` is its header.
    """

    states = "the names in its list"

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
        numbers = all(not text or is_class_number(text) for text in labels)
        self._labels = np.array([int(text) if numbers and text else UNKNOWN for text in labels], np.int64)
        self.written = labels if numbers and all(labels) else []
        self._stated = None if numbers else [(text,) for text in labels]
        self.columns = _header(path)
        super().__init__(_folder(path, files[0]), files, name, label)
        for line, file in zip(lines, files, strict=True):
            if not os.path.isfile(f"{self.root}/{file}"):
                raise DataError(f"{path}, line {line}: there is no image {file} in {self.root}.")

    @property
    def labels(self) -> NDArray[np.int64]:
        return self._labels

    @property
    def stated(self) -> Sequence[tuple[str, ...]] | None:
        return self._stated

    @property
    def look(self) -> str:
        return f"{super().look} {self.fingerprint}"

    @cached_property
    def fingerprint(self) -> str:
        labels = self._labels.tobytes() if self._stated is None else repr(self._stated).encode()
        return hashlib.sha256(super().fingerprint.encode() + labels).hexdigest()


def _text(path: Path) -> IO[str]:
    return io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="")


def is_list(path: Path) -> bool:
    """Whether a file is a CSV whose header names a column `image`."""
    try:
        return path.suffix.lower() == ".csv" and IMAGE in map(_column, _header(path))
    except (OSError, DataError):
        return False


def _column(text: str) -> str:
    """The name of a column as it is compared."""
    return text.strip().casefold()


def _header(path: Path) -> list[str]:
    """The first line's values; DataError when the file is no CSV."""
    return next((row for _, row in _lines(path)), [])


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and values of every line, one line in memory at a time; DataError when the file is no CSV."""
    number = 0
    try:
        with _text(path) as file:
            reader = csv.reader(lines_of(file, MOST_LINE), strict=True)
            for row in reader:
                number = reader.line_num
                yield number, row
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a CSV file in UTF-8.") from error
    except (csv.Error, LongLineError) as error:
        raise DataError(f"{path}, line {number + 1}: {error}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, image and label ("" where the list has none) of every row that is not empty."""
    lines = _lines(path)
    _, header = next(lines, (0, []))
    columns = [_column(text) for text in header]
    found = [at for at, column in enumerate(columns) if column in LABELS]
    if columns.count(IMAGE) != 1 or len(found) > 1:
        raise DataError(f"{path}, line 1: the header must have the columns image,label, not {','.join(header)}.")
    at, label_at = columns.index(IMAGE), next(iter(found), None)
    for line, row in lines:
        if row:
            where = f"{path}, line {line}"
            if len(row) != len(header):
                raise DataError(f"{where}: {len(row)} values under a header of {len(header)} columns.")
            value = "" if label_at is None else _label(row[label_at], where)
            yield line, _relative(row[at], where), value


def _label(text: str, where: str) -> str:
    """A label as written: a class number or a name; DataError for a number that counts no classes."""
    text = text.strip()
    try:
        float(text or "nan")
    except ValueError:
        if not text.isnumeric():
            return text
    if not is_class_number(text):
        raise DataError(f"{where}: the label must be a class index, an integer from 0, or a name, not '{text}'.")
    return text


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
