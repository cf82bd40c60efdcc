"""The functions that a file defines: their nodes stand where they are called, but for those that a rule keeps."""

from __future__ import annotations

import onnx
import onnx.inliner

from onnxattr.autodiff.registry import RuleTable
from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import nodes_in
from onnxattr.loading.passes.old_operators import default_opset
from onnxattr.loading.passes.opsets import NEWEST_OPSET, OPSET


def inline(proto: onnx.ModelProto, opset: int, rules: RuleTable) -> onnx.ModelProto:
    """A valid model of that opset whose functions stand where they were called, those with a rule apart."""
    same = onnx.ModelProto()
    same.CopyFrom(proto)
    for function in same.functions:
        for entry in function.opset_import:
            # In a valid model an operator of a function's opset means the same in the model's; the inliner goes by
            # the number.
            entry.version = opset if entry.domain in ("", "ai.onnx") else entry.version
    kept = [(f.domain, f.name) for f in same.functions if f"{f.domain}::{f.name}" in rules]
    return onnx.inliner.inline_selected_functions(same, kept, exclude=True)


def check_kept(proto: onnx.ModelProto) -> None:
    """Checks that functions which a rule keeps need no conversion of their bodies.

    Raises:
        ModelError: If the model is of an opset that is converted.
    """
    opset = default_opset(proto)
    if proto.functions and not OPSET <= opset <= NEWEST_OPSET:
        names = ", ".join(f"{function.domain}::{function.name}" for function in proto.functions)
        raise ModelError(
            f"The rule table has rules for functions of the model, {names}, and the model is of opset {opset}; "
            f"functions are kept in opsets {OPSET} to {NEWEST_OPSET}. Convert the model, or take the rules out."
        )


def drop_references(proto: onnx.ModelProto) -> bool:
    """Removes attributes that refer to those of a function from nodes outside functions, in place; whether any.

    Nothing gives them a value there, so that their defaults count.
    """
    changed = False
    for node in nodes_in(proto.graph):
        kept = [attribute for attribute in node.attribute if not attribute.ref_attr_name]
        if len(kept) < len(node.attribute):
            del node.attribute[:]
            node.attribute.extend(kept)
            changed = True
    return changed
