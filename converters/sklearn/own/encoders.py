"""Encoders of categories: a table for each column, with a row for each category and one for what is none of them."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ConversionError

from .writing import Writer

_OTHER = "\0neither"
# Numbers of no category: missing ones are given as this, as NaN equals nothing.
_MISSING = 3e38


def encoded(op: Writer) -> str:
    """y = the rows of the tables, side by side; NaN where the encoder refuses a category."""
    tables = _tables(op.estimator)
    columns = []
    for column, is_text, categories, table in zip(
        *_columns(op), op.estimator.categories_, tables, strict=True
    ):
        place = (
            _place_of_text(op, column, categories) if is_text else _place_of_number(op, column, categories)
        )
        columns.append(op("Gather", table.astype(np.float32), place, axis=0))
    return columns[0] if len(columns) == 1 else op("Concat", *columns, axis=1)


def _columns(op: Writer) -> tuple[list[str], list[bool]]:
    """The columns of all inputs, (N,), and whether they hold text."""
    names, texts = [], []
    for name, width, is_text in op.inputs():
        for place in range(width):
            column = (
                op("Gather", name, np.array(place), axis=1)
                if width > 1
                else op("Reshape", name, np.array([-1]))
            )
            names.append(column)
            texts.append(is_text)
    return names, texts


def _place_of_text(op: Writer, column: str, categories: np.ndarray) -> str:
    """The number of a text among the categories; behind all of them if it is none."""
    known = [(place, text) for place, text in enumerate(categories.tolist()) if isinstance(text, str)]
    return op(
        "LabelEncoder",
        column,
        op_domain="ai.onnx.ml",
        op_version=2,
        keys_strings=[text.encode() for _, text in known],
        values_int64s=[place for place, _ in known],
        default_int64=len(categories),
    )


def _place_of_number(op: Writer, column: str, categories: np.ndarray) -> str:
    """The same for numbers, which are cast to integers at the end: onnxattr knows codes by that."""
    values = np.asarray(categories, np.float64).astype(np.float32)
    order = np.argsort(values, kind="stable")
    if (same := np.flatnonzero(np.diff(values[order]) == 0)).size:
        one, other = categories[order[same[0]]], categories[order[same[0] + 1]]
        raise ConversionError(
            f"{type(op.estimator).__name__} tells {one} and {other} apart, which are one number in float32, in which "
            "models take numbers. Fit it on a table in which this column is text, as astype(str) makes it."
        )
    values = np.where(np.isnan(values), np.float32(_MISSING), values)
    given = op("Where", op("IsNaN", column), _MISSING, column)
    apart = op("Sign", op("Abs", op("Sub", op("Unsqueeze", given, np.array([1])), values)))
    places = op("Mul", op("Sub", 1.0, apart), np.arange(-len(values), 0).astype(np.float32))
    behind = op("ReduceSum", places, np.array([1]), keepdims=0)
    return op("Cast", op("Add", behind, float(len(values))), to=onnx.TensorProto.INT64)


def _tables(encoder: Any) -> list[np.ndarray]:
    """What the encoder gives for each category of each column, and for another one, (categories + 1, width)."""
    first = [categories[0] for categories in encoder.categories_]
    total = _given(encoder, np.array([first], object)).shape[1]
    widths = [total // len(first)] * len(first)
    if type(encoder).__name__ == "OneHotEncoder":
        widths = encoder._n_features_outs
    ends = np.cumsum(widths)
    tables = []
    for number, categories in enumerate(encoder.categories_):
        own = slice(ends[number] - widths[number], ends[number])
        rows = np.array([first] * len(categories), object)
        rows[:, number] = categories
        other = np.array([first], object)
        other[0, number] = _OTHER if categories.dtype.kind in "OUS" else _MISSING
        try:
            unknown = _given(encoder, other)[:, own]
        except ValueError:
            unknown = np.full((1, widths[number]), np.nan)
        tables.append(np.concatenate([_given(encoder, rows)[:, own], unknown]))
    return tables


def _given(encoder: Any, rows: np.ndarray) -> np.ndarray:
    if all(categories.dtype.kind in "biuf" for categories in encoder.categories_):
        rows = rows.astype(np.float64)
    with warnings.catch_warnings():  # of unknown categories, of names of features
        warnings.simplefilter("ignore")
        found = encoder.transform(rows)
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64)


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

    return dict.fromkeys((OneHotEncoder, OrdinalEncoder, TargetEncoder), encoded)
