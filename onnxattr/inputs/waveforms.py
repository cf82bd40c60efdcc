"""How the samples of a sound go into a model: which input takes them, and in which shape."""

from __future__ import annotations

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.files import AnyPath
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of
from onnxattr.inputs.sounds import read_sound
from onnxattr.loading.prepared import Prepared


def sound_array(
    path: AnyPath, prepared: Prepared, first: int | None = None, name: str | None = None
) -> tuple[np.ndarray, int]:
    """A sound as a batch of one for a model that takes a waveform, (1, T), (1, T, 1) or (1, 1, T), and its rate.

    Several channels are averaged.

    Args:
        path: The file.
        prepared: The model.
        first: The rate of the first sound of the call.
        name: Which input takes it, where other files are for the others; None for the only one.

    Raises:
        ShapeError: If the model takes no waveform, more inputs beside it, another rate or another length; or says no
            rate, and the first sound had another.
    """
    values = [value for value in prepared.inputs if name in (None, value.name)]
    names = [str(value.name) for value in values]
    if len(values) != 1:
        raise ShapeError(
            f"{path}: the model takes {len(values)} inputs, {names}; name the input of each file, "
            f"{names[0]}=FILE (in Python a dict), or give a .npz file with an array for each."
        )
    (value,) = values
    dims = dims_of(value) or []
    free = [axis for axis, dim in enumerate(dims) if axis and dim != 1]
    if value.dtype not in FLOATS or len(dims) not in (2, 3) or len(free) != 1:
        shown = ", ".join(map(str, dims))
        raise ShapeError(
            f"{path}: the input {names[0]!r} ({shown}) takes no waveform, (N, T), (N, T, 1) or (N, 1, T)."
        )
    samples, rate = read_sound(path)
    meaning = prepared.meaning.inputs.get(names[0])
    wanted = meaning.sampling_rate if meaning is not None else None
    if wanted is not None and wanted != rate:
        raise ShapeError(
            f"{path} has {rate} samples for each second; the model takes {wanted}. Resample the file first."
        )
    if first not in (None, rate):
        raise ShapeError(
            f"{path} has {rate} samples for each second, and the first sound {first}; the model takes one rate, which "
            "its file does not say. Resample them to it."
        )
    length = dims[free[0]]
    if isinstance(length, int) and length != len(samples):
        raise ShapeError(
            f"{path} has {len(samples)} samples ({len(samples) / rate:.3g} s); the model takes {length} "
            f"({length / rate:.3g} s). Cut it to that length."
        )
    shape = [1 if dim == 1 or axis == 0 else -1 for axis, dim in enumerate(dims)]
    mono: np.ndarray = samples.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mono.reshape(shape), rate
