"""Brings models into the window of opsets that the rewriter works in."""

from __future__ import annotations

from typing import Any

import onnx

from onnxattr.autodiff.registry import op_name
from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import nodes_in
from onnxattr.loading.passes.functions import write_out_functions
from onnxattr.loading.passes.old_operators import after_conversion, before_conversion
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


def upgrade(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Brings a model to OPSET.

    Raises:
        ModelError: If an operator has no newer form.
    """
    opset = default_opset(proto)
    plain = before_conversion(proto, opset)
    upsampled = {node.output[0] for node in nodes_in(plain.graph) if node.op_type == "Upsample"}
    upgraded = onnx.version_converter.convert_version(upgrade_row_scans(plain) if opset < 9 else plain, OPSET)
    after_conversion(upgraded, opset, upsampled)
    return upgraded


def default_opset(proto: onnx.ModelProto) -> int:
    """The ai.onnx opset of a model; 0 if it imports none."""
    return next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)


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


def downgrade(proto: onnx.ModelProto, opset: int, newest: int) -> onnx.ModelProto:
    """Brings a model of an opset that runtimes do not know yet to the newest that they do.

    Operators that are new since then are written out by their definitions; those that only changed are converted, or
    written out where they have no form in the older opset.

    Raises:
        RuntimeError: If an operator has neither.
    """

    def changed(op: str, schema: Any) -> bool:
        return schema.domain == "" and schema.since_version > newest

    known = write_out_functions(
        proto, opset, lambda op, s: changed(op, s) and not onnx.defs.has(op, newest, "")
    )
    known = _without_floored_mod(known)
    try:
        return _converted(known, newest)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return _converted(write_out_functions(known, opset, changed), newest)


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
_DEFAULTS = {"STFT": ("onesided", 1), "MeanVarianceNormalization": ("axes", [0, 2, 3])}


def state_defaults(proto: onnx.ModelProto) -> None:
    """Writes the defaults of attributes on nodes where ONNX's shape inference would forget them."""
    for node in nodes_in(proto.graph):
        name, value = _DEFAULTS.get(op_name(node), ("", None))
        if name and all(attribute.name != name for attribute in node.attribute):
            node.attribute.append(onnx.helper.make_attribute(name, value))
