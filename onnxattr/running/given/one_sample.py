"""Targets and results of models whose first axis is no batch: all that they are given is one sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.compile.renderings.one_sample import keeps_output
from onnxattr.errors import ShapeError, TargetError
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.heads import is_binary
from onnxattr.loading.meaning.class_names import with_labels
from onnxattr.loading.prepared import Prepared
from onnxattr.running.given.arrays import as_array
from onnxattr.running.given.targets import Targets, as_targets, class_count, label_weights
from onnxattr.scores.score import TargetKind


def has_classes(prepared: Prepared) -> bool:
    """Whether labels can say what to explain: the output is (classes,) or (1, classes), or a unit of two classes."""
    dims = dims_of(prepared.value(prepared.output)) or []
    if dims == [1]:
        return is_binary(prepared.unit)
    return (len(dims) == 1 and isinstance(dims[0], int)) or (len(dims) == 2 and dims[0] == 1)


def targets_of_sample(prepared: Prepared, with_axis: Prepared, given: Any, kind: TargetKind) -> Targets:
    """Checks the targets of one sample: weights of the output's shape; for classes a label, or None.

    Args:
        prepared: The model.
        with_axis: The same with an axis of samples.
        given: What the caller gave.
        kind: What the score takes as targets.

    Returns:
        Targets with an axis of samples.

    Raises:
        TargetError: If they do not fit.
    """
    output = prepared.value(prepared.output)
    dims = [1, *kind.dims] if keeps_output(prepared) else list(kind.dims)
    classes = has_classes(prepared) and kind.labels
    if given is None and (classes or (not kind.dims and kind.labels) or kind.optional):
        return as_targets(with_axis, None, 1, kind)
    shape = shape_text(dims)
    also = " or a label" if classes else ""
    wanted = (
        f"The whole first axis is one sample ({prepared.rows.why}), so that targets are weights of the output's shape "
        f"{shape}{also}; the explained score is the sum of the output times the weights."
        if kind.what == "weights"
        else f"The whole first axis is one sample ({prepared.rows.why}); expected {kind.what} of shape {shape}."
    )
    if given is None:
        raise TargetError(f"The output {output.name!r} needs targets. {wanted}")
    if classes:
        count = class_count(with_axis, dims_of(with_axis.value(with_axis.output)) or [])
        given = with_labels(given, with_axis.class_names, count, 1)
    try:
        array = as_array(given, "targets")
    except ShapeError as error:
        raise TargetError(str(error)) from error
    if classes and array.size == 1 and array.ndim < 2 and array.dtype.kind in "iu":
        return as_targets(with_axis, array.reshape(1), 1, kind)
    if kind.one_box and array.ndim == len(dims) - 1:
        array = array[None]
    fits = array.ndim == len(dims) and all(
        not isinstance(d, int) or d == n for d, n in zip(dims, array.shape, strict=True)
    )
    if not fits:
        raise TargetError(f"targets have shape {array.shape}. {wanted}")
    return as_targets(with_axis, array if keeps_output(prepared) else array[None], 1, kind)


def label_of_row(
    prepared: Prepared, with_axis: Prepared, given: Any, kind: TargetKind, run: Callable[[], np.ndarray]
) -> Targets | None:
    """The target for a label, where a run shows one row of classes and the model declares any number of rows.

    An output of any number of numbers of which a run shows one, as that of a neuron, is explained without a target.

    Args:
        prepared: The model.
        with_axis: The same with an axis of samples.
        given: What the caller gave.
        kind: What the score takes as targets.
        run: Gives the output for the sample.

    Returns:
        None for other targets and outputs.

    Raises:
        TargetError: If there is no such label.
    """
    dims = dims_of(prepared.value(prepared.output)) or []
    if not kind.labels or len(dims) not in (1, 2) or isinstance(dims[0], int):
        return None
    if len(dims) == 1:
        number = run() if given is None else np.empty(0)
        return Targets(weights=np.ones((1, 1), number.dtype)) if number.shape == (1,) else None
    if np.ndim(given) > 1 or np.size(given) != 1:  # None is one too
        return None
    prediction = run()
    if np.ndim(prediction) != 2 or len(prediction) != 1:
        return None
    given = -1 if given is None else with_labels(given, with_axis.class_names, prediction.shape[1], 1)
    label = np.reshape(np.asarray(given), -1)
    if label.dtype.kind not in "iu":
        return None
    return Targets(weights=label_weights(with_axis, label.astype(np.int64), prediction)[None])


def output_with_axis(prepared: Prepared) -> Prepared:
    """An output with an axis of samples, as ``targets_of_sample`` takes it, where there is no more of the model."""
    output = prepared.value(prepared.output)
    dims = dims_of(output) or []
    shape = ir.Shape(dims if keeps_output(prepared) else [1, *dims])
    value = ir.Value(name=output.name, type=output.type, shape=shape)
    graph = ir.Graph([value], [], nodes=[], opset_imports={"": prepared.opset}, name="output")
    return Prepared(ir.Model(graph, ir_version=8), [], prepared.output, (), prepared.unit, prepared.rows)


def joined_samples(runs: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The results of several samples, each with an axis of samples, as arrays of all.

    Raises:
        ShapeError: If there is no sample, or they are of different sizes.
    """
    if not runs:
        raise ShapeError("The dataset gave no sample; at least one is needed.")
    shapes = sorted({tuple(array.shape for array in run) for run in runs})
    if len(shapes) > 1:
        raise ShapeError(
            f"The samples of the dataset have maps of different shapes {[s[0][1:] for s in shapes[:5]]}, which make no "
            "one array: explain each by itself."
        )
    return [np.concatenate(arrays) for arrays in zip(*runs, strict=True)]
