"""Brings Scans of opset 8, which run over the rows of a batch apart, to the form that Scan has had since opset 9."""

from __future__ import annotations

import onnx

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import nodes_in

#: Domain that hides the old Scans from onnx's converter, which knows them for batches of one row alone.
_HIDDEN = "onnxattr.row_scans"


def upgrade_row_scans(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Brings a model of opset 7 or 8 that holds Scans to opset 9; a model without is returned as it is.

    A Scan of opset 8 takes the batch along the first axis of everything that it is given. It becomes a Scan over that
    axis, without states, around the Scan of a single row.

    Raises:
        ModelError: If rows have lengths of their own.
    """
    if not any(node.op_type == "Scan" and not node.domain for node in nodes_in(proto.graph)):
        return proto
    hidden = onnx.ModelProto()
    hidden.CopyFrom(proto)
    for node in nodes_in(hidden.graph):
        if node.op_type == "Scan" and not node.domain:
            node.domain = _HIDDEN
    hidden.opset_import.append(onnx.helper.make_opsetid(_HIDDEN, 1))
    result = onnx.version_converter.convert_version(hidden, 9)
    for node in nodes_in(result.graph):
        if node.domain == _HIDDEN:
            node.CopyFrom(_over_rows(node))
    imports = [entry for entry in result.opset_import if entry.domain != _HIDDEN]
    del result.opset_import[:]
    result.opset_import.extend(imports)
    return result


def _over_rows(node: onnx.NodeProto) -> onnx.NodeProto:
    """The Scan over rows that stands for a Scan of opset 8."""
    settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    lengths, *inputs = node.input
    if lengths:
        raise ModelError(
            f"The Scan node {node.name!r} of opset 8 has sequence_lens, lengths of each row, which newer opsets lack. "
            "Export the model with opset 9 or later."
        )
    body, count = settings["body"], settings["num_scan_inputs"]
    stem = node.name or next(filter(None, node.output))
    rows = [onnx.ValueInfoProto() for _ in body.input]
    for k, (row, value) in enumerate(zip(rows, body.input, strict=True)):
        row.CopyFrom(value)
        row.name = f"{stem}/row_{k}"
        tensor = row.type.tensor_type
        if k >= len(rows) - count and tensor.HasField("shape"):
            dims = [onnx.TensorShapeProto.Dimension(), *tensor.shape.dim]
            tensor.shape.CopyFrom(onnx.TensorShapeProto(dim=dims))
    results = [f"{stem}/of_row_{k}" for k in range(len(node.output))]
    inner = onnx.helper.make_node(
        "Scan",
        [row.name for row in rows],
        results,
        body=body,
        num_scan_inputs=count,
        scan_input_directions=settings.get("directions"),
    )
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    for output, value in zip(outputs, body.output, strict=True):
        output.type.tensor_type.elem_type = value.type.tensor_type.elem_type
    graph = onnx.helper.make_graph([inner], f"{stem}/row", rows, outputs)
    return onnx.helper.make_node(
        "Scan", inputs, node.output, name=node.name, body=graph, num_scan_inputs=len(inputs)
    )
