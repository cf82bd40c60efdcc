"""Brings a model to the form that the rewriter works on."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import ModelError, one_door
from onnxattr.graph.subgraphs import hoist_initializers
from onnxattr.loading.layers import append_views
from onnxattr.loading.passes.cast_pairs import read_before_cast_pairs
from onnxattr.loading.passes.copied_weights import read_weights_directly
from onnxattr.loading.passes.decompositions import adopt, write_out
from onnxattr.loading.passes.functions import expand, inline
from onnxattr.loading.passes.lengths import share_first_axis, tell_lengths_apart
from onnxattr.loading.passes.old_operators import hide_experimental
from onnxattr.loading.passes.opsets import (
    NEWEST_IR,
    NEWEST_OPSET,
    OPSET,
    check_versions,
    default_opset,
    downgrade,
    state_defaults,
    upgrade,
)
from onnxattr.loading.passes.pads import pad_every_axis
from onnxattr.loading.passes.static_nodes import resolve
from onnxattr.loading.passes.time_first import put_time_first
from onnxattr.loading.reading.bodies import give_own_values
from onnxattr.loading.reading.call_counts import check_calls
from onnxattr.loading.reading.detached_weights import put_weights_back, set_weights_aside, with_small_data
from onnxattr.loading.reading.negative_sizes import check_inferred_sizes, free_negative_sizes
from onnxattr.loading.reading.source import ModelSource, digest, name_of, read_model
from onnxattr.loading.reading.value_sizes import check_sizes
from onnxattr.loading.rows.independence import MIXED, independence
from onnxattr.loading.shapes.infer import infer_shapes
from onnxattr.loading.verify import ORIGINAL

#: What ``load`` notes in a model's ``meta``: the folder of its external data, the files read, the SHA-256 of its file.
FOLDER, FILES, DIGEST = "folder", "files", "sha256"


def load(source: ModelSource, rules: RuleTable = STANDARD) -> ir.Model:
    """Loads a model and prepares a copy: checked, functions inlined, opset in the window, every value typed.

    Operators without a rule that have a definition in others are written out.

    Args:
        source: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        rules: The rule table that the model is going to be differentiated with.

    Raises:
        ModelError: If the model cannot be read, is invalid, or is newer or older than what can be handled.
    """
    with one_door(f"{name_of(source)} cannot be prepared"):
        located = read_model(source)
        model = _prepared(located.proto, located.folder, rules)
        if share_first_axis(model.graph) and _mixes_rows(model):
            # They may be of different lengths, as those of an encoder and a decoder.
            model = _prepared(located.proto, located.folder, rules, rows=False)
        model.meta[FOLDER], model.meta[FILES] = located.folder, located.files
        model.meta[DIGEST] = digest(source, located.proto)
        model.meta[ORIGINAL] = located.proto
        return model


def _mixes_rows(model: ir.Model) -> bool:
    graph = model.graph
    return independence(graph, model.opset_imports.get("", OPSET), graph.outputs).kind == MIXED


def _prepared(proto: onnx.ModelProto, folder: Path | None, rules: RuleTable, rows: bool = True) -> ir.Model:
    slim, weights = set_weights_aside(with_small_data(proto, folder))
    append_views(slim)
    if slim.opset_import and not default_opset(slim):
        # Only other domains: the rules need the default one.
        slim.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    check_versions(slim)
    check_calls(slim)
    adopt(slim, default_opset(slim))
    if default_opset(slim) < 10:
        hide_experimental(slim)
    try:
        free_negative_sizes(slim)
        _check(slim)
        if slim.functions:
            slim = inline(slim, default_opset(slim), rules)
        _check_kept(slim)
        check_inferred_sizes(slim)
        check_sizes(slim, default_opset(slim), weights)
        tell_lengths_apart(slim.graph, rows)
        read_weights_directly(slim.graph, weights)
        give_own_values(slim.graph)
        state_defaults(slim)
        put_time_first(slim.graph)
        if default_opset(slim) < OPSET:
            slim = upgrade(slim)
        if default_opset(slim) > NEWEST_OPSET:
            slim = downgrade(slim, default_opset(slim), NEWEST_OPSET)
        slim = write_out(slim, default_opset(slim), rules)
        slim = expand(slim, default_opset(slim), rules)
        slim = infer_shapes(resolve(slim, default_opset(slim)))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError) as error:
        raise ModelError(
            f"The model is not valid ONNX of opset {default_opset(proto)}: {_first_lines(error)}"
        ) from error
    slim.ir_version = min(max(slim.ir_version, 8), NEWEST_IR)
    model = ir.serde.deserialize_model(slim)
    put_weights_back(model.graph, weights, folder)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    hoist_initializers(model)
    pad_every_axis(model.graph, default_opset(slim))
    read_before_cast_pairs(model.graph)
    _name_everything(model.graph)
    return model


def _check_kept(proto: onnx.ModelProto) -> None:
    """Checks that functions which a rule keeps need no conversion of their bodies."""
    opset = default_opset(proto)
    if proto.functions and not OPSET <= opset <= NEWEST_OPSET:
        names = ", ".join(f"{function.domain}::{function.name}" for function in proto.functions)
        raise ModelError(
            f"The rule table has rules for functions of the model, {names}, and the model is of opset {opset}; "
            f"functions are kept in opsets {OPSET} to {NEWEST_OPSET}. Convert the model, or take the rules out."
        )


def _check(proto: onnx.ModelProto) -> None:
    """Checks a model; its outputs need no types and its inputs no shapes, though the checker asks for them.

    Raises:
        onnx.checker.ValidationError: If it is not valid.
    """
    given = [(value, value.type.SerializeToString()) for value in (*proto.graph.output, *proto.graph.input)]
    for value in proto.graph.output:
        if value.type.WhichOneof("value") is None:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for value, _ in given:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(proto)
    finally:
        for value, serialized in given:
            value.type.ParseFromString(serialized)


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:600]


def _name_everything(graph: ir.Graph) -> None:
    """Gives unnamed nodes a name, so that errors and tables can point at them."""
    taken = {node.name for node in graph.all_nodes() if node.name}
    for index, node in enumerate(graph.all_nodes()):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
