"""Compare a converted model with the original on random inputs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ConversionError

from . import dependencies

TOLERANCE = 1e-4
# Rounding of float16 is 5e-4 of a value; a few layers of it stay below this.
TOLERANCE_FLOAT16 = 1e-2
BATCH_SIZES = (2, 5)


def random_inputs(
    specs: Sequence[Any], batch: int, highest_id: int | None, seed: int = 0
) -> list[np.ndarray]:
    """Random arrays for the inputs of a model.

    Args:
        specs: One `tf.TensorSpec` per input; dynamic axes other than the batch get a size of 8 to 24.
        batch: Number of rows.
        highest_id: Integer inputs are drawn from 0 to this, both included; 9 if None.
        seed: Of the random generator.

    Raises:
        ConversionError: An input holds strings or another dtype that ONNX graphs here cannot take.
    """
    generator = np.random.default_rng(seed)
    dynamic: dict[int, int] = {}
    arrays = []
    for spec in specs:
        dtype = np.dtype(spec.dtype.as_numpy_dtype)
        shape = [batch] + [
            size if size is not None else dynamic.setdefault(axis, 24 - 4 * axis)
            for axis, size in enumerate(spec.shape[1:])
        ]
        if dtype.kind == "f":
            arrays.append(generator.normal(size=shape).astype(dtype))
        elif dtype.kind in "iu":
            top = 9 if highest_id is None else highest_id
            arrays.append(generator.integers(0, top + 1, size=shape).astype(dtype))
        elif dtype.kind == "b":
            arrays.append(generator.integers(0, 2, size=shape).astype(bool))
        else:
            raise ConversionError(
                f"Input {spec.name!r} has dtype {spec.dtype.name}; only numbers and booleans can be converted. "
                "Convert the part of the model after the text or lookup layers."
            )
    return arrays


def run_onnx(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a model in ONNX Runtime on the CPU.

    Raises:
        ConversionError: ONNX Runtime cannot load or run it.
        RuntimeMissingError: ONNX Runtime is not installed.
    """
    return Session(model).run(feeds)


class Session:
    """A model loaded in ONNX Runtime on the CPU, its errors translated."""

    def __init__(self, model: onnx.ModelProto) -> None:
        runtime = dependencies.onnxruntime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ConversionError(f"ONNX Runtime cannot load the converted model: {error}") from error

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one batch; outputs in the order of the graph."""
        try:
            return self._session.run(None, dict(feeds))
        except Exception as error:
            raise ConversionError(
                f"ONNX Runtime cannot run the converted model on inputs of shape "
                f"{ {name: array.shape for name, array in feeds.items()} }: {error}"
            ) from error


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference over the largest magnitude of `expected`; inf where shapes or NaNs differ."""
    if actual.shape != expected.shape:
        return float("inf")
    if expected.size == 0:
        return 0.0
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    scale = float(np.abs(b[finite]).max())
    error = float(np.abs(a[finite] - b[finite]).max())
    return error / scale if scale > 0 else error


def tolerance_for(arrays: Sequence[np.ndarray], low_precision: bool) -> float:
    """Allowed relative difference for a model."""
    low_precision = low_precision or any(array.dtype == np.float16 for array in arrays)
    return TOLERANCE_FLOAT16 if low_precision else TOLERANCE


def compare(
    model: onnx.ModelProto,
    original: Callable[[list[np.ndarray]], list[np.ndarray]],
    batches: Sequence[list[np.ndarray]],
    low_precision: bool,
    first_difference: Callable[[list[np.ndarray], float], str],
) -> None:
    """Check that `model` computes what `original` does.

    Args:
        model: The converted model.
        original: Runs the original on arrays in the order of the graph's inputs.
        batches: Inputs to compare on.
        low_precision: Whether parts of the model compute in float16 or bfloat16.
        first_difference: Called with the inputs and tolerance on a mismatch; describes where it begins.

    Raises:
        ConversionError: An output differs by more than the tolerance.
    """
    session = Session(model)
    names = [value.name for value in model.graph.input]
    for arrays in batches:
        expected = original(arrays)
        actual = session.run(dict(zip(names, arrays, strict=True)))
        tolerance = tolerance_for(expected, low_precision)
        for output, got, want in zip(model.graph.output, actual, expected, strict=True):
            error = difference(got, want)
            if error > tolerance:
                what = (
                    f"shape {got.shape} instead of {want.shape}"
                    if got.shape != want.shape
                    else f"{error:.2g}"
                )
                raise ConversionError(
                    f"Output {output.name!r} of the converted model differs from the original on {len(arrays[0])} "
                    f"random rows: {what} relative to its largest value, {tolerance:g} is allowed. "
                    f"{first_difference(arrays, tolerance)} A model with random operations in inference cannot "
                    "match; sample=<real inputs> compares on your own data; another opset may convert differently."
                )
