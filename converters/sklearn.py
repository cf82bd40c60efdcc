"""scikit-learn estimators to ONNX: `to_onnx` takes a fitted estimator or pipeline with sample rows."""

import os
from importlib import import_module
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ConversionError
from onnxattr.finish_graph import write

from . import onnx_finish
from .verify import TOLERANCE, Session, difference

_OPSETS = range(13, 24)
_INPUT = "X"


def to_onnx(
    estimator: Any,
    sample: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 18,
    verify: bool = True,
) -> onnx.ModelProto:
    """Convert a fitted scikit-learn estimator to ONNX and check the result against it.

    The input is "X", float32 (N, features). Classifiers have the outputs "label" and "probabilities", or "scores" where
    they have no probabilities.

    Args:
        estimator: A fitted estimator or pipeline that skl2onnx knows.
        sample: Rows as the estimator takes them, (n, features), numbers alone; they give the number of features and
            are used for the check.
        path: Also write the model to this file.
        opset: ONNX opset, 13 to 23.
        verify: Compare the outputs with the estimator's on the sample and on random rows around it.

    Returns:
        The ONNX model.

    Raises:
        ConversionError: The estimator is not fitted, not known to skl2onnx, or the outputs differ by more than 1e-4
            of their largest value.
        RuntimeMissingError: `verify` without ONNX Runtime.
    """
    for name in ("sklearn", "skl2onnx"):
        try:
            import_module(name)
        except ImportError as error:
            raise ConversionError(
                f"Converting a scikit-learn estimator needs the package {name!r}, which cannot be imported ({error}): "
                "pip install 'onnxattr[sklearn]'"
            ) from error
    if opset not in _OPSETS:
        raise ConversionError(
            f"opset={opset} was asked for, {_OPSETS.start} to {_OPSETS.stop - 1} can be written."
        )
    rows = _rows(sample)
    converted = _convert(estimator, rows, opset)
    if verify:
        _check(converted, estimator, rows)
    onnx_finish.set_versions(converted, opset, ("skl2onnx", "scikit-learn"))
    if path is not None:
        write(converted, path)
    return converted


def _rows(sample: Any) -> np.ndarray:
    try:
        rows = np.asarray(sample, np.float32)
    except (ValueError, TypeError) as error:
        raise ConversionError(
            f"The sample holds more than numbers ({error}). Encode text and categories before the pipeline."
        ) from error
    if rows.ndim != 2 or not len(rows):
        raise ConversionError(f"The sample has shape {rows.shape}; expected rows, (n, features).")
    return rows


def _convert(estimator: Any, rows: np.ndarray, opset: int) -> onnx.ModelProto:
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import is_classifier

    settings: dict[str, Any] = {"target_opset": {"": opset, "ai.onnx.ml": 3}}
    if is_classifier(estimator):
        has_probabilities = hasattr(estimator, "predict_proba")
        settings["options"] = {
            id(estimator): {"zipmap": False} | ({} if has_probabilities else {"raw_scores": True})
        }
    types = [(_INPUT, FloatTensorType([None, rows.shape[1]]))]
    try:
        converted = skl2onnx.convert_sklearn(estimator, initial_types=types, **settings)
    except Exception as error:
        reason = " ".join(str(error).split())[:500]
        raise ConversionError(
            f"skl2onnx could not convert {type(estimator).__name__}: {reason}. Fit the estimator first, and use steps "
            "that skl2onnx supports."
        ) from error
    for value in [*converted.graph.input, *converted.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_param = onnx_finish.BATCH
    onnx_finish.check_model(converted, [_INPUT])
    return converted


def _check(converted: onnx.ModelProto, estimator: Any, rows: np.ndarray) -> None:
    session = Session(converted)
    noise = np.random.default_rng(0).normal(size=(5, rows.shape[1]))
    around = (rows.mean(0) + noise * (rows.std(0) + 1e-3)).astype(np.float32)
    for batch in (rows, rows[:1], around):
        expected = _expected(estimator, batch)
        found = np.asarray(session.run({_INPUT: batch})[-1])
        worst = difference(found.reshape(expected.shape) if found.size == expected.size else found, expected)
        if not worst <= TOLERANCE:
            raise ConversionError(
                f"The converted {type(estimator).__name__} differs from the original by {worst:.2g} of its largest "
                "value. Scale the features: it computes in float64, its ONNX form in float32."
            )


def _expected(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """What the last output of the converted model should be."""
    for method in ("predict_proba", "decision_function", "predict", "transform"):
        if hasattr(estimator, method):
            try:
                return np.asarray(getattr(estimator, method)(rows))
            except ValueError as error:
                raise ConversionError(
                    f"{type(estimator).__name__} does not take the sample: {error} Give rows as it was fitted on."
                ) from error
    raise ConversionError(
        f"{type(estimator).__name__} neither predicts nor transforms; give a fitted estimator."
    )
