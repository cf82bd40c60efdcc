"""The domains and opsets that a file imports, and what its operators need of them."""

from __future__ import annotations

import onnx

from onnxattr.autodiff.registry import op_name
from onnxattr.decompositions.standard import DECOMPOSITIONS
from onnxattr.graph.subgraphs import nodes_in
from onnxattr.loading.passes.old_operators import default_opset
from onnxattr.loading.passes.opsets import OPSET

_CONTRIB = "com.microsoft"


def import_default(proto: onnx.ModelProto) -> bool:
    """Lets a model import ai.onnx, under its short name, in place: a file may have operators of other domains alone."""
    changed = False
    for entry in proto.opset_import:
        if entry.domain == "ai.onnx":
            entry.domain, changed = "", True
    if proto.opset_import and not default_opset(proto):
        proto.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        return True
    return changed


def adopt(proto: onnx.ModelProto) -> bool:
    """Mends what ONNX Runtime's optimisers leave: operators that ai.onnx lacks in that opset, imports that miss.

    Args:
        proto: The model; changed in place.

    Returns:
        Whether anything was mended.
    """
    nodes, opset, changed = list(nodes_in(proto.graph)), default_opset(proto), False
    for node in nodes:
        known = node.domain not in ("", "ai.onnx") or onnx.defs.has(node.op_type, opset, "")
        if not known and f"{_CONTRIB}::{node.op_type}" in DECOMPOSITIONS:
            node.domain, changed = _CONTRIB, True
    changed = _give_scores(proto.graph) or changed
    imported = any(entry.domain == _CONTRIB for entry in proto.opset_import)
    if not imported and any(node.domain == _CONTRIB for node in nodes):
        proto.opset_import.append(onnx.helper.make_opsetid(_CONTRIB, 1))
        return True
    return changed


def _give_scores(graph: onnx.GraphProto) -> bool:
    """Types outputs of ZipMap as the tensors of scores that they are made of: there is no other use of dictionaries."""
    zipped = {name for node in graph.node if op_name(node) == "ai.onnx.ml::ZipMap" for name in node.output}
    for value in graph.output:
        if value.name in zipped:
            value.CopyFrom(
                onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, [None, None])
            )
    return any(value.name in zipped for value in graph.output)
