"""Brings models into the window of opsets that the rewriter works in."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.autodiff.registry import op_name
from onnxattr.errors import ModelError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.subgraphs import graphs_of, is_standard, nodes_of
from onnxattr.loading.passes.bridge import as_proto
from onnxattr.loading.passes.functions import write_out_functions
from onnxattr.loading.passes.old_operators import after_conversion, before_conversion
from onnxattr.loading.passes.replay import Results, replay
from onnxattr.loading.passes.row_scans import upgrade_row_scans
from onnxattr.loading.shapes.infer import infer_shapes

#: Models below this opset are upgraded to it; the rewriter emits nodes of the model's opset from here on.
OPSET = 18
#: The newest opset and IR version that ONNX Runtime 1.31 runs; newer models are brought back to it.
NEWEST_OPSET, NEWEST_IR = 26, 13
OLDEST_OPSET = 7
#: From here on ai.onnx has numbers of 4 and 16 bits, which the operators of ``com.microsoft`` quantise to before.
_MORE_BITS = 21
_EIGHT_BITS = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32, None)
#: From here on an operator whose form stays up to OPSET also means the same; before, some do not.
_MEANT_THE_SAME = 13
#: Before, BatchNormalization says by the number of its outputs that it trains.
_TRAINS_BY_ATTRIBUTE = 14


def upgrade(model: ir.Model, same: onnx.ModelProto | None = None) -> bool:
    """Brings a model of an older opset to OPSET, in place; whether it was of one.

    One that quantises to other than 8 bits by ``com.microsoft`` is brought to the first opset whose own operators do.

    Args:
        model: The model.
        same: The model as protobuf, if it is at hand.

    Raises:
        ModelError: If an operator has no newer form.
    """
    opset = model.opset_imports[""]
    changed = opset < OPSET
    if changed:
        _upgrade_old(model, opset, same)
    if opset < _MORE_BITS and any(_quantises_otherwise(node) for node in nodes_of(model.graph)):
        with as_proto(model, "version converter", None if changed else same) as crossing:
            crossing.proto = onnx.version_converter.convert_version(crossing.proto, _MORE_BITS)
        changed = True
    return changed


def _quantises_otherwise(node: ir.Node) -> bool:
    """Whether an operator of ``com.microsoft`` quantises, or dequantises from, other than 8 bits."""
    if op_name(node) not in ("com.microsoft::QuantizeLinear", "com.microsoft::DequantizeLinear"):
        return False
    numbers = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2] is not None else node.inputs[0]
    made = None if numbers is None else numbers.producer()
    if made is not None and made.op_type == "Constant" and "value" in made.attributes:
        return made.attributes["value"].as_tensor().dtype not in _EIGHT_BITS
    return numbers is not None and numbers.dtype not in (*_EIGHT_BITS, *FLOATS)


def _upgrade_old(model: ir.Model, opset: int, same: onnx.ModelProto | None) -> None:
    """Brings a model of an opset below OPSET to that.

    Raises:
        ModelError: If an operator has no newer form.
    """
    if opset < _TRAINS_BY_ATTRIBUTE:
        _refuse_training(model)
    changed = before_conversion(model)
    upsampled = {node.outputs[0].name for node in nodes_of(model.graph) if is_standard(node, "Upsample")}
    if opset < 9:
        changed = upgrade_row_scans(model) or changed
    if _stays(model, opset):
        model.opset_imports[""] = OPSET
    else:
        with as_proto(model, "version converter", None if changed else same) as crossing:
            crossing.proto = onnx.version_converter.convert_version(crossing.proto, OPSET)
    after_conversion(model, opset, upsampled)


def _refuse_training(model: ir.Model) -> None:
    """Refuses normalisations that have more outputs than y, which says that they train: no newer form has all of them.

    Raises:
        ModelError: Names the node.
    """
    for node in nodes_of(model.graph):
        if is_standard(node, "BatchNormalization") and any(output.name for output in node.outputs[1:]):
            raise ModelError(
                f"BatchNormalization node {node.name!r} computes with the statistics of the batch, as in training. "
                "Export the model as it predicts: module.eval(), training=torch.onnx.TrainingMode.EVAL."
            )


def _stays(model: ir.Model, opset: int) -> bool:
    """Whether every node of a model means at OPSET what it says at an older opset: the number alone changes.

    The converter takes milliseconds for the smallest model.
    """
    if opset < _MEANT_THE_SAME or model.functions:
        return False
    return all(
        _same_form(node.op_type, opset) for node in nodes_of(model.graph) if is_standard(node, node.op_type)
    )


@functools.cache
def _same_form(op_type: str, opset: int) -> bool:
    """Whether an operator has the same inputs, outputs and attributes at OPSET, of no fewer types."""
    if not (onnx.defs.has(op_type, opset, "") and onnx.defs.has(op_type, OPSET, "")):
        return False
    old, new = (onnx.defs.get_schema(op_type, version, "") for version in (opset, OPSET))
    if old.since_version == new.since_version:
        return True
    pairs = [*zip(old.inputs, new.inputs, strict=False), *zip(old.outputs, new.outputs, strict=False)]
    return _form(old) == _form(new) and all(set(a.types) <= set(b.types) for a, b in pairs)


def _form(schema: Any) -> tuple[Any, ...]:
    formals = [
        [(f.name, f.option, f.is_homogeneous, f.min_arity) for f in part]
        for part in (schema.inputs, schema.outputs)
    ]
    attributes = {
        name: (a.type, a.required, a.default_value.SerializeToString())
        for name, a in schema.attributes.items()
    }
    return schema.deprecated, formals, attributes


def check_versions(model: ir.Model) -> None:
    """Checks that a model's versions can be handled.

    Raises:
        ModelError: If they are older or newer.
    """
    opset, newest = model.opset_imports.get("", 0), onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ModelError(
            f"The model has ai.onnx opset {opset}; opsets {OLDEST_OPSET} to {newest} can be explained. "
            "Export it with an opset in that range (18 runs on the most runtimes)."
        )
    if model.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"The model has IR version {model.ir_version}; the installed onnx reads up to {onnx.IR_VERSION}. "
            "Export it with an older one."
        )


def downgrade(model: ir.Model, newest: int) -> bool:
    """Brings a model of an opset that runtimes do not know yet to the newest that they do, in place.

    Operators that are new since then are written out by their definitions; those that only changed are converted, or
    written out where they have no form in the older opset.

    Returns:
        Whether it was of a newer one.

    Raises:
        RuntimeError: If an operator has no older form and no definition.
    """
    if model.opset_imports[""] <= newest:
        return False

    def changed(op: str, schema: Any) -> bool:
        return schema.domain == "" and bool(schema.since_version > newest)

    write_out_functions(model, lambda op, s: changed(op, s) and not onnx.defs.has(op, newest, ""))
    _write_out_floored_mod(model)
    with (
        as_proto(model, "version converter") as crossing,
        contextlib.suppress(RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError),
    ):
        crossing.proto = _converted(crossing.proto, newest)
    if model.opset_imports[""] > newest:
        write_out_functions(model, changed)
        with as_proto(model, "version converter") as crossing:
            crossing.proto = _converted(crossing.proto, newest)
    return True


def _write_out_floored_mod(model: ir.Model) -> None:
    """Writes out Mod of floats with the sign of the divisor, new in opset 28: a - b * floor(a / b)."""

    def is_floored(node: ir.Node) -> bool:
        return is_standard(node, "Mod") and not node.attributes.get_int("fmod", 0)

    def write(op: OpBuilder, node: ir.Node) -> Results:
        a, b = node.inputs if is_floored(node) else (None, None)
        if a is None or b is None or a.dtype not in FLOATS:
            return None
        return [op.Sub(a, op.Mul(b, op.Floor(op.Div(a, b))))]

    if any(is_floored(node) for node in nodes_of(model.graph)):
        infer_shapes(model, strict=False)
        op = OpBuilder(model.graph, model.opset_imports[""], prefix="Mod")
        for graph in list(graphs_of(model.graph)):
            replay(op.inside(graph), write)


def _converted(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    converted = onnx.version_converter.convert_version(proto, opset)
    onnx.checker.check_model(converted, full_check=True)
    return converted


#: Defaults that ONNX's shape inference forgets: it takes a missing onesided for 0, and fails on missing axes.
_DEFAULTS: dict[str, tuple[str, int | list[int]]] = {
    "STFT": ("onesided", 1),
    "MeanVarianceNormalization": ("axes", [0, 2, 3]),
}


def state_defaults(graph: ir.Graph) -> bool:
    """Writes the defaults of attributes on nodes where ONNX's shape inference would forget them; whether there were."""
    changed = False
    for node in nodes_of(graph):
        name, value = _DEFAULTS.get(op_name(node), ("", 0))
        if name and name not in node.attributes:
            node.attributes[name] = ir.convenience.convert_attribute(name, value)
            changed = True
    return changed


def set_ir_version(model: ir.Model) -> bool:
    """Gives a model an IR version that its opset and runtimes take, in place; whether it had another."""
    version = min(max(model.ir_version, 8), NEWEST_IR)
    changed, model.ir_version = version != model.ir_version, version
    return changed
