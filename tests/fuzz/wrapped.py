"""Blocks in other clothes: quantised, in half precision, in a branch or a loop, in a function, with a second input."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from fuzz import patterns
from fuzz.draft import Draft, Value, info
from fuzz.spelled_out import gate

DOMAIN = "local"


def second_input(d: Draft, x: Value) -> Value:
    """A value joined with another input: added, multiplied, concatenated, in a product of both or as a gate."""
    if d.inside or len(d.inputs) > 2:
        return patterns.shared_weights(d, x)
    kind = d.pick("Add", "Mul", "concat", "product", "gate", "Where")
    width = d.pick(2, 3)
    shape = (*x.shape[:-2], x.shape[-1], width) if kind == "product" else x.shape
    if kind == "gate" or (kind == "product" and x.rank == 2):
        shape, kind = (x.shape[0], x.shape[-1]), "gate"
    z = Value(f"z{len(d.inputs)}", shape)
    d.inputs.append(z)
    if kind == "concat":
        other = d.add(d.pick("Tanh", "Sin"), z)
        shape = (*x.shape[:-1], 2 * x.shape[-1])
        return Value(d.node("Concat", [x.name, other.name], axis=x.rank - 1), shape)
    if kind == "product":
        return Value(d.node("MatMul", [x.name, z.name]), (*x.shape[:-1], width))
    if kind == "gate":
        weight = d.add("Sigmoid", z)
        wide = (x.shape[0], *[1] * (x.rank - 2), x.shape[-1])
        target = d.constant([0 if d.opset > 13 else -1, *wide[1:]], np.int64)
        weight = d.add("Reshape", weight, target, shape=wide) if x.rank > 2 else weight
        return d.add("Mul", x, weight.name)
    if kind == "Where":
        chosen = d.node("Greater", [z.name, d.constant(np.float32(0.1))])
        return Value(d.node("Where", [chosen, x.name, z.name]), x.shape)
    return Value(d.node(kind, [x.name, z.name][:: d.pick(1, -1)]), x.shape)


def quantised(d: Draft, x: Value) -> Value:
    """QuantizeLinear and DequantizeLinear around a product or an activation; its weights in 8 bits, too."""
    if d.opset < 10:
        return patterns.shared_weights(d, x)
    y = _pair(d, x)
    if d.chance(0.7):
        w = d.rng.integers(-100, 100, size=(x.shape[-1], 3)).astype(np.int8)
        each = d.opset >= 13 and d.chance(0.5)
        scale = np.abs(d.normal(3) if each else d.normal()) * 0.01 + np.float32(0.002)
        scale, zero = scale.astype(np.float32), np.zeros(scale.shape, np.int8)
        weights = d.node(
            "DequantizeLinear",
            [d.constant(w), d.constant(scale), d.constant(zero)],
            **({"axis": 1} if each else {}),
        )
        y = d.add("MatMul", y, weights, shape=(*x.shape[:-1], 3))
    return _pair(d, patterns.active(d, y)) if d.chance(0.6) else y


def _pair(d: Draft, x: Value) -> Value:
    """To 8 bits and back, in steps that no input of this generator lies half way between."""
    scale = d.constant(np.float32(d.pick(0.0137, 0.0291, 0.0073)))
    zero = d.constant(d.pick(np.int8(0), np.int8(-19), np.uint8(128), np.uint8(3)))
    y = d.add("QuantizeLinear", x, scale, zero)
    return d.add("DequantizeLinear", y, scale, zero)


def half(d: Draft, x: Value) -> Value:
    """Casts to float16, a block with weights of that type, and back."""
    y = d.add("Cast", x, to=TensorProto.FLOAT16)
    if d.chance(0.6):
        w = d.constant(d.normal(x.shape[-1], 3, scale=0.5).astype(np.float16))
        y = d.add("MatMul", y, w, shape=(*x.shape[:-1], 3))
    if d.chance(0.6):
        y = d.add("Add", y, d.constant(d.normal(y.shape[-1]).astype(np.float16)))
    y = d.add(d.pick("Tanh", "Relu", "Sigmoid", "Identity"), y)
    return d.add("Cast", y, to=TensorProto.FLOAT)


def _block(d: Draft, x: Value, captured: str) -> Value:
    """Layers with weights of the body or of the graph around it that keep the shape."""
    kind = d.pick("dense", "captured", "gate", "heads", "squeeze", "norm")
    if kind == "captured":
        return d.add("Tanh", d.add("MatMul", x, captured))
    if kind == "heads" and x.rank == 3:
        return d.add("Tanh", patterns.product(d, patterns.heads(d, x), x.shape[2]))
    if kind == "squeeze" and x.rank > 2:
        return patterns.squeeze_excite(d, x)
    if kind == "norm" and x.rank > 2:
        scale, shift = (d.constant(d.normal(x.shape[1])) for _ in range(2))
        return d.add("InstanceNormalization", x, scale, shift, epsilon=0.1)
    if kind == "gate":
        return gate(d, x)
    return patterns.active(d, patterns.product(d, x, x.shape[-1]))


def controlled(d: Draft, x: Value) -> Value:
    """An If or a Loop around blocks with weights, some of them read inside and outside."""
    captured = d.constant(d.normal(x.shape[-1], x.shape[-1], scale=0.6))
    y = d.add("Tanh", d.add("MatMul", x, captured)) if d.chance(0.4) else x
    said = [None, *y.shape[1:]]
    if d.chance(0.5):
        size = d.node("Cast", [d.node("Size", [x.name])], to=TensorProto.FLOAT)
        condition = d.node("Greater", [size, d.constant(np.float32(d.pick(0, 1e6)))])
        graphs = []
        for stem in ("then", "else"):
            body = d.body()
            found = body.add("Identity", _block(body, y, captured))
            graphs.append(helper.make_graph(body.nodes, d.fresh(stem), [], [info(found, said)]))
        return Value(d.node("If", [condition], then_branch=graphs[0], else_branch=graphs[1]), y.shape)
    body, state = d.body(), Value(d.fresh("s"), y.shape)
    step, go, on = (d.fresh(stem) for stem in ("i", "g", "o"))
    body.nodes.append(helper.make_node("Identity", [go], [on]))
    found = body.add("Tanh", _block(body, state, captured))
    found = body.add("Add", found, y.name) if d.chance(0.4) else found
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in (go, on)]
    counter = helper.make_tensor_value_info(step, TensorProto.INT64, [])
    inputs, outputs = [counter, flags[0], info(state, said)], [flags[1], info(found, said)]
    graph = helper.make_graph(body.nodes, d.fresh("loop"), inputs, outputs)
    return Value(d.node("Loop", [d.constant(d.pick(1, 2, 3), np.int64), "", y.name], body=graph), y.shape)


def function(d: Draft, x: Value) -> Value:
    """A function of the model's own with attributes, called twice with others; one of them calls the other."""
    if d.opset < 12:
        return patterns.parts(d, x)
    for made in (_leaky(d), _projection(d)):
        d.functions[made.name] = made
    y = d.add("Leaky", x, domain=DOMAIN, slope=0.3, gain=1.5)
    if x.rank == 2 and d.chance(0.7):
        w, b = d.constant(d.normal(3, x.shape[1], scale=0.7)), d.constant(d.normal(3))
        y = d.add("Projection", y, w, b, shape=(x.shape[0], 3), domain=DOMAIN, size=d.pick(0.5, 2.0))
    return d.add("Leaky", y, domain=DOMAIN, slope=d.pick(0.05, -0.4), gain=d.pick(0.7, -1.0))


def _taking(
    op_type: str, inputs: list[str], outputs: list[str], names: dict[str, str], **fixed: object
) -> onnx.NodeProto:
    """A node whose attributes are the function's."""
    node = helper.make_node(op_type, inputs, outputs, **fixed)
    for name, source in names.items():
        node.attribute.append(
            onnx.AttributeProto(name=name, ref_attr_name=source, type=onnx.AttributeProto.FLOAT)
        )
    return node


def _leaky(d: Draft) -> onnx.FunctionProto:
    nodes = [
        _taking("LeakyRelu", ["a"], ["b"], {"alpha": "slope"}),
        _taking("Constant", [], ["c"], {"value_float": "gain"}),
        helper.make_node("Mul", ["b", "c"], ["y"]),
    ]
    return helper.make_function(
        DOMAIN, "Leaky", ["a"], ["y"], nodes, [helper.make_opsetid("", d.opset)], ["slope", "gain"]
    )


def _projection(d: Draft) -> onnx.FunctionProto:
    nodes = [
        _taking("Gemm", ["a", "w", "b"], ["h"], {"alpha": "size"}, transB=1),
        _taking("Leaky", ["h"], ["y"], {"gain": "size"}, domain=DOMAIN, slope=0.2),
    ]
    opsets = [helper.make_opsetid("", d.opset), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_function(DOMAIN, "Projection", ["a", "w", "b"], ["y"], nodes, opsets, ["size"])
