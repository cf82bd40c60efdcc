"""Operators that ai.onnx has in later opsets than a model imports, as a file has them whose opset was set too low."""

from __future__ import annotations

import onnx

from onnxattr.graph.subgraphs import nodes_in
from onnxattr.loading.reading.source import default_opset


def about_newer_operators(proto: onnx.ModelProto) -> str:
    """A sentence on the operators that came after a model's opset; "" if there are none."""
    opset = default_opset(proto)
    used = dict.fromkeys(node.op_type for node in nodes_in(proto.graph) if node.domain == "")
    lacking = {op_type: _since(op_type) for op_type in used if not onnx.defs.has(op_type, opset, "")}
    found = {op_type: since for op_type, since in lacking.items() if since > opset}
    if not found:
        return ""
    listed = ", ".join(f"{op_type} from opset {since} on" for op_type, since in found.items())
    return (
        f". ai.onnx has {listed}, and ONNX Runtime refuses the model too: export it with that opset, or with an older "
        "form of the operator."
    )


def _since(op_type: str) -> int:
    """The first opset of ai.onnx that has an operator; 0 if none."""
    versions = [schema.since_version for schema in onnx.defs.get_all_schemas_with_history()
                if schema.domain == "" and schema.name == op_type]  # fmt: skip
    return min(versions, default=0)
