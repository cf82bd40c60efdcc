"""The data file that was written together with a model, as its metadata tell: a name and a checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnx

from onnxattr.errors import ModelError

#: The metadata entries that name the data file which was written together with a model, and tell its SHA-256.
NAME, DIGEST = "onnxattr.data", "onnxattr.data_sha256"


def note_data(proto: onnx.ModelProto, name: str, digest: str) -> None:
    """Writes into a model's metadata which data file belongs to it, in the place of what they said before."""
    forget_data(proto)
    for key, value in ((NAME, name), (DIGEST, digest)):
        proto.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))


def forget_data(proto: onnx.ModelProto) -> None:
    """Removes from a model's metadata what they say of a data file."""
    others = [kept for kept in proto.metadata_props if kept.key not in (NAME, DIGEST)]
    del proto.metadata_props[:]
    proto.metadata_props.extend(others)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_data(metadata: Mapping[str, str], files: Mapping[str, Path]) -> None:
    """Checks that the data file of a model is the one that it was written with.

    Offsets and lengths fit the data of any model of the same architecture, so a foreign file would be read silently.

    Args:
        metadata: Those of the model. Without the entries of this module, as in the files of others, all data is taken.
        files: The data files that the model reads, by the locations that it gives.

    Raises:
        ModelError: If it has other content, or cannot be read.
    """
    path, expected = files.get(metadata.get(NAME, "")), metadata.get(DIGEST)
    if path is None or expected is None:
        return
    try:
        found = digest_of(path)
    except OSError as error:
        raise ModelError(f"The data file {path} cannot be read: {error.strerror}.") from error
    if found != expected:
        raise ModelError(
            f"The data file {path} is not the one that the model was written with: its SHA-256 is {found[:16]}..., "
            f"expected {expected[:16]}... Its weights would be those of another model. Put the file of the same "
            "export beside the model, or export it again."
        )
