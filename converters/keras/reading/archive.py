"""What a `.keras`, `.h5` or `.hdf5` file holds, read within bounds before Keras opens it."""

import io
import json
import mmap
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from onnxattr.errors import ConversionError

from ...common.trust import damaged, untrusted
from .hdf5_bounds import LARGEST_EXPANSION, SLACK_BYTES, stored_elements, text_attribute
from .hdf5_heaps import check_heaps

# Of the configuration; those of the largest published models take 1 to 3 MiB.
_CONFIG_LIMIT = 16 * 2**20
_MOST_MEMBERS = 10_000
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


@dataclass(frozen=True)
class Stored:
    """A Keras file as far as it can be known without loading it.

    Attributes:
        config: The parsed configuration of the model.
        elements: Number of elements of all stored weights.
    """

    config: Any
    elements: int


def read_zip(path: Path) -> Stored:
    """Look into a `.keras` file.

    Raises:
        ConversionError: Damaged, no model, or not to be opened: members twice, outside the archive, or far larger
            than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            with archive.open(_CONFIG) as member:
                text = member.read(_CONFIG_LIMIT + 1)
            if len(text) > _CONFIG_LIMIT:
                raise untrusted(path, f"its {_CONFIG} is longer than {_CONFIG_LIMIT // 2**20} MiB")
            if _WEIGHTS not in archive.namelist():
                raise ConversionError(
                    f"{os.fspath(path)!r} has no weights: {_WEIGHTS} is not in it. Save the model again with "
                    "model.save('model.keras')."
                )
            weights = archive.read(_WEIGHTS)
    except ConversionError:
        raise
    except Exception as error:  # zipfile, zlib and struct raise eight kinds of them
        raise damaged(path, "The .keras file", error) from error
    check_heaps(weights, path)
    elements = _elements(io.BytesIO(weights), path, len(weights))
    return Stored(_parsed(text, path), elements)


def read_hdf5(path: Path) -> Stored:
    """Look into an `.h5` or `.hdf5` file.

    Raises:
        ConversionError: Damaged, weights without a model, weights in another file or far larger than the file.
    """
    import h5py

    try:
        with open(path, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            check_heaps(data, path)
        with h5py.File(path, "r") as file:
            text = text_attribute(file, "model_config", path, _CONFIG_LIMIT)
    except ConversionError:
        raise
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError, ValueError and TypeError
        raise damaged(path, "The HDF5 file", error) from error
    if text is None:
        raise ConversionError(
            f"{str(path)!r} holds weights only, not the model. Build the model in Python, call "
            "model.load_weights(path) and pass the model to to_onnx."
        )
    return Stored(_parsed(text, path), _elements(path, path, path.stat().st_size))


def is_keras_zip(path: Path) -> bool:
    """Whether a file is a zip archive with a configuration."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _CONFIG in archive.namelist()
    except Exception:  # damaged in one of many ways
        return False


def check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Look at what a zip archive says of its members, before any is read.

    Raises:
        ConversionError: Too many; one twice, outside the archive or a link; all together far larger than the file.
    """
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise untrusted(path, f"it has {len(members)} members, more than {_MOST_MEMBERS}")
    seen: set[str] = set()
    for member in members:
        name = member.orig_filename
        place = PurePosixPath(name.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or ":" in name or "\0" in name:
            raise untrusted(path, f"its member {name!r} leads out of the archive")
        if str(place) in seen:
            raise untrusted(
                path, f"its member {name!r} is in it twice, and readers differ in which they take"
            )
        if member.external_attr >> 28 == 0xA:
            raise untrusted(path, f"its member {name!r} is a symbolic link")
        seen.add(str(place))
    unpacked, size = sum(member.file_size for member in members), path.stat().st_size
    if unpacked > SLACK_BYTES + LARGEST_EXPANSION * size:
        raise untrusted(path, f"a file of {size / 2**20:.1f} MiB unpacks to {unpacked / 2**20:.0f} MiB")


def _elements(source: Any, path: Path, size: int) -> int:
    import h5py

    try:
        with h5py.File(source, "r") as file:
            return stored_elements(file, path, size)
    except ConversionError:
        raise
    except Exception as error:
        raise damaged(path, "The HDF5 data of", error) from error


def _parsed(text: str | bytes, path: Path) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise untrusted(path, "its configuration is nested too deeply to be read") from error
    except ValueError as error:  # no JSON, or not UTF-8
        raise damaged(path, "The configuration in", error) from error
