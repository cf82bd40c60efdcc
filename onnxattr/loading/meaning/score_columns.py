"""Scores whose columns are not the classes that a model's label names: those of support vector machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

_KEPT = ("Identity", "Cast", "ZipMap")


def told_of_columns(proto: onnx.ModelProto, output: str) -> str:
    """What the labels of an output mean where they are not the places of the model's classes; else empty.

    ONNX Runtime gives the decision value d of two classes as (-d, d), and chooses the first class where d is positive.
    Of more classes it gives one decision value for each pair.

    Args:
        proto: The model as it was read.
        output: The name of the explained value.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    node, sign = _maker(proto, makers, output)
    if node is None or node.op_type != "SVMClassifier":
        return ""
    settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    labels = list(settings.get("classlabels_ints") or settings.get("classlabels_strings") or ())
    labels = [label.decode(errors="replace") if isinstance(label, bytes) else label for label in labels]
    counts = settings.get("vectors_per_class", ())
    if not sum(counts) or len(labels) != len(counts):
        return ""
    who = f"{node.op_type} node {node.name!r}"
    if len(counts) > 2 and "prob_a" not in settings:
        pairs = ", ".join(f"{a!r} and {b!r}" for a, b in _pairs(labels)[:3])
        return (
            f"The columns of {output!r} are no classes: {who} gives a score for each pair of classes, the first for "
            f"{pairs}. Labels are places of pairs, and without targets the pair of the largest score is explained. "
            "Convert the estimator with decision_function_shape='ovr', or give weights on the pairs."
        )
    if len(counts) == 2 and (sign < 0) == ("prob_a" in settings):
        return (
            f"The larger score of {output!r} is not that of the class which {who} chooses: label 0 explains "
            f"{labels[1]!r}, label 1 explains {labels[0]!r}, and without targets the class is explained that is not "
            "predicted. Give labels so, or explain the estimator itself (sample=), whose scores are put in order."
        )
    return ""


def _pairs(labels: list[Any]) -> list[tuple[Any, Any]]:
    return [(a, b) for number, a in enumerate(labels) for b in labels[number + 1 :]]


def _maker(
    proto: onnx.ModelProto, makers: Mapping[str, onnx.NodeProto], name: str
) -> tuple[onnx.NodeProto | None, int]:
    """The node whose scores a value holds, and whether they are turned round (-1) on the way."""
    sign, constants = 1, {tensor.name: tensor for tensor in proto.graph.initializer}
    while (node := makers.get(name)) is not None:
        factor = next((constants[value] for value in node.input if value in constants), None)
        if node.op_type == "Mul" and factor is not None and not factor.dims:
            sign = -sign if onnx.numpy_helper.to_array(factor).astype(np.float64) < 0 else sign
            name = next((value for value in node.input if value not in constants), "")
        elif node.op_type == "Neg":
            name, sign = node.input[0], -sign
        elif node.op_type in _KEPT:
            name = node.input[0]
        else:
            return node, sign
    return None, sign
