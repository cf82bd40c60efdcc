"""Estimators of tables with columns of text: one input for each column, explained by what encoders make of the text."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ConversionError
from onnxattr.loading.discrete import unexplained
from onnxattr.loading.load import load
from onnxattr.loading.meaning.columns import KEY, columns_text
from onnxattr.running.given.frames import columns_of, is_frame

from ..common import graph_edit, onnx_model
from ..common.verify import TOLERANCE, Session
from .compared import compare_labels
from .layers import step_difference, write_table
from .rounded import in_float32, nearest, say_rounded

_NUMBERS = "fiub"
#: The operators that encoders are written with.
ENCODING = frozenset(
    "Abs Add Cast Gather IsNaN LabelEncoder Mul ReduceSum Reshape Sign Sub Unsqueeze Where".split()
)
# Rows that tell what a ReLU gives from what it takes.
_ENOUGH = 8
_FURTHER_ROWS = 16
# No category of anyone's.
_UNKNOWN = "\0unknown"


def text_columns(sample: Any) -> list[str]:
    """The names of the columns of a table that hold text."""
    if not is_frame(sample):
        return []
    return [name for name in columns_of(sample) if _is_text(sample[name])]


def _is_text(column: Any) -> bool:
    array = np.asarray(column)
    return array.dtype.kind not in _NUMBERS and any(
        isinstance(value, str) for value in array.ravel().tolist()
    )


def types_of(sample: Any, texts: list[str]) -> list[tuple[str, Any]]:
    """The inputs of the model: one for each column."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    return [
        (name, StringTensorType([None, 1]) if name in texts else FloatTensorType([None, 1]))
        for name in columns_of(sample)
    ]


def name_inputs(converted: onnx.ModelProto, names: list[str]) -> None:
    """Give the inputs the names of the columns, in which skl2onnx replaces spaces and signs."""
    inputs = converted.graph.input
    old = [value.name for value in inputs]
    # Names of columns may be those of other values.
    inner = {name for node in converted.graph.node for name in node.output} - {
        v.name for v in converted.graph.output
    }
    graph_edit.rename_values(converted.graph, {name: f"{name}_inner" for name in inner & set(names)})
    graph_edit.rename_values(converted.graph, dict(zip(old, names, strict=True)))
    for value, name in zip(inputs, names, strict=True):
        value.name = name


def feeds_of(sample: Any, texts: list[str]) -> dict[str, np.ndarray]:
    """A table as the model takes it."""
    return {
        name: np.asarray(sample[name], object if name in texts else np.float32).reshape(-1, 1)
        for name in columns_of(sample)
    }


def _in_float32(rows: Any, texts: list[str]) -> list[Any]:
    """Tables with what float32 makes of some or all columns of numbers."""
    if not hasattr(rows, "iloc"):
        return []
    numbers = {name: np.asarray(rows[name], np.float64) for name in columns_of(rows) if name not in texts}
    return [rows.assign(**columns) for columns in in_float32(numbers)]


def check(converted: onnx.ModelProto, estimator: Any, sample: Any, texts: list[str]) -> None:
    """Compare the model with the estimator on the sample, between its rows, and on unknown and missing values.

    Raises:
        ConversionError: They differ.
    """
    session = Session(converted)
    exact = _given(estimator, sample)
    size = _compare(session, estimator, sample, exact, texts, 0.0)
    outputs = [np.asarray(value) for value in session.run(feeds_of(sample, texts))]
    if converted.graph.output[0].name == "label":
        compare_labels(outputs[0], estimator, [sample, *_in_float32(sample, texts)])
    if names := [name for name in columns_of(sample) if name not in texts]:
        numbers = np.stack([np.asarray(sample[name], np.float64) for name in names], 1)
        say_rounded(estimator, outputs[-1], exact.reshape(len(exact), -1), names, numbers)
    for rows in _further(sample, texts):
        with warnings.catch_warnings():  # of unknown categories
            warnings.simplefilter("ignore")
            try:
                expected = _given(estimator, rows)
            except (ValueError, TypeError):
                continue  # encoders and most estimators refuse what is unknown or missing
        if np.isfinite(expected).all():
            _compare(session, estimator, rows, expected, texts, size)


def _compare(
    session: Session, estimator: Any, rows: Any, expected: np.ndarray, texts: list[str], least: float
) -> float:
    """Compare the model with what the estimator gives for rows, whose largest magnitude is returned.

    Differences are parts of that, or of `least` where it is larger.
    """
    found = np.asarray(session.run(feeds_of(rows, texts))[-1])
    for small in _in_float32(rows, texts):
        with warnings.catch_warnings():  # of unknown categories
            warnings.simplefilter("ignore")
            with contextlib.suppress(ValueError, TypeError):  # encoders know no others
                both = [array.reshape(len(found), -1) for array in (expected, _given(estimator, small))]
                expected = nearest(found, *both)
    one_score = expected.ndim == 1 and found.shape == (len(expected), 2)
    if expected.dtype.kind not in _NUMBERS or (found.size != expected.size and not one_score):
        raise ConversionError(
            f"{type(estimator).__name__} gives {expected.dtype} of shape {expected.shape}, and its ONNX form "
            f"{found.dtype} of shape {found.shape}; expected the same numbers."
        )
    size = float(np.abs(expected).max(initial=0.0))
    difference = step_difference(found, expected.reshape(len(expected), -1))
    difference *= size / least if 0 < size < least else 1.0
    if not difference <= TOLERANCE:
        raise ConversionError(
            f"The converted {type(estimator).__name__} differs from the original by {difference:.2g} of its largest "
            "value."
        )
    return size


def _further(sample: Any, texts: list[str]) -> Iterator[Any]:
    """Rows between two of the sample with texts of the first; rows with unknown texts; rows with missing numbers."""
    if not hasattr(sample, "iloc"):
        return
    rng = np.random.default_rng(0)
    first, second = (sample.iloc[rng.integers(0, len(sample), _FURTHER_ROWS)] for _ in range(2))
    shares = rng.uniform(0.1, 0.9, _FURTHER_ROWS)
    between = {}
    for name in columns_of(sample):
        if name not in texts:
            a, b = np.asarray(first[name], np.float64), np.asarray(second[name], np.float64)
            drawn = (a + shares * (b - a)).astype(np.float32).astype(np.float64)
            between[name] = np.where(a == b, a, drawn)
    yield first.assign(**between)
    few = sample.iloc[:_FURTHER_ROWS]
    for name in columns_of(sample):
        yield few.assign(**{name: [_UNKNOWN if name in texts else np.nan] * len(few)})


def write_layers(converted: onnx.ModelProto, estimator: Any, sample: Any, texts: list[str]) -> None:
    """Store which values equal the outputs of steps, if the estimator takes enough rows to tell values apart."""
    rows = _far_apart(estimator, sample, texts)
    if rows is None:
        return
    with warnings.catch_warnings():  # what a step gives has no names for the next one
        warnings.simplefilter("ignore")
        try:
            write_table(converted, estimator, rows, feeds_of(rows, texts))
        except (ConversionError, LookupError, TypeError, AttributeError):
            return  # a step takes tables alone


def _far_apart(estimator: Any, sample: Any, texts: list[str]) -> Any:
    """Rows with the texts of the sample and numbers beyond its own, if the estimator takes them; else the sample's.

    None if the sample has too few to tell what is clipped from what is not.
    """
    own = sample if len(sample) >= _ENOUGH else None
    if not hasattr(sample, "iloc"):
        return own
    rows, rng = sample.iloc[np.arange(2 * _ENOUGH) % len(sample)], np.random.default_rng(0)
    drawn = {}
    for name in columns_of(sample):
        if name not in texts:
            numbers = np.asarray(sample[name], np.float64)
            mean, deviation = np.nanmean(numbers), np.nanstd(numbers)
            spread = (deviation if deviation > 0 else abs(mean) / 10) + 1e-3
            drawn[name] = (mean + 3 * spread * rng.normal(size=len(rows))).astype(np.float32)
    rows = rows.assign(**drawn)
    try:
        return rows if np.isfinite(_given(estimator, rows)).all() else own
    except (ValueError, TypeError):
        return own  # encoders of numbers know no others


def _given(estimator: Any, rows: Any) -> np.ndarray:
    """What an estimator gives for a table."""
    found: np.ndarray = next(
        getattr(estimator, name)(rows)
        for name in ("predict_proba", "decision_function", "predict", "transform")
        if hasattr(estimator, name)
    )
    return found


def describe(converted: onnx.ModelProto, texts: list[str]) -> None:
    """Write into the metadata which value explains which column.

    Raises:
        ConversionError: A column is encoded together with another one, text not at all, or a column is dropped.
    """
    model = load(converted)
    output = list(model.graph.outputs)[-1]
    encoded = unexplained(model.graph, output)
    values: dict[str, str] = {}
    for value in converted.graph.input:
        found = (
            encoded.get(value.name, [])
            if value.name in texts
            else _of_numbers(converted, value.name, encoded)
        )
        if not any(value.name in node.input for node in converted.graph.node):
            raise ConversionError(
                f"The column {value.name!r} is read by nothing: the model drops it. Leave it out of the sample."
            )
        if len(found) != 1 or found[0] in values.values():
            raise ConversionError(
                f"The column {value.name!r} is encoded as {found or 'no float value'}; expected one value of "
                "its own. Encode it once: by a OneHotEncoder, OrdinalEncoder, TargetEncoder, or before the pipeline."
            )
        values[value.name] = found[0]
    onnx_model.set_property(converted, KEY, columns_text(values))


def _of_numbers(converted: onnx.ModelProto, column: str, encoded: dict[str, list[str]]) -> list[str]:
    """What explains a column of numbers: itself, or what encoders make of it where nothing else reads it.

    Encoders look categories up, so that no gradient reaches the number itself.

    Args:
        converted: The model.
        column: The name of the column, which is an input.
        encoded: By the name of each of a graph's integers the float values computed from it first.
    """
    numbers, found = {column}, []
    for node in converted.graph.node:
        if numbers.isdisjoint(node.input):
            continue
        if node.op_type == "LabelEncoder":
            found.append(node.output[0])
        elif node.output[0] in encoded:
            found += encoded[node.output[0]]
        else:
            numbers.update(node.output)
    return [column] if not found or any(value.name in numbers for value in converted.graph.output) else found
