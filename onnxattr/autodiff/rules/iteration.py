"""The rules of Loop and Scan: one Loop over the steps from the last to the first.

A step is run once more next to its pullback. What it read before, the forward node gives as further outputs: its states
before each step, as far as they are needed. States that may change their shape from step to step cannot be stacked, and
are computed anew for every step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.engine import pullback
from onnxattr.autodiff.paths import active_nodes, reachable
from onnxattr.autodiff.registry import SINGULAR, Closure, Cotangent, moved, op_name, vjp
from onnxattr.autodiff.rules.control_flow import active_among, as_output, as_targets, control_node, typed_like
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import ANY, FLOATS
from onnxattr.graph.subgraphs import prune
from onnxattr.graph.values import dims_of, values_of


@vjp("Loop", "Scan")
def iterate(op: OpBuilder, node: Closure, ct: Any) -> Sequence[Cotangent]:
    """s, y = f(s, x, z) repeated;  sbar, xbar and the sum of zbar by a Loop from the last step to the first."""
    return _Reverse(op, _Iteration(node, node.cts)).run()


def _copy(op: OpBuilder, body: ir.Graph) -> tuple[OpBuilder, dict[ir.Value, ir.Value]]:
    """A builder on a copy of a subgraph under new names, and the copy of each of its values."""
    graph = body.clone(allow_outer_scope_values=True)
    for value in values_of(graph):
        if value.name:
            value.name = op.unique_name(value.name)
    inner = OpBuilder(graph, op.opset, prefix=op.unique_name("pullback"), parent=op)
    return inner, dict(zip(values_of(body), values_of(graph), strict=True))


def _pull(
    inner: OpBuilder,
    node: Closure,
    body: ir.Graph,
    copies: dict[ir.Value, ir.Value],
    cotangents: Iterable[tuple[ir.Value, ir.Value | None]],
    wrt: Iterable[ir.Value],
) -> list[ir.Value]:
    """Appends the pullback to a fresh copy of a subgraph; cotangents and wrt speak of the values of the original."""
    spans = {}
    for original, last in zip(body.all_nodes(), inner.graph.all_nodes(), strict=False):
        if span := node.spans.get(original):
            spans[last] = moved(span, copies)
    targets = as_targets(inner, ((copies[value], ct) for value, ct in cotangents))
    return pullback(inner, targets, [copies.get(value, value) for value in wrt], node.rules, spans)


class _Iteration:
    """A Loop or a Scan: its states, the slices it reads (x) and the slices it gives (y)."""

    def __init__(self, node: Closure, cts: Sequence[ir.Value | None]):
        self.node, self.body = node, node.get_graph("body")
        self.loop = node.op_type == "Loop"
        # A Loop has the trip count and the condition before its states, and the condition before its results.
        last = len(node.node.inputs) - (0 if self.loop else node.get_int("num_scan_inputs"))
        self.first = 2 * self.loop
        results = self.body.outputs[int(self.loop) :]
        self.initial, self.before = (
            node.given(node.inputs[self.first : last]),
            self.body.inputs[self.first : last],
        )
        self.x, self.x_step = node.given(node.inputs[last : len(node.node.inputs)]), self.body.inputs[last:]
        count = len(self.initial)
        self.after, self.y_step = results[:count], results[count:]
        self.final, self.final_cts, self.y_cts = node.outputs[:count], cts[:count], cts[count:]
        self.captured = active_among(node, node.inputs[len(node.node.inputs) :])
        self.x_layout, self.y_layout = (
            self._layout("input", len(self.x)),
            self._layout("output", len(self.y_step)),
        )

    def _layout(self, side: str, count: int) -> list[tuple[int, bool]]:
        """The axis of each sliced operand, and whether its slices run backwards."""
        axes = self.node.get_ints(f"scan_{side}_axes") or [0] * count
        backwards = self.node.get_ints(f"scan_{side}_directions") or [0] * count
        return [(axis, bool(back)) for axis, back in zip(axes, backwards, strict=True)]

    def active_states(self) -> list[int]:
        """The states that carry cotangents from step to step: they vary with what is active, and reach a score."""
        sources = {step for step, x in zip(self.x_step, self.x, strict=True) if active_among(self.node, [x])}
        sources |= set(self.captured)
        varied = {k for k, value in enumerate(self.initial) if active_among(self.node, [value])}
        while True:
            reached = reachable(self.body, sources | {self.before[k] for k in varied}, self.node.rules)
            grown = varied | {k for k, value in enumerate(self.after) if value in reached}
            if grown == varied:
                break
            varied = grown
        sources |= {self.before[k] for k in varied}
        scored = {y for y, ct in zip(self.y_step, self.y_cts, strict=True) if ct is not None}
        useful = {k for k in varied if self.final_cts[k] is not None}
        while True:
            targets = scored | {self.after[k] for k in useful}
            _, needed = active_nodes(list(self.body), targets, list(sources), self.node.rules)
            grown = useful | {k for k in varied if self.before[k] in needed}
            if grown == useful:
                return sorted(useful)
            useful = grown

    def keeps_shape(self, k: int) -> bool:
        """Whether a state certainly has the same shape before every step."""
        before, after = dims_of(self.before[k]), dims_of(self.after[k])
        known = isinstance(self.before[k].type, ir.TensorType) and before is not None and None not in before
        return not self.loop or (known and before == after)

    def reads(self, k: int) -> bool:
        """Whether a step reads a state; what is not read may start with another shape than steps give it."""
        return bool(self.before[k].uses()) or self.before[k].is_graph_output()

    def steps(self, op: OpBuilder) -> ir.Value:
        """The number of steps that the node took."""
        if self.loop:
            return op.size(self.save(op, self.body.inputs[0]), 0)
        return op.size(self.x[0], _positive(self.x_layout[0][0], self.x_step[0]))

    def save(self, op: OpBuilder, value: ir.Value) -> ir.Value:
        """An input of the body as it was at every step: one more output of the node."""
        node = self.node.node
        self.body.outputs.append(as_output(op.inside(self.body), value))
        for name in ("scan_output_axes", "scan_output_directions"):
            if name in node.attributes:
                node.attributes[name] = ir.AttrInt64s(name, [*node.attributes[name].as_ints(), 0])
        node.resize_outputs(len(node.outputs) + 1)
        saved = node.outputs[-1]
        saved.name = op.unique_name(f"{value.name}_saved")
        return typed_like([saved], [_stack_of(value)])[0]


class _Reverse:
    """The Loop over an iteration's steps from the last to the first, built on a copy of its body."""

    def __init__(self, op: OpBuilder, forward: _Iteration):
        self.op, self.forward = op, forward
        self.inner, self.copies = _copy(op, forward.body)
        self.inner.graph.inputs.clear()
        self.wild = not self._is_tame()
        self.steps = forward.steps(op)
        self.back = self.inner.input("step", ir.DataType.INT64, [])
        self.more = self.inner.input("more", ir.DataType.BOOL, [])

    def _is_tame(self) -> bool:
        """Whether the steps stay finite, and their cotangents too; notes it of the states before a step if not."""
        forward, range_of = self.forward, self.op.range_of
        given = [v for v in forward.node.inputs if v is not None and v.dtype in FLOATS]
        states = all(range_of(value).finite for value in [*given, *forward.after, *forward.y_step])
        if not states:
            for value in forward.body.inputs:
                if value.dtype in FLOATS:
                    self.op.note_range(self.copies[value], ANY)
        cts = all(ct is None or range_of(ct).finite for ct in [*forward.final_cts, *forward.y_cts])
        steep = (node for node in forward.body.all_nodes() if op_name(node) in SINGULAR)
        return states and cts and all(self.op.ranges.clear(node) for node in steep)

    def run(self) -> Sequence[Cotangent]:
        """One entry for each initial state, sliced input and captured value of the node."""
        op, inner, forward = self.op, self.inner, self.forward
        states = forward.active_states()
        sliced = [k for k, x in enumerate(forward.x) if active_among(forward.node, [x])]
        carried = [forward.before[k] for k in states] + forward.captured
        inputs = [inner.input("carried", value.dtype, dims_of(value)) for value in carried]
        for value in inputs if self.wild else []:
            inner.note_range(value, ANY)
        results = [*(forward.after[k] for k in states), *forward.y_step]
        gradients = _pull(
            inner,
            forward.node,
            forward.body,
            self.copies,
            zip(results, [*inputs[: len(states)], *self._y_cts()], strict=True),
            [*carried, *(forward.x_step[k] for k in sliced)],
        )
        for index, k in enumerate(states):
            if not forward.reads(k):
                gradients[index] = inner.zeros_like(inputs[index])
        for index in range(len(states), len(carried)):
            gradients[index] = inner.Add(inputs[index], gradients[index])
        inner.graph.outputs[:] = [as_output(inner, value) for value in (self.more, *gradients)]
        prune(inner.graph)
        self._fill_in()
        start = [self._final_ct(k) for k in states] + [op.zeros_like(value) for value in forward.captured]
        likes = [forward.initial[k] for k in states] + forward.captured
        likes += [_stack_of(forward.x_step[k]) for k in sliced]
        # Files drop empty inputs at the end, and a Loop needs two.
        go_on = None if start else op.constant(True)
        found = control_node(op, "Loop", [self.steps, go_on, *start], {"body": inner.graph}, likes)
        return self._entries(states, sliced, found)

    def step(self) -> ir.Value:
        """The number of the step that is being reversed."""
        return self.inner.Sub(self.op.Sub(self.steps, 1), self.back)

    def _slice(self, value: ir.Value, axis: int, backwards: bool, like: ir.Value) -> ir.Value:
        """A value's slice at the step that is being reversed."""
        index = self.back if backwards else self.step()
        return typed_like([self.inner.Gather(value, index, axis=axis)], [like])[0]

    def _y_cts(self) -> list[ir.Value | None]:
        forward = self.forward
        triples = zip(forward.y_cts, forward.y_layout, forward.y_step, strict=True)
        return [None if ct is None else self._slice(ct, *layout, y) for ct, layout, y in triples]

    def _final_ct(self, k: int) -> ir.Value:
        final, ct = self.forward.final[k], self.forward.final_cts[k]
        return ct if ct is not None else self.op.zeros_like(final if final.name else self.forward.initial[k])

    def _fill_in(self) -> None:
        """Replaces the copied body's inputs, where the pullback reads them, by their values at the step."""
        forward, inner = self.forward, self.inner
        sources = {self.copies[value]: value for value in forward.body.inputs}
        for copy, value in sources.items():
            if not copy.uses():
                continue
            if value in forward.x_step:
                k = list(forward.x_step).index(value)
                here = self._slice(forward.x[k], *forward.x_layout[k], value)
            elif value in forward.before:
                k = list(forward.before).index(value)
                stacks = forward.keeps_shape(k)
                here = (
                    self._slice(forward.save(self.op, value), 0, False, value) if stacks else self._again[k]
                )
            else:
                # The iteration number, and the condition: it held, or there was no such step.
                here = self.step() if value is forward.body.inputs[0] else inner.constant(True)
            ir.convenience.replace_all_uses_with(copy, here)
        inner.graph.sort()

    @functools.cached_property
    def _again(self) -> list[ir.Value]:
        """The states before the step, by all the steps up to it: for those that cannot be stacked."""
        forward, node = self.forward, self.forward.node
        again, _ = _copy(self.inner, forward.body)
        del again.graph.outputs[1 + len(forward.before) :]
        inputs = [self.step(), node.inputs[1], *forward.initial]
        return control_node(self.inner, "Loop", inputs, {"body": again.graph}, forward.before)

    def _entries(
        self, states: Sequence[int], sliced: Sequence[int], found: Sequence[ir.Value]
    ) -> Sequence[Cotangent]:
        forward, inputs = self.forward, self.forward.node.inputs
        first, given = forward.first, len(forward.node.node.inputs)
        places = [first + k for k in states]
        places += [inputs.index(value, given) for value in forward.captured]
        entries: list[Cotangent] = [None] * len(inputs)
        for place, ct in zip(places, found, strict=False):
            entries[place] = ct
        for k in states:
            start = forward.initial[k]
            if not forward.reads(k) and len(dims_of(start) or []) != len(dims_of(forward.before[k]) or []):
                entries[first + k] = self.op.zeros_like(start)
        for k, ct in zip(sliced, found[len(places) :], strict=True):
            entries[first + len(forward.initial) + k] = self._unstacked(ct, k)
        return entries

    def _unstacked(self, stack: ir.Value, k: int) -> ir.Value:
        """The cotangent of a sliced input, from those of its slices in the order of the reversed steps."""
        op, (axis, backwards) = self.op, self.forward.x_layout[k]
        if not backwards:
            stack = op.Slice(stack, [-1], [-(2**63)], [0], [-1])
        axis, rank = _positive(axis, self.forward.x_step[k]), len(dims_of(stack) or [])
        if axis != 0:
            stack = op.Transpose(stack, perm=[*range(1, axis + 1), 0, *range(axis + 1, rank)])
        return typed_like([stack], [self.forward.x[k]])[0]


def _stack_of(step: ir.Value) -> ir.Value:
    """A value typed as a stack of others."""
    dims = dims_of(step)
    return ir.Value(type=step.type, shape=None if dims is None else ir.Shape([None, *dims]))


def _positive(axis: int, step: ir.Value) -> int:
    """An axis counted from the front, of a value with slices like the given one."""
    return axis if axis >= 0 else axis + len(dims_of(step) or []) + 1
