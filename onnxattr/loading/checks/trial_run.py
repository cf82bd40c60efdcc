"""Runs of a model as it was read, at inputs that are drawn, for values of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ModelError
from onnxattr.graph.declared import outputs_asked
from onnxattr.session import Session


def values_at(
    proto: onnx.ModelProto, names: Iterable[str], feeds: Mapping[str, np.ndarray], folder: Any = None
) -> dict[str, Any]:
    """The named values of a model, which need not be its outputs, in ONNX Runtime on the CPU.

    Raises:
        ModelError: If it does not run.
    """
    asked = onnx.ModelProto()
    asked.CopyFrom(proto)
    with outputs_asked(asked, names) as wanted:
        results = Session(asked, ["CPUExecutionProvider"], folder).run(feeds)
    return dict(zip(wanted, results, strict=True))


def check_scans(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], folder: Any = None) -> None:
    """Computes the lengths that Scans of the main graph follow, before any of these runs.

    In ONNX Runtime 1.32 a Scan without a step fails; along another axis than the first it divides by zero, which ends
    the process.

    Raises:
        ModelError: If a Scan along another axis has no step, or the model does not run.
    """
    for place, node in enumerate(proto.graph.node):
        axes = [axis for a in node.attribute if a.name == "scan_input_axes" for axis in a.ints]
        if node.op_type != "Scan" or not any(axes):
            continue
        scanned = node.input[len(node.input) - len(axes) :]
        before = onnx.ModelProto()
        before.CopyFrom(proto)
        del before.graph.node[place:]
        values = values_at(before, scanned, feeds, folder)
        if any(values[name].shape[axis] == 0 for name, axis in zip(scanned, axes, strict=True)):
            name = node.name or node.output[0]
            raise ModelError(
                f"The Scan node {name!r} has no step: its inputs are empty along the axes {axes}."
            )
