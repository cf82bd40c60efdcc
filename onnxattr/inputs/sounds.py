"""Reads sounds: WAV files of plain numbers, and what the package soundfile decodes."""

from __future__ import annotations

import os

import numpy as np

from onnxattr.errors import RuntimeMissingError, ShapeError
from onnxattr.files import AnyPath
from onnxattr.home import at_home
from onnxattr.inputs.wav_files import read_wav

#: The names of files that are read as sounds.
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


def read_sound(path: AnyPath) -> tuple[np.ndarray, int]:
    """The samples of a sound, float32 (T, channels) from -1 to 1, and how many there are for each second.

    WAV files of integers and floats are read here, compressed ones and other files by the package soundfile.

    Raises:
        ShapeError: If the file is missing, damaged, or holds no sample.
        RuntimeMissingError: If it needs soundfile, which is not installed.
    """
    path = at_home(path)
    name = os.fspath(path)
    if not os.path.isfile(path):
        raise ShapeError(f"{name}: there is no such file.")
    found = read_wav(path) if name.lower().endswith(".wav") else None
    samples, rate = found if found is not None else _decoded(path)
    if not len(samples) or not rate:
        raise ShapeError(f"{name} holds no sample of sound.")
    return samples, rate


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
