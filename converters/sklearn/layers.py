"""The layer table of a converted scikit-learn estimator: values of the graph that equal the outputs of its steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ..common import graph_edit, layer_rows
from ..common.verify import TOLERANCE, difference, values
from .steps import Step, steps_of

_MOST_ROWS = 100
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
# In front of all values, where the inputs are columns.
_INPUTS = ""


def write_table(
    model: onnx.ModelProto, estimator: Any, rows: Any, feeds: Mapping[str, np.ndarray] | None = None
) -> None:
    """Store which value equals which step's output for some rows.

    A step's value lies behind the value of the step before, so of several equal ones the first is taken. The scores
    of a linear classifier are inside one operator: what computes them is detached, for onnxattr to append.

    Args:
        model: The converted model; its values get the names of the steps, its metadata the table.
        estimator: What it was converted from.
        rows: Rows as the estimator takes them; far apart, so that what is clipped differs from what is not.
        feeds: The same rows as the model takes them, where it has an input for each column; None for its only input.
    """
    rows = rows[:_MOST_ROWS]
    graph, steps = model.graph, steps_of(estimator, rows)
    source = graph.input[0].name if feeds is None else _INPUTS
    feeds = (
        {source: rows.astype(np.float32)}
        if feeds is None
        else {name: array[:_MOST_ROWS] for name, array in feeds.items()}
    )
    order = [name for node in graph.node for name in node.output]
    found = {**feeds, **values(model, order, feeds)}
    alive = {*feeds, *_with_gradient(graph)}
    found = {
        name: found[name]
        for name in (*feeds, *order)
        if name in alive and np.asarray(found[name]).dtype == np.float32
    }
    place = {"": source}
    table = []
    for step in steps:
        start = place.get(step.before)
        name = _value_of(found, start, step.expected) if start is not None else None
        if name is None and start is not None and step.linear is not None:
            name = _linear_view(graph, step, start, found)
        if name is not None:
            place[step.path] = name
        row = layer_rows.row(step.path.rpartition("/")[2], step.index, step.class_name, step.path, name)
        row["folded"] = None if name else "no value of the graph equals its output"
        row["relu"] = layer_rows.relu_record(graph, name, "relu") if step.relu and name else None
        table.append(row)
    _rename(graph, table)
    layer_rows.write_rows(model, "sklearn", table)
    layer_rows.detach_views(model)


def _with_gradient(graph: onnx.GraphProto) -> set[str]:
    """The values that the last output depends on by floats: not what categories are looked up by."""
    found = {graph.output[-1].name}
    for node in reversed(graph.node):
        if found.isdisjoint(node.output):
            continue
        to = next((a.i for a in node.attribute if a.name == "to"), onnx.TensorProto.FLOAT)
        if node.op_type != "Cast" or to in _FLOATS:
            found.update(node.input[:1] if node.op_type == "Gather" else node.input)
    return found


def step_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The difference of a value from a step's output; a single score may be written out for both classes."""
    if expected.shape[1] == 1 and found.shape == (len(expected), 2):
        expected = np.concatenate([-expected, expected], axis=1)
    return difference(found[:, None] if found.shape == (len(expected),) else found, expected)


def _value_of(found: Mapping[str, np.ndarray], start: str, expected: np.ndarray) -> str | None:
    """The first value behind `start` that equals a step's output, or `start` where the step changes nothing."""
    if expected.dtype.kind not in "fiub":
        return None
    names = list(found) if start != _INPUTS else [_INPUTS, *found]
    behind = names[names.index(start) + 1 :] if start in names else []
    own = [] if start == _INPUTS else [start]
    return next(
        (name for name in [*behind, *own] if step_difference(found[name], expected) <= TOLERANCE),
        None,
    )


def _linear_view(graph: onnx.GraphProto, step: Step, start: str, found: dict[str, np.ndarray]) -> str | None:
    """Appends the scores of a linear model; returns their name, or None if they differ from the estimator's."""
    assert step.linear is not None
    weights, bias = step.linear.weights.astype(np.float32), step.linear.bias.astype(np.float32)
    if difference(found[start] @ weights + bias, step.expected) > TOLERANCE:
        return None
    names = [f"{step.path}/weights", f"{step.path}/bias"]
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for array, name in zip((weights, bias), names, strict=True)
    )
    graph.node.append(onnx.helper.make_node("Gemm", [start, *names], [step.path], step.path))
    return step.path


def _rename(graph: onnx.GraphProto, table: list[dict[str, Any]]) -> None:
    """Give the values the paths of the steps as names; inputs and outputs of the model keep theirs."""
    taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    names: dict[str, str] = {}
    for row in table:
        if row["output"] and row["output"] not in taken and row["path"] not in taken:
            names.setdefault(row["output"], row["path"])
    graph_edit.rename_values(graph, names)
    for row in table:
        row["output"] = names.get(row["output"], row["output"])
        if row["relu"]:
            row["relu"] |= {key: names.get(row["relu"][key], row["relu"][key]) for key in ("input", "output")}
