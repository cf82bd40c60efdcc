"""Finds the score that ``operator=`` asks for."""

from __future__ import annotations

import difflib
import os
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.errors import ParameterError
from onnxattr.loading.reading.source import BYTES
from onnxattr.scores.functions import score_of_function
from onnxattr.scores.onnx_operator import score_of_model
from onnxattr.scores.score import LINEAR, Score
from onnxattr.scores.tasks import TASKS, Tasks

#: Xplique's operators, which are TensorFlow's functions there, by the names of tasks.
_OF_XPLIQUE = {
    "predictions_operator": "classification",
    "semantic_segmentation_operator": "semantic segmentation",
    "object_detection_operator": "object detection",
    "OBJECT_DETECTION_BOX_POSITION": "object detection box position",
    "OBJECT_DETECTION_BOX_PROBA": "object detection box proba",
    "OBJECT_DETECTION_BOX_CLASS": "object detection box class",
}


def score_of(operator: Any) -> Score:
    """The score of an operator.

    Args:
        operator: None, the name of a score, a member of ``Tasks`` (or of Xplique's), a function
            g(f, x, y), an ONNX model (a path that ends in .onnx, bytes, ``ModelProto``, ``onnx_ir.Model``), or a
            ``Score``.

    Raises:
        ParameterError: If it is none of these.
    """
    if operator is None:
        return LINEAR
    if isinstance(operator, Score):
        return operator
    if isinstance(operator, Tasks):
        operator = operator.value
    if isinstance(operator, str) and operator in TASKS:
        return TASKS[operator]
    if hasattr(operator, "to_model_proto"):
        operator = operator.to_model_proto()
    path = isinstance(operator, os.PathLike) or (isinstance(operator, str) and operator.endswith(".onnx"))
    if path or isinstance(operator, (*BYTES, onnx.ModelProto, ir.Model)):
        return score_of_model(operator)
    if callable(operator):
        function = getattr(operator, "python_function", operator)
        known = str(getattr(function, "__module__", "")).startswith("xplique.")
        task = _OF_XPLIQUE.get(getattr(function, "__name__", "")) if known else None
        return TASKS[task] if task is not None else score_of_function(function)
    near = difflib.get_close_matches(operator, TASKS, 1) if isinstance(operator, str) else []
    raise ParameterError(
        f"operator={operator!r}: expected None, a function operator(f, x, y), an ONNX model, or one of {list(TASKS)}."
        + "".join(f" Did you mean {name!r}?" for name in near)
    )
