"""The functions that a file defines: their nodes stand where they are called, but for those that a rule keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx
import onnx.inliner
import onnx_ir as ir

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.decompositions.standard import DECOMPOSITIONS
from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import nodes_of
from onnxattr.loading.passes.bridge import as_proto
from onnxattr.loading.passes.function_defaults import state_function_defaults
from onnxattr.loading.passes.imports import CONTRIB
from onnxattr.loading.passes.opsets import NEWEST_OPSET, OPSET
from onnxattr.loading.reading.outputs import give_own_values


def leave_out_operators(model: ir.Model) -> bool:
    """Removes functions that are called as operators are, in place: ONNX Runtime computes the operator, not their body.

    ONNX leaves to runtimes which of the two counts.

    Returns:
        Whether there was one.
    """
    named = [key for key in model.functions if _is_operator(key[0], key[1], model.opset_imports)]
    for key in named:
        del model.functions[key]
    return bool(named)


def _is_operator(domain: str, name: str, imports: Mapping[str, int]) -> bool:
    if domain not in imports:
        return False
    if domain == CONTRIB:
        return f"{domain}::{name}" in DECOMPOSITIONS or f"{domain}::{name}" in STANDARD
    return bool(onnx.defs.has(name, imports[domain], domain))


def inline(model: ir.Model, rules: RuleTable, protobuf: Callable[[str], onnx.ModelProto]) -> bool:
    """Lets the functions of a valid model stand where they were called, those with a rule apart; whether there are any.

    Args:
        model: The model; changed in place.
        rules: The rule table.
        protobuf: Gives the model as protobuf, by what for; called if there are functions.

    Raises:
        ModelError: If functions that a rule keeps would need another opset.
    """
    if not model.functions:
        return False
    why = "function inliner"
    with as_proto(model, why, protobuf(why)) as crossing:
        crossing.proto = _inlined(crossing.proto, model.opset_imports[""], rules)
    _check_kept(model)
    return True


def _inlined(proto: onnx.ModelProto, opset: int, rules: RuleTable) -> onnx.ModelProto:
    same = onnx.ModelProto()
    same.CopyFrom(proto)
    for function in same.functions:
        for entry in function.opset_import:
            # In a valid model an operator of a function's opset means the same in the model's; the inliner goes by
            # the number.
            entry.version = opset if entry.domain in ("", "ai.onnx") else entry.version
    state_function_defaults(same)
    kept = [(f.domain, f.name) for f in same.functions if f"{f.domain}::{f.name}" in rules]
    inlined = onnx.inliner.inline_selected_functions(same, kept, exclude=True)
    give_own_values(inlined.graph)
    return inlined


def _check_kept(model: ir.Model) -> None:
    """Checks that functions which a rule keeps need no conversion of their bodies.

    Raises:
        ModelError: If the model is of an opset that is converted.
    """
    opset = model.opset_imports[""]
    if model.functions and not OPSET <= opset <= NEWEST_OPSET:
        names = ", ".join(f"{function.domain}::{function.name}" for function in model.functions.values())
        raise ModelError(
            f"The rule table has rules for functions of the model, {names}, and the model is of opset {opset}; "
            f"functions are kept in opsets {OPSET} to {NEWEST_OPSET}. Convert the model, or take the rules out."
        )


def drop_references(graph: ir.Graph) -> bool:
    """Removes attributes that refer to those of a function from nodes outside functions, in place; whether any.

    Nothing gives them a value there, so that their defaults count.
    """
    changed = False
    for node in nodes_of(graph):
        for name in [name for name, attribute in node.attributes.items() if attribute.is_ref()]:
            del node.attributes[name]
            changed = True
    return changed
