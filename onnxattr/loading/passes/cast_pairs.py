"""Casts to a wider type and back, which ONNX Runtime drops without telling the subgraphs that read what they give."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.subgraphs import is_standard, nodes_of

_INTEGERS = {f"{sign}INT{bits}": bits - (not sign) for bits in (8, 16, 32, 64) for sign in ("", "U")}
#: Bits of the numbers that each type holds all of, and the types that hold more beside.
_BITS = {"BOOL": 1, "BFLOAT16": 8, "FLOAT16": 11, "FLOAT": 24, "DOUBLE": 53} | _INTEGERS
_WIDER_FLOATS = {"BFLOAT16": ("FLOAT", "DOUBLE"), "FLOAT16": ("FLOAT", "DOUBLE"), "FLOAT": ("DOUBLE",)}


def read_before_cast_pairs(graph: ir.Graph) -> bool:
    """Lets subgraphs that read a value cast to a wider type and back read the value itself, in place; whether any."""
    changed = False
    for node in list(nodes_of(graph)):
        first = node.inputs[0].producer() if _is_cast(node) and node.inputs[0] is not None else None
        source = first.inputs[0] if first is not None and _is_cast(first) else None
        if source is None or source.dtype is None or source.dtype != _target(node):
            continue
        assert first is not None
        if not _holds_all(_target(first), source.dtype):
            continue
        for use in list(node.outputs[0].uses()):
            if use.node.graph is not node.graph:
                use.node.replace_input_with(use.idx, source)
                changed = True
    return changed


def _is_cast(node: ir.Node) -> bool:
    return is_standard(node, "Cast")


def _target(cast: ir.Node) -> ir.DataType:
    return ir.DataType(cast.attributes.get_int("to"))


def _holds_all(wide: ir.DataType, narrow: ir.DataType) -> bool:
    """Whether a type has all the numbers of another."""
    if wide == narrow:
        return True
    if narrow.name not in _BITS or wide.name not in _BITS:
        return False
    if narrow.name in _WIDER_FLOATS or narrow.name == "DOUBLE":
        return wide.name in _WIDER_FLOATS.get(narrow.name, ())
    signed = narrow.name.startswith("INT")
    return _BITS[wide.name] >= _BITS[narrow.name] and not (signed and wide.name.startswith("UINT"))
