"""If, Loop and Scan inside one another, with captured values, unused states, no iterations, sequences and optionals."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from fuzz.control import chain, declared, flag, named
from fuzz.draft import Draft, Value, info

#: How deep bodies lie in one another.
_DEEPEST = 3


def nested(d: Draft, x: Value) -> Value:
    """Bodies in bodies, each of which reads values of all graphs around it."""
    around = [v for v in d.values if v.shape == x.shape] or [x]
    return _block(d, x, [*around[-2:], x], 1)


def _block(d: Draft, x: Value, seen: list[Value], depth: int) -> Value:
    """A chain of operators, or a body one deeper, joined with a value from outside."""
    kinds = [_branches, _loop, _scan, _sequence, _optional, _no_steps, _stack]
    y = d.pick(*kinds)(d, x, seen, depth) if depth <= _DEEPEST else chain(d, x, 1)
    if d.chance(0.6):
        y = d.add(d.pick("Add", "Mul", "Sub", "Max"), d.add("Tanh", y), d.pick(*seen).name)
    return y


def _condition(d: Draft, x: Value) -> str:
    """True or false by the size, or by the values where samples may mix."""
    if d.mixing and d.chance(0.5):
        d.apart = False
        total = d.with_axes("ReduceSum", x, list(range(x.rank)), (), since=13, keepdims=0)
        return d.node("Greater", [total.name, d.constant(np.float32(0))])
    size = d.node("Cast", [d.node("Size", [x.name])], to=TensorProto.FLOAT)
    return d.node("Greater", [size, d.constant(np.float32(d.pick(0, 1e6)))])


def _branches(d: Draft, x: Value, seen: list[Value], depth: int) -> Value:
    """An If of two outputs, of which the second is another value, one captured as it is or unused."""
    condition, graphs = _condition(d, x), []
    for stem in ("then", "else"):
        body = d.body()
        y = named(body, _block(body, x, seen, depth + 1))
        z = body.add("Identity", d.pick(*seen)) if body.chance(0.5) else body.add("Sin", x)
        d.apart &= body.apart
        graphs.append(
            helper.make_graph(body.nodes, d.fresh(stem), [], [info(v, declared(d, v)) for v in (y, z)])
        )
    name = d.node("If", [condition], outputs=2, then_branch=graphs[0], else_branch=graphs[1])
    return Value(d.node("Mul", [name, f"{name}_1"]) if d.chance(0.6) else name, x.shape)


def _loop(d: Draft, x: Value, seen: list[Value], depth: int) -> Value:
    """A Loop of two or three states: one swapped with another, one that nothing reads; a stack of steps."""
    body = d.body()
    a, b = Value(d.fresh("s"), x.shape), Value(d.fresh("s"), x.shape)
    step, go, on = (d.fresh(stem) for stem in ("i", "g", "o"))
    y = body.add("Tanh", _block(body, a, [*seen, b], depth + 1))
    d.apart &= body.apart
    next_b = body.add("Identity", d.pick(a, y, b))
    if d.chance(0.4):
        now = body.node("Cast", [step], to=TensorProto.FLOAT)
        y = body.add("Add", y, body.node("Mul", [now, d.pick(*seen).name]))
    if d.chance(0.3):
        body.nodes.append(helper.make_node("Less", [step, body.constant(d.pick(0, 1), np.int64)], [on]))
    else:
        body.nodes.append(helper.make_node("Identity", [go], [on]))
    states = [y, next_b][:: d.pick(1, -1)]
    stack = body.add("Sin", a)
    taken, given = ([info(v, declared(d, v)) for v in values] for values in ((a, b), (*states, stack)))
    counter = helper.make_tensor_value_info(step, TensorProto.INT64, [])
    graph = helper.make_graph(body.nodes, d.fresh("loop"), [counter, flag(go), *taken], [flag(on), *given])
    trips = d.constant(d.pick(0, 1, 2, 3), np.int64)
    other = d.pick(*seen)
    name = d.node(
        "Loop", [trips, d.pick("", d.constant(np.array(True))), x.name, other.name], outputs=3, body=graph
    )
    kind = d.pick("first", "both", "second", "stack")
    if kind == "stack":
        total = d.with_axes(
            "ReduceSum", Value(f"{name}_2", (0, *x.shape)), [0], x.shape, since=13, keepdims=0
        )
        return Value(d.node("Add", [total.name, name]), x.shape)
    if kind == "both":
        return Value(d.node("Mul", [name, f"{name}_1"]), x.shape)
    return Value(name if kind == "first" else f"{name}_1", x.shape)


def _no_steps(d: Draft, x: Value, seen: list[Value], depth: int) -> Value:
    """A Loop that is not entered, by its count or by its condition."""
    body = d.body()
    a = Value(d.fresh("s"), x.shape)
    step, go, on = (d.fresh(stem) for stem in ("i", "g", "o"))
    y = body.add("Tanh", _block(body, a, seen, depth + 1))
    d.apart &= body.apart
    body.nodes.append(helper.make_node("Identity", [go], [on]))
    counter = helper.make_tensor_value_info(step, TensorProto.INT64, [])
    inputs, outputs = [counter, flag(go), info(a, declared(d, a))], [flag(on), info(y, declared(d, y))]
    graph = helper.make_graph(body.nodes, d.fresh("loop"), inputs, outputs)
    size = d.node("Size", [x.name])
    none = d.node("Sub", [size, size])
    few = d.pick([none, ""], [d.constant(3, np.int64), d.node("Cast", [none], to=TensorProto.BOOL)])
    return Value(d.node("Loop", [*few, x.name], body=graph), x.shape)


def _scan(d: Draft, x: Value, seen: list[Value], depth: int) -> Value:
    """A Scan along axis 1 over two values, backwards or not, whose body captures a third."""
    if d.opset < 9 or x.rank < 3:
        return _loop(d, x, seen, depth)
    body, kept = d.body(), (x.shape[0], *x.shape[2:])
    state, part, other = (Value(d.fresh("p"), kept) for _ in range(3))
    # The runtime asks for the shapes of what a Scan gives, and finds none behind another body.
    y = body.add("Tanh", _block(body, part, [state, other], _DEEPEST + 1))
    y = body.add(d.pick("Add", "Mul"), y, state.name)
    if d.chance(0.5):
        outer = d.pick(*seen)
        mean = body.with_axes("ReduceMean", outer, [1], kept, since=18, keepdims=0)
        y = body.add("Add", y, mean.name)
    out = body.add("Sin", y) if d.chance(0.5) else body.add("Identity", state)
    taken, given = (
        [info(v, [None, *kept[1:]]) for v in values] for values in ((state, part, other), (y, out))
    )
    graph = helper.make_graph(body.nodes, d.fresh("scan"), taken, given)
    first = d.node("Gather", [x.name, d.constant(0, np.int64)], axis=1)
    axis = 1 if d.opset < 11 or d.chance(0.5) else 1 - x.rank
    name = d.node(
        "Scan",
        [first, x.name, d.pick(*seen).name],
        outputs=2,
        body=graph,
        num_scan_inputs=2,
        scan_input_axes=[axis, axis],
        scan_output_axes=[axis],
        scan_input_directions=[d.pick(0, 1), d.pick(0, 1)],
        scan_output_directions=[d.pick(0, 1)],
    )
    if d.chance(0.5):
        return Value(f"{name}_1", x.shape)
    wide = d.with_axes("Unsqueeze", Value(name, kept), [1], (x.shape[0], 1, *x.shape[2:]), since=13)
    return d.add("Add", x, wide.name)


def _sequence(d: Draft, x: Value, seen: list[Value], depth: int) -> Value:
    """A sequence that a Loop makes longer, read from an end or stacked."""
    if d.opset < 13:
        return _branches(d, x, seen, depth)
    body = d.body()
    s = d.fresh("q")
    step, go, on, made = (d.fresh(stem) for stem in ("i", "g", "o", "q"))
    body.nodes.append(helper.make_node("Identity", [go], [on]))
    before = Value(body.node("SequenceAt", [s, body.constant(-1, np.int64)]), x.shape)
    y = body.add("Tanh", _block(body, before, seen, depth + 1))
    d.apart &= body.apart
    place = d.pick([], [body.constant(0, np.int64)])
    body.nodes.append(helper.make_node("SequenceInsert", [s, y.name, *place], [made]))
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [None] * x.rank))
    counter = helper.make_tensor_value_info(step, TensorProto.INT64, [])
    before_it, after_it = (helper.make_value_info(name, kind) for name in (s, made))
    graph = helper.make_graph(
        body.nodes, d.fresh("loop"), [counter, flag(go), before_it], [flag(on), after_it]
    )
    start = d.node("SequenceConstruct", [x.name] * d.pick(1, 2) + [d.pick(*seen).name] * d.pick(0, 1))
    found = d.node("Loop", [d.constant(d.pick(0, 1, 2), np.int64), "", start], body=graph)
    if d.chance(0.5):
        return Value(d.node("SequenceAt", [found, d.constant(d.pick(0, -1), np.int64)]), x.shape)
    stacked = d.node("ConcatFromSequence", [found], axis=0, new_axis=1)
    return d.with_axes("ReduceSum", Value(stacked, (1, *x.shape)), [0], x.shape, since=13, keepdims=0)


def _optional(d: Draft, x: Value, seen: list[Value], depth: int) -> Value:
    """A value in an Optional, read in a branch on whether it has one."""
    if d.opset < 18:
        return _branches(d, x, seen, depth)
    held = d.node("Optional", [x.name])
    has, graphs = d.node("OptionalHasElement", [held]), []
    for stem in ("then", "else"):
        body = d.body()
        y = Value(body.node("OptionalGetElement", [held]), x.shape) if stem == "then" else x
        y = named(body, _block(body, y, seen, depth + 1))
        d.apart &= body.apart
        graphs.append(helper.make_graph(body.nodes, d.fresh(stem), [], [info(y, declared(d, y))]))
    return Value(d.node("If", [has], then_branch=graphs[0], else_branch=graphs[1]), x.shape)


def _stack(d: Draft, x: Value, seen: list[Value], depth: int) -> Value:
    """A Loop without states, whose steps are stacked and added up; below opset 11 a Loop has one."""
    if d.opset < 11:
        return _loop(d, x, seen, depth)
    body = d.body()
    step, go, on = (d.fresh(stem) for stem in ("i", "g", "o"))
    body.nodes.append(helper.make_node("Identity", [go], [on]))
    now = body.node("Cast", [step], to=TensorProto.FLOAT)
    y = body.add("Tanh", body.add("Add", _block(body, x, seen, depth + 1), now))
    d.apart &= body.apart
    counter = helper.make_tensor_value_info(step, TensorProto.INT64, [])
    outputs = [flag(on), info(y, declared(d, y))]
    graph = helper.make_graph(body.nodes, d.fresh("loop"), [counter, flag(go)], outputs)
    name = d.node("Loop", [d.constant(d.pick(1, 2, 3), np.int64), ""], body=graph)
    return d.with_axes("ReduceSum", Value(name, (1, *x.shape)), [0], x.shape, since=13, keepdims=0)
