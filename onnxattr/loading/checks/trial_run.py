"""Runs of a model as it was read, at inputs that are drawn, for values of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx

from onnxattr.errors import ModelError
from onnxattr.graph.declared import outputs_asked
from onnxattr.session import Session

T = TypeVar("T")


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


def check_lengths(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], folder: Any = None) -> None:
    """Computes the sizes of what some nodes of the main graph must not read without an element; see ``empty_read``.

    Raises:
        ModelError: If one is 0, or the model does not run.
    """
    if found := empty_read(proto, feeds, folder):
        raise ModelError(f"{found}.")


def empty_read(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], folder: Any = None) -> str:
    """What is read without an element where ONNX Runtime 1.32 ends the process for it, before anything of it runs.

    A Scan along another axis than the first divides by the number of its steps, as an Einsum does by sizes, and GRU and
    LSTM raise where nothing catches. Nodes in subgraphs are not looked at.

    Raises:
        ModelError: If the model does not run up to such a node.
    """
    risky = [(place, node, read) for place, node in enumerate(proto.graph.node) if (read := _read_by(node))]
    known = _sizes(proto, feeds) if risky else {}
    for place, node, read in risky:
        unknown = [name for name in read if name not in known]
        if unknown:
            before = onnx.ModelProto()
            before.CopyFrom(proto)
            del before.graph.node[place:]
            known |= {name: array.shape for name, array in values_at(before, unknown, feeds, folder).items()}
        if empty := [name for name in read if 0 in known[name]]:
            return (
                f"the {node.op_type} node {node.name or node.output[0]!r} reads {empty[0]!r} of shape "
                f"{tuple(known[empty[0]])}, which has no element"
            )
    return ""


def not_empty(op_type: str, inputs: Sequence[T], scanned: Sequence[int]) -> Sequence[T]:
    """Those inputs of a node that must have an element.

    ``scanned``: the axes along which a Scan reads its last inputs.
    """
    if op_type == "Scan":
        return inputs[len(inputs) - len(scanned) :] if any(scanned) else []
    if op_type in ("GRU", "LSTM", "RNN"):
        return inputs[:1]
    return inputs if op_type == "Einsum" else []


def _read_by(node: onnx.NodeProto) -> Sequence[str]:
    scanned = [axis for a in node.attribute if a.name == "scan_input_axes" for axis in a.ints]
    return not_empty(node.op_type, node.input, scanned)


def _sizes(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The shapes that follow from those of the inputs alone, without a run."""
    given = onnx.ModelProto()
    given.CopyFrom(proto)
    for value in given.graph.input:
        if value.name in feeds:
            value.type.tensor_type.shape.CopyFrom(
                onnx.helper.make_tensor_value_info("", 1, feeds[value.name].shape).type.tensor_type.shape
            )
    try:
        inferred = onnx.shape_inference.infer_shapes(given).graph
    except Exception:  # beyond 2 GiB, or invalid: its lengths are computed
        return {}
    found = {name: array.shape for name, array in feeds.items()}
    for value in inferred.value_info:
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            found[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    return found
