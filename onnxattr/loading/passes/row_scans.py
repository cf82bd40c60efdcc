"""Brings Scans of opset 8, which run over the rows of a batch apart, to the form that Scan has had since opset 9."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxattr.autodiff.registry import attributes_of
from onnxattr.errors import ModelError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_of, is_standard, nodes_of, subgraphs_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.passes.bridge import as_proto
from onnxattr.loading.passes.replay import Results, replay

#: Domain that hides the old Scans from onnx's converter, which knows them for batches of one row alone.
_HIDDEN = "onnxattr.row_scans"


def upgrade_row_scans(model: ir.Model) -> bool:
    """Brings a model of opset 7 or 8 that holds Scans to opset 9, in place; a model without stays as it is.

    A Scan of opset 8 takes the batch along the first axis of everything that it is given. It becomes a Scan over that
    axis, without states, around the Scan of a single row.

    Returns:
        Whether it held Scans.

    Raises:
        ModelError: If rows have lengths of their own.
    """
    scans = [node for node in nodes_of(model.graph) if is_standard(node, "Scan")]
    if not scans:
        return False
    for node in scans:
        node.domain = _HIDDEN
    model.opset_imports[_HIDDEN] = 1
    with as_proto(model, "version converter") as crossing:
        crossing.proto = onnx.version_converter.convert_version(crossing.proto, 9)
    op = OpBuilder(model.graph, 9, prefix="")
    for graph in list(graphs_of(model.graph)):
        replay(op.inside(graph), lambda op, node: _over_rows(op, node) if node.domain == _HIDDEN else None)
    del model.opset_imports[_HIDDEN]
    return True


def _over_rows(op: OpBuilder, node: ir.Node) -> Results:
    """The Scan over rows that stands for a Scan of opset 8."""
    settings, (body,) = attributes_of(node), subgraphs_of(node)
    lengths, *inputs = node.inputs
    if lengths is not None:
        raise ModelError(
            f"The Scan node {node.name!r} of opset 8 has sequence_lens, lengths of each row, which newer opsets lack. "
            "Export the model with opset 9 or later."
        )
    count = settings["num_scan_inputs"]
    rows = op.body(f"{node.name or node.outputs[0].name}/row")
    for k, value in enumerate(body.inputs):
        dims = dims_of(value)
        scanned = k >= len(body.inputs) - count and dims is not None
        rows.input(f"{rows.prefix}_{k}", value.dtype, [None, *(dims or [])] if scanned else dims)
    attributes = {"num_scan_inputs": count, "scan_input_directions": settings.get("directions")}
    given = list(rows.graph.inputs)
    results = rows.append("Scan", given, {**_given(attributes), "body": body}, len(node.outputs))
    for result, value in zip(results, body.outputs, strict=True):
        result.type, result.shape = value.type, None
    rows.graph.outputs.extend(results)
    return op.append("Scan", inputs, {"num_scan_inputs": len(inputs), "body": rows.graph}, len(node.outputs))


def _given(attributes: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in attributes.items() if value is not None}
