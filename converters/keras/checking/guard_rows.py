"""Rows at which models that guard a division, a logarithm or an exponential tell whether the guard was converted."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..tracing.inputs import ModelInputs
from ..tracing.trace import Trace

_LARGE = 1e3
_SMALL = 1e-6
# Of a model that computes in float16, whose squares end at 65504.
_LARGE_FLOAT16 = 10.0
_MOST_ROWS = 5
# Deviations from the mean that training data have.
_DEVIATIONS = (-2.0, 0.0, 2.0)

Batch = tuple[list[str], list[np.ndarray]]


def guard_batches(
    inputs: ModelInputs, drawn: Sequence[np.ndarray], traced: Trace, low: bool
) -> Iterator[Batch]:
    """Batches of special rows, each with the names of its rows.

    Args:
        inputs: Inputs of the model.
        drawn: A random batch, which gives shapes and dtypes, and the rows of inputs that are not floating.
        traced: Tells which inputs go into a normalisation, whose mean and variance are those of the training data.
        low: Whether the model computes in float16 or bfloat16.

    Yields:
        Names and arrays. Rows of all inputs at once: zeros, ones, large, small and mixed values, the training range.
    """
    large = _LARGE_FLOAT16 if low else _LARGE
    values = {
        "zeros": [0.0],
        "ones": [1.0],
        "large": [large],
        "negative large": [-large],
        "small": [_SMALL],
        "mixed": [0.0, 1.0, large, _SMALL, -1.0, -large],
    }
    rows = {
        name: [np.resize(np.array(pattern), array.shape[1:]) for array in drawn]
        for name, pattern in values.items()
    }
    ranges = _training_ranges(inputs, drawn, traced)
    if ranges:
        for deviation in _DEVIATIONS:
            rows[f"mean {deviation:+g} standard deviations of the training data"] = [
                ranges[name][0] + deviation * ranges[name][1] if name in ranges else array[0]
                for name, array in zip(inputs.names, drawn, strict=True)
            ]
    names, size = list(rows), inputs.fixed_batch or min(len(rows), _MOST_ROWS)
    for start in range(0, len(names), size):
        chosen = (names[start : start + size] * size)[:size]
        yield chosen, [_stacked([rows[name][k] for name in chosen], array) for k, array in enumerate(drawn)]


def _stacked(rows: list[np.ndarray], drawn: np.ndarray) -> np.ndarray:
    """The rows of one input; integers and flags stay as they were drawn."""
    if drawn.dtype.kind in "iub" or not drawn.ndim:
        return drawn if not drawn.ndim else np.resize(drawn, (len(rows), *drawn.shape[1:]))
    return np.stack([np.broadcast_to(row, drawn.shape[1:]) for row in rows]).astype(drawn.dtype)


def _training_ranges(
    inputs: ModelInputs, drawn: Sequence[np.ndarray], traced: Trace
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation, shaped as a row, of the inputs that a layer normalises by stored statistics."""
    shapes = {name: array.shape[1:] for name, array in zip(inputs.names, drawn, strict=True)}
    found = {}
    for call in traced.calls:
        name = traced.inputs.get(call.inputs[0].name) if call.inputs else None
        statistics = _statistics(call.layer)
        if name is None or statistics is None:
            continue
        try:
            mean, variance = (
                np.broadcast_to(np.asarray(value, np.float64), (1, *shapes[name]))[0] for value in statistics
            )
        except ValueError:  # of another axis than the last
            continue
        found[name] = mean, np.sqrt(np.maximum(variance, 0))
    return found


def _statistics(layer: Any) -> tuple[Any, Any] | None:
    kind = type(layer).__name__
    if kind == "BatchNormalization":
        return layer.moving_mean, layer.moving_variance
    if kind == "Normalization" and getattr(layer, "mean", None) is not None:
        return layer.mean, layer.variance
    return None


def nearby(arrays: Sequence[np.ndarray], seed: int = 0) -> list[np.ndarray]:
    """The same rows moved by a rounding error or two: what a model makes of it, float32 does not determine."""
    generator = np.random.default_rng(seed)
    moved = []
    for array in arrays:
        if array.dtype.kind in "iub":
            moved.append(array)
            continue
        step = 4 * float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 1e-2
        sign = generator.choice([-step, step], size=array.shape)
        moved.append((array.astype(np.float64) * (1 + sign)).astype(array.dtype))
    return moved


def row_scales(output: np.ndarray) -> np.ndarray:
    """Largest finite magnitude of each row."""
    values = np.abs(np.atleast_1d(output).astype(np.float64).reshape(len(np.atleast_1d(output)), -1))
    scales: np.ndarray = np.where(np.isfinite(values), values, 0.0).max(axis=1, initial=0.0)
    return scales


def fault(
    got: np.ndarray,
    want: np.ndarray,
    tolerance: float,
    scale: float,
    rows: Sequence[str],
    moved: Callable[[], Sequence[Sequence[np.ndarray]]],
    index: int,
) -> str:
    """What is wrong with an output of the converted model, to be said after its name; empty if nothing is.

    Args:
        got: The output of the converted model.
        want: That of the original; where it is not finite, nothing is expected.
        tolerance: Allowed difference, of the row's largest magnitude or of `scale`.
        scale: Largest magnitude for random rows.
        rows: Names of the rows.
        moved: Makes the original's outputs for `nearby` rows, drawn a few times; what has changed there at most is
            allowed on top, four times.
        index: Of the output among these.
    """
    if got.shape != want.shape:
        return f"has shape {got.shape}, of the original {want.shape}"
    error = _row_differences(got, want)
    allowed = tolerance * np.maximum(row_scales(want), scale)
    if (error <= allowed).all():
        return ""
    changes = np.max([_row_differences(outputs[index], want) for outputs in moved()], axis=0)
    error[error <= allowed + 4 * changes] = 0
    worst = int(error.argmax())
    row = rows[worst] if worst < len(rows) else "another"
    if np.isinf(error[worst]):
        return f"is not finite where the original is, in a row of {row}"
    return f"differs from the original by {error[worst]:.2g} in a row of {row}" if error[worst] else ""


def _row_differences(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Largest absolute difference of each row where `want` is finite; inf where `got` is not finite there."""
    count = len(np.atleast_1d(want))
    a, b = got.astype(np.float64).reshape(count, -1), want.astype(np.float64).reshape(count, -1)
    with np.errstate(invalid="ignore"):
        error = np.where(np.isfinite(b), np.abs(a - b), 0.0)
    error[np.isnan(error)] = np.inf
    largest: np.ndarray = error.max(axis=1, initial=0.0)
    return largest
