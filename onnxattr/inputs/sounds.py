"""Reads sounds: WAV files of the standard library's kinds, and what the package soundfile decodes."""

from __future__ import annotations

import os
import wave

import numpy as np

from onnxattr.errors import RuntimeMissingError, ShapeError
from onnxattr.files import AnyPath

#: The names of files that are read as sounds.
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
#: The most bytes of a sample.
_WIDEST = 4


def read_sound(path: AnyPath) -> tuple[np.ndarray, int]:
    """The samples of a sound, float32 (T, channels) from -1 to 1, and how many there are for each second.

    WAV files of integers are read by the standard library, others by the package soundfile.

    Raises:
        ShapeError: If the file is missing, damaged, or holds no sample.
        RuntimeMissingError: If it needs soundfile, which is not installed.
    """
    name = os.fspath(path)
    if not os.path.isfile(path):
        raise ShapeError(f"{name}: there is no such file.")
    found = _of_integers(path) if name.lower().endswith(".wav") else None
    samples, rate = found if found is not None else _decoded(path)
    if not len(samples) or not rate:
        raise ShapeError(f"{name} holds no sample of sound.")
    return samples, rate


def _of_integers(path: AnyPath) -> tuple[np.ndarray, int] | None:
    """What a WAV file of integers holds; None for other kinds."""
    try:
        with wave.open(os.fspath(path), "rb") as file:
            width, channels, rate, count = (
                file.getsampwidth(),
                file.getnchannels(),
                file.getframerate(),
                file.getnframes(),
            )
            data = file.readframes(count)
    except (wave.Error, EOFError, OSError) as error:
        if "unknown format" in str(error):
            return None
        raise ShapeError(
            f"{os.fspath(path)} cannot be read as a WAV file: {str(error) or 'it is cut off'}."
        ) from error
    if width > _WIDEST:
        raise ShapeError(
            f"{os.fspath(path)} holds integers of {8 * width} bits; save it as a WAV file of 16-bit integers."
        )
    held = len(data) // (channels * width)
    if held < count:
        raise ShapeError(
            f"{os.fspath(path)} is cut off: it holds {held} of the {count} samples that it says."
        )
    return _as_floats(data, width).reshape(-1, channels), rate


def _as_floats(data: bytes, width: int) -> np.ndarray:
    """Integers of 1 to 4 bytes as floats from -1 to 1; those of one byte have no sign."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    parts = np.frombuffer(data, np.uint8).reshape(-1, width)
    wide = np.zeros((len(parts), 4), np.uint8)
    wide[:, 4 - width :] = parts
    return (wide.reshape(-1).view("<i4").astype(np.float64) / 2**31).astype(np.float32)


def _decoded(path: AnyPath) -> tuple[np.ndarray, int]:
    name = os.fspath(path)
    try:
        import soundfile
    except ImportError as error:
        raise RuntimeMissingError(
            f"{name} is a sound of a kind that the package soundfile decodes, which is not installed: pip install "
            "soundfile, or save it as a WAV file of 16-bit integers."
        ) from error
    try:
        samples, rate = soundfile.read(name, dtype="float32", always_2d=True)
    except Exception as error:
        raise ShapeError(
            f"{name} cannot be read as a sound: {' '.join(str(error).split())[:200]}."
        ) from error
    return samples, int(rate)
