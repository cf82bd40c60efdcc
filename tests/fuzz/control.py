"""If, Loop and Scan around random chains of operators that keep their operand's shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from fuzz import elementwise
from fuzz.draft import Draft, Value, info

_SAME_SHAPE: tuple[Callable[[Draft, Value], Value], ...] = (
    elementwise.unary, elementwise.unary, elementwise.bounded, elementwise.positive, elementwise.with_constant,
    elementwise.clip, elementwise.guard, elementwise.half_way,
)  # fmt: skip


def chain(d: Draft, x: Value, length: int) -> Value:
    """Operators one after another."""
    for _ in range(length):
        x = d.pick(*_SAME_SHAPE)(d, x)
    return d.add("Tanh", x) if d.chance(0.5) else x


def named(d: Draft, y: Value) -> Value:
    """A value that a node of this body computes, so that it can be an output."""
    made = any(y.name in node.output for node in d.nodes)
    return y if made else d.add("Identity", y)


def flag(name: str) -> onnx.ValueInfoProto:
    """The declaration of a condition."""
    return helper.make_tensor_value_info(name, TensorProto.BOOL, [])


def branches(d: Draft, x: Value) -> Value:
    """An If on sizes, or, where samples may mix, on the values themselves."""
    if d.mixing and d.chance(0.5):
        d.apart = False
        axes = [d.constant(list(range(x.rank)), np.int64)] if d.opset >= 13 and not d.inside else []
        total = d.node("ReduceSum", [x.name, *axes], keepdims=0)
        condition = d.node("Greater", [total, d.constant(np.float32(0))])
    else:
        size = d.node("Cast", [d.node("Size", [x.name])], to=TensorProto.FLOAT)
        condition = d.node("Greater", [size, d.constant(np.float32(d.pick(0, 1e6)))])
    graphs = []
    for stem in ("then", "else"):
        body = d.body()
        y = x if d.chance(0.1) else chain(body, x, d.pick(1, 2))
        y = named(body, y)
        graphs.append(helper.make_graph(body.nodes, d.fresh(stem), [], [info(y, declared(d, y))]))
    return Value(d.node("If", [condition], then_branch=graphs[0], else_branch=graphs[1]), x.shape)


def declared(d: Draft, y: Value) -> list[int | str | None] | None:
    """What a body declares of its result: the sizes inside, never of axis 0, which may be renamed later."""
    return [None, *y.shape[1:]]


def loop(d: Draft, x: Value) -> Value:
    """A Loop of a few steps over one state, with a value captured from outside or a stack of steps."""
    body = d.body()
    state = Value(d.fresh("s"), x.shape)
    step, go, on = (d.fresh(stem) for stem in ("i", "g", "o"))
    body.nodes.append(helper.make_node("Identity", [go], [on]))
    y = chain(body, state, d.pick(1, 2))
    if d.chance(0.4):
        y = body.add("Add", y, x.name)
    y = named(body, body.add("Tanh", y))
    counter = helper.make_tensor_value_info(step, TensorProto.INT64, [])
    stacked = d.chance(0.3)
    outputs = [flag(on), info(y, declared(d, y))]
    if stacked:
        extra = body.add("Sin", y)
        outputs.append(info(extra, declared(d, extra)))
    graph = helper.make_graph(
        body.nodes, d.fresh("loop"), [counter, flag(go), info(state, declared(d, state))], outputs
    )
    trips = d.constant(d.pick(1, 2, 3), np.int64)
    name = d.node("Loop", [trips, "", x.name], outputs=1 + stacked, body=graph)
    if not stacked:
        return Value(name, x.shape)
    axes = [d.constant([0], np.int64)] if d.opset >= 18 else []
    more = {} if axes else {"axes": [0]}
    mean = d.node("ReduceMean", [f"{name}_1", *axes], keepdims=0, **more)
    return Value(d.node("Add", [name, mean]), x.shape)


def scan(d: Draft, x: Value) -> Value:
    """A Scan along axis 1, which every sample has for itself."""
    if d.opset < 9 or x.rank < 3 or d.inside:
        return loop(d, x)
    body = d.body()
    kept = (x.shape[0], *x.shape[2:])
    state, part = Value(d.fresh("s"), kept), Value(d.fresh("p"), kept)
    y = chain(body, part, 1)
    y = body.add("Tanh", Value(body.node("Add", [state.name, y.name]), kept))
    out = body.add(d.pick("Sin", "Relu", "Sigmoid"), y)
    said = [None, *kept[1:]]
    graph = helper.make_graph(
        body.nodes, d.fresh("scan"), [info(v, said) for v in (state, part)], [info(v, said) for v in (y, out)]
    )
    first = d.node("Gather", [x.name, d.constant(0, np.int64)], axis=1)
    backwards = {"scan_input_directions": [1]} if d.chance(0.3) else {}
    name = d.node(
        "Scan",
        [first, x.name],
        outputs=2,
        body=graph,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1],
        **backwards,
    )
    if d.chance(0.5):
        return Value(name, kept)
    return Value(f"{name}_1", x.shape)
