"""Reads WAV files of integers and floats: RIFF, RIFX and RF64, WAVE_FORMAT_EXTENSIBLE, and streams of unknown length.

The standard library's module is not used: it has other kinds of files in each version of Python, leaves the size of a
frame out of account, and refuses the files that programs write to a pipe.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.files import AnyPath

_INTEGERS, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE
#: The rest of a subformat behind the number of its kind.
_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")
#: Sizes from here on stand for the unknown length of a stream: programs write 0x7FFFF000 to 0xFFFFFFFF.
_UNKNOWN = 0x7FFF0000
#: The bytes of numbers that are read, of each kind.
_WIDTHS = {_INTEGERS: (1, 2, 3, 4), _FLOATS: (4, 8)}


@dataclass(frozen=True)
class _Form:
    """What the chunk "fmt " says."""

    kind: int
    channels: int
    rate: int
    width: int


def read_wav(path: AnyPath) -> tuple[np.ndarray, int] | None:
    """The samples of a WAV file, float32 (T, channels), and their rate; None for compressed samples.

    Raises:
        ShapeError: If the file is damaged, cut off or contradicts itself.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            return _read(file)
    except (OSError, ValueError) as error:
        raise ShapeError(
            f"{name} cannot be read as a WAV file: {error}. Save it again as a WAV file of 16-bit integers."
        ) from error


def _read(file: BinaryIO) -> tuple[np.ndarray, int] | None:
    magic, total, kind = struct.unpack("<4sI4s", _exactly(file, 12))
    if magic not in (b"RIFF", b"RIFX", b"RF64", b"BW64") or kind != b"WAVE":
        raise ValueError("its first bytes are not those of one")
    order = ">" if magic == b"RIFX" else "<"
    form, long = None, None
    for label, size in _chunks(file, order):
        if label == b"ds64":
            (long,) = struct.unpack("<8xQ", _exactly(file, 16))
        elif label == b"fmt ":
            form = _form(_exactly(file, min(size, 40)), order)
            if form is None:
                return None
        elif label == b"data":
            if form is None:
                raise ValueError("its samples stand before the chunk 'fmt ' that describes them")
            if size == 0xFFFFFFFF and long is not None:
                declared: int | None = long
            elif size >= _UNKNOWN or (size == 0 and total in (0, 0xFFFFFFFF)):
                declared = None
            else:
                declared = size
            found = _samples(file, form, declared, order)
            if declared is not None:
                file.seek(declared % 2, os.SEEK_CUR)
                if any(name == b"data" for name, _ in _chunks(file, order)):
                    raise ValueError("it has two chunks of samples")
            return found, form.rate
    raise ValueError("it has no samples, or no chunk 'fmt ' that describes them")


def _chunks(file: BinaryIO, order: str) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk, with the file at its content."""
    while len(head := file.read(8)) == 8:
        label, size = struct.unpack(f"{order}4sI", head)
        start = file.tell()
        yield label, size
        file.seek(start + size + size % 2)


def _form(content: bytes, order: str) -> _Form | None:
    """The form of the samples; None for one that is not read here."""
    if len(content) < 16:
        raise ValueError(f"its chunk 'fmt ' has {len(content)} bytes; expected 16 or more")
    kind, channels, rate, _, frame, bits = struct.unpack(f"{order}HHIIHH", content[:16])
    if kind == _EXTENSIBLE and content[26:40] == _SUBFORMAT:
        (kind,) = struct.unpack(f"{order}H", content[24:26])
    if kind not in _WIDTHS:
        return None
    width = (bits + 7) // 8
    if not channels or not bits:
        raise ValueError(f"it says {channels} channels of {bits} bits")
    if width not in _WIDTHS[kind]:
        raise ValueError(f"it has {'floats' if kind == _FLOATS else 'integers'} of {bits} bits")
    if frame != channels * width:
        raise ValueError(
            f"it says {channels} channels of {bits} bits, and {frame} bytes for a sample of all channels"
        )
    return _Form(kind, channels, rate, width)


def _samples(file: BinaryIO, form: _Form, size: int | None, order: str) -> np.ndarray:
    """The numbers of the file from here on, ``size`` bytes of them; None: all that are left."""
    left = max(os.fstat(file.fileno()).st_size - file.tell(), 0)
    data = file.read(left if size is None else min(size, left))
    frame = form.channels * form.width
    held, said = len(data) // frame, None if size is None else size // frame
    if said is not None and held < said:
        raise ValueError(f"it is cut off: it holds {held} of the {said} samples that it says")
    data = data[: held * frame]
    if form.kind == _FLOATS:
        values = np.frombuffer(data, f"{order}f{form.width}").astype(np.float32)
    else:
        values = _as_floats(data, form.width, order)
    return values.reshape(-1, form.channels)


def _as_floats(data: bytes, width: int, order: str) -> np.ndarray:
    """Integers of 1 to 4 bytes as floats from -1 to 1; those of one byte have no sign."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    parts = np.frombuffer(data, np.uint8).reshape(-1, width)
    wide = np.zeros((len(parts), 4), np.uint8)
    wide[:, 4 - width :] = parts if order == "<" else parts[:, ::-1]
    return (wide.reshape(-1).view("<i4").astype(np.float64) / 2**31).astype(np.float32)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError("it is cut off")
    return data
