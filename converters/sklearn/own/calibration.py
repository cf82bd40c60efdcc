"""Isotonic calibration, which scikit-learn interpolates between thresholds; skl2onnx takes the nearest one."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import onnx


@contextlib.contextmanager
def interpolated() -> Iterator[None]:
    """Inside the `with` block skl2onnx writes isotonic calibrators of classifiers as they compute."""
    from skl2onnx.operator_converters import calibrated_classifier_cv

    with mock.patch.object(calibrated_classifier_cv, "_transform_isotonic", _isotonic):
        yield


def _isotonic(
    scope: Any, container: Any, model: Any, scores: str, k: int, dtype: Any, proto_type: int
) -> str:
    """y = y_0 + sum over intervals of dy * (min(max(t, x_i), x_i+1) - x_i) / (x_i+1 - x_i), (N, 1).

    Scores beyond the thresholds have the y of the first and the last one, as calibrators clip.
    """
    double = proto_type == onnx.TensorProto.DOUBLE
    kind = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
    calibrator = model.calibrators[k]
    x = np.asarray(calibrator.X_thresholds_, np.float64 if double else np.float32)
    # Of thresholds that are one number in float32 the last one stays.
    last = np.append(np.diff(x) > 0, True)
    x, y = x[last], np.asarray(calibrator.y_thresholds_, np.float64)[last]

    def constant(array: np.ndarray) -> str:
        name: str = scope.get_unique_variable_name("threshold")
        container.add_initializer(name, kind, array.shape, array.astype(x.dtype).ravel())
        return name

    def add(op_type: str, *inputs: str) -> str:
        name: str = scope.get_unique_variable_name(op_type.lower())
        container.add_node(op_type, [*inputs], name, name=scope.get_unique_operator_name(op_type))
        return name

    shape = scope.get_unique_variable_name("shape")
    container.add_initializer(shape, onnx.TensorProto.INT64, [2], [-1, 1])
    column, first = add("Reshape", scores, shape), constant(y[:1])
    if len(x) == 1:
        return add("Add", add("Sub", column, column), first)
    low, high = constant(x[:-1]), constant(x[1:])
    share = add("Div", add("Sub", add("Min", add("Max", column, low), high), low), constant(np.diff(x)))
    return add("Add", add("MatMul", share, constant(np.diff(y)[:, None])), first)
