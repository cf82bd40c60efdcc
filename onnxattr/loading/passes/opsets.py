"""Brings models into the window of opsets that the rewriter works in."""

from __future__ import annotations

import contextlib
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.autodiff.registry import op_name
from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import nodes_in, nodes_of
from onnxattr.loading.passes.bridge import as_proto
from onnxattr.loading.passes.functions import write_out_functions
from onnxattr.loading.passes.old_operators import after_conversion, before_conversion, default_opset
from onnxattr.loading.passes.row_scans import upgrade_row_scans

#: Models below this opset are upgraded to it; the rewriter emits nodes of the model's opset from here on.
OPSET = 18
#: The newest opset and IR version that ONNX Runtime 1.31 runs; newer models are brought back to it.
NEWEST_OPSET, NEWEST_IR = 26, 13
OLDEST_OPSET = 7

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
)


def upgrade(model: ir.Model) -> bool:
    """Brings a model of an older opset to OPSET, in place; whether it was of one.

    onnx's version converter takes protobuf, and so does what prepares and mends its work.

    Raises:
        ModelError: If an operator has no newer form.
    """
    if model.opset_imports[""] >= OPSET:
        return False
    with as_proto(model, "version converter") as crossing:
        crossing.proto = _upgraded(crossing.proto)
    return True


def _upgraded(proto: onnx.ModelProto) -> onnx.ModelProto:
    opset = default_opset(proto)
    plain = before_conversion(proto, opset)
    upsampled = {node.output[0] for node in nodes_in(plain.graph) if node.op_type == "Upsample"}
    upgraded = onnx.version_converter.convert_version(upgrade_row_scans(plain) if opset < 9 else plain, OPSET)
    after_conversion(upgraded, opset, upsampled)
    return upgraded


def check_versions(proto: onnx.ModelProto) -> None:
    """Checks that a model's versions can be handled.

    Raises:
        ModelError: If they are older or newer.
    """
    opset, newest = default_opset(proto), onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ModelError(
            f"The model has ai.onnx opset {opset}; opsets {OLDEST_OPSET} to {newest} can be explained. "
            "Export it with an opset in that range (18 runs on the most runtimes)."
        )
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"The model has IR version {proto.ir_version}; the installed onnx reads up to {onnx.IR_VERSION}. "
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
    with as_proto(model, "version converter") as crossing:
        crossing.proto = plain = _without_floored_mod(crossing.proto)
        with contextlib.suppress(
            RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError
        ):
            crossing.proto = _converted(plain, newest)
    if model.opset_imports[""] > newest:
        write_out_functions(model, changed)
        with as_proto(model, "version converter") as crossing:
            crossing.proto = _converted(crossing.proto, newest)
    return True


def _without_floored_mod(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Writes out Mod of floats with the sign of the divisor, new in opset 28: a - b * floor(a / b)."""
    types = {value.name: value.type.tensor_type.elem_type for value in proto.graph.input}
    types |= {
        v.name: v.type.tensor_type.elem_type
        for v in onnx.shape_inference.infer_shapes(proto).graph.value_info
    }
    types |= {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    for node in proto.graph.node:
        floored = node.op_type == "Mod" and not any(a.name == "fmod" and a.i for a in node.attribute)
        if floored and types.get(node.input[0]) in _FLOATS:
            (a, b), y = node.input, node.output[0]
            steps = [
                ("Div", [a, b]),
                ("Floor", [f"{y}/Div"]),
                ("Mul", [b, f"{y}/Floor"]),
                ("Sub", [a, f"{y}/Mul"]),
            ]
            for op_type, inputs in steps:
                output = y if op_type == "Sub" else f"{y}/{op_type}"
                result.graph.node.append(onnx.helper.make_node(op_type, inputs, [output]))
        else:
            result.graph.node.append(node)
    return result


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
