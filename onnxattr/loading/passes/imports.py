"""The domains and opsets that a model imports, and what its operators need of them."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxattr.decompositions.standard import DECOMPOSITIONS
from onnxattr.graph.subgraphs import held_by, nodes_of
from onnxattr.loading.passes.opsets import OPSET

#: The domain of ONNX Runtime's own operators.
CONTRIB = "com.microsoft"
#: The long name of the domain of ONNX's own operators; the short one is empty.
_LONG = "ai.onnx"


def spell_in_short(proto: onnx.ModelProto) -> bool:
    """Calls ai.onnx by its short name, in place; of several versions of a domain the last counts, as in ONNX Runtime.

    Returns:
        Whether anything was spelled otherwise.
    """
    changed, waiting = False, [proto.graph, *proto.functions]
    for holder in (proto, *proto.functions):
        given = [(entry.domain, entry.version) for entry in holder.opset_import]
        kept = {"" if domain == _LONG else domain: version for domain, version in given}
        if given != [*kept.items()]:
            del holder.opset_import[:]
            holder.opset_import.extend(onnx.helper.make_opsetid(*pair) for pair in kept.items())
            changed = True
    for part in waiting:
        for node in part.node:
            if node.domain == _LONG:
                node.domain, changed = "", True
            waiting += held_by(node)
    return changed


def import_default(model: ir.Model) -> bool:
    """Lets a model import ai.onnx, under its short name, in place: a file may have operators of other domains alone."""
    imports = model.opset_imports
    changed = "ai.onnx" in imports
    if changed:
        imports.setdefault("", imports.pop("ai.onnx"))
    if imports and not imports.get(""):
        imports[""] = OPSET
        return True
    return changed


def adopt(model: ir.Model) -> bool:
    """Mends what ONNX Runtime's optimisers leave: operators that ai.onnx lacks in that opset, imports that miss.

    Args:
        model: The model; changed in place.

    Returns:
        Whether anything was mended.
    """
    nodes, imports, changed = list(nodes_of(model.graph)), model.opset_imports, False
    for op_type in {node.op_type for node in nodes if not node.domain}:
        known = onnx.defs.has(op_type, imports[""], "")
        if not known and f"{CONTRIB}::{op_type}" in DECOMPOSITIONS:
            for node in nodes:
                # That of ai.onnx alone is approximated in a way of one's choice: its opset was set too low.
                if node.op_type == op_type and not node.domain and "approximate" not in node.attributes:
                    node.domain, changed = CONTRIB, True
    if CONTRIB not in imports and any(node.domain == CONTRIB for node in nodes):
        imports[CONTRIB] = 1
        return True
    return changed
