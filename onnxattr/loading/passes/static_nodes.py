"""Resolves what a model decides before it runs: branches with a known condition, sequences and optional values.

Where shape inference loses a rank, integers that are known are written down first: it follows fewer operators.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from onnxattr.errors import ModelError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import captures_of, drop, nodes_of, prune, subgraphs_of
from onnxattr.graph.values import dims_of, values_of
from onnxattr.loading.constant_values import ConstantValues, goes_on
from onnxattr.loading.passes.appended import stack_appended
from onnxattr.loading.passes.range_ends import read_scalars
from onnxattr.loading.passes.sequences import HANDLERS, Contents
from onnxattr.loading.shapes.infer import infer_shapes
from onnxattr.loading.shapes.missing_ranks import least_rank

#: Loops over sequences of up to this many steps are written out.
_MOST_STEPS = 64
#: Nodes that all of them together may become.
_MOST_NODES = 50_000


def infer_and_resolve(model: ir.Model, same: onnx.ModelProto | None = None) -> bool:
    """Infers all types, inlines the branches that are always taken, replaces sequences and optional values.

    What only a run decides stays as it is; in a model without such operators types are noted and no more.

    Args:
        model: A model without Constant nodes, whose large weights may be graph inputs; changed in place.
        same: The model as protobuf, if it is at hand.

    Returns:
        Whether a name or a node is another.

    Raises:
        onnx.shape_inference.InferenceError: If nodes contradict each other.
    """
    changed, opset = False, model.opset_imports[""]
    # Every branch that is inlined may let the shapes be known that decide the next one.
    while True:
        try:
            changed, typed = infer_shapes(model, same=same) or changed, True
        except (onnx.shape_inference.InferenceError, RuntimeError):
            # What contradicts itself may lie in a branch that is never taken.
            changed, typed = infer_shapes(model, strict=False) or changed, False
        same = None
        if not read_scalars(model.graph, opset):
            resolvable = _RESOLVED & _operators(model.graph) or _lacks_shapes(model.graph)
            if not resolvable or not _Resolver(model.graph, opset).run():
                break
            NameFixPass()(model)
        changed = True
    if read_scalars(model.graph, opset, unknown=True):
        changed, typed = True, False
    return changed if typed else infer_shapes(model) or changed


def _operators(graph: ir.Graph) -> set[str]:
    """The operators of a graph; a Squeeze counts where its axes are not given."""
    nodes = (node for node in nodes_of(graph) if not node.domain)
    return {node.op_type for node in nodes if node.op_type != "Squeeze" or len(node.inputs) == 1}


def _lacks_shapes(graph: ir.Graph) -> bool:
    """Whether the rank of a node's result is unknown, or the shape of a kernel."""
    return any(
        any(value.name and not _is_ranked(value) for value in node.outputs)
        or (node.op_type in ("Conv", "ConvTranspose") and not _is_static(node.inputs[1]))
        for node in nodes_of(graph)
        if not node.domain
    )


def _is_ranked(value: ir.Value) -> bool:
    """Whether the rank of a value is known, or it is no tensor."""
    return value.shape is not None or (value.type is not None and not isinstance(value.type, ir.TensorType))


def _is_static(value: ir.Value | None) -> bool:
    """Whether all sizes of a value are known."""
    if value is None:
        return False
    return value.const_value is not None or all(isinstance(dim, int) for dim in dims_of(value) or [None])


class _Resolver:
    """One walk over a graph."""

    def __init__(self, graph: ir.Graph, opset: int):
        self._op = OpBuilder(graph, opset, prefix="static")
        self._constants = ConstantValues(opset)
        symbols = {dim for value in graph.inputs for dim in dims_of(value) or [] if isinstance(dim, str)}
        self._contents = Contents(self._constants, self._replace, symbols)
        self._changed = False
        self._room = _MOST_NODES
        #: Names that values keep, for callers may ask for them.
        self._named = {value.name for node in nodes_of(graph) for value in node.outputs}

    def run(self) -> bool:
        """Whether anything was resolved."""
        graph = self._op.graph
        nodes, constants = set(nodes_of(graph)), set(graph.initializers)
        self._walk(self._op, list(graph))
        if self._changed:
            prune(graph)
            graph.sort()
            return True
        # What was tried is of no use to anything.
        for node in [node for node in nodes_of(graph) if node not in nodes][::-1]:
            drop(node)
        for name in graph.initializers.keys() - constants:
            del graph.initializers[name]
        return False

    def _walk(self, op: OpBuilder, nodes: Iterable[ir.Node]) -> None:
        for node in nodes:
            op_type = node.op_type if node.domain in ("", "ai.onnx") else ""
            if op_type in _HANDLERS:
                _HANDLERS[op_type](self, op, node)
            elif op_type in HANDLERS:
                HANDLERS[op_type](self._contents, op, node)
            else:
                self._fold(op, node)
            for body in subgraphs_of(node) if node.graph is not None else ():
                self._walk(op.inside(body), list(body))

    def _replace(self, op: OpBuilder, old: ir.Value, new: ir.Value) -> None:
        """Lets all that reads a value read another, which takes its name if it has none of its own in the file."""
        self._changed = True
        if old.is_graph_output():
            copy = op.Identity(new)
            copy.name, old.name = old.name, op.unique_name(str(old.name))
            copy.type, copy.shape = old.type, old.shape
            new = copy
        elif old.name and new.producer() is not None and new.name not in self._named:
            new.name, old.name = old.name, op.unique_name(old.name)
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)

    def _fold(self, op: OpBuilder, node: ir.Node) -> None:
        """Writes known integers down: ONNX's inference follows fewer operators, and shapes depend on them."""
        for value in node.outputs:
            array = self._constants(value) if value.uses() and not value.is_graph_output() else None
            if array is not None and array.dtype.kind in "ib":
                self._replace(op, value, op.constant(array))

    def _if(self, op: OpBuilder, node: ir.Node) -> None:
        condition = self._constants(node.inputs[0])
        if condition is None:
            return
        body = node.attributes["then_branch" if condition.item() else "else_branch"].as_graph()
        nodes, results = list(body), list(body.outputs)
        body.outputs.clear()
        body.remove(nodes)
        op.graph.insert_before(node, nodes)
        self._named -= {value.name for value in results}
        for old, new in zip(node.outputs, results, strict=True):
            self._replace(op, old, new)
        drop(node)
        self._walk(op, nodes)

    def _loop(self, op: OpBuilder, node: Any) -> None:
        """Writes a Loop over sequences out, step by step, where it takes a known number of steps.

        A Loop of another number of steps may do nothing but append to sequences.
        """
        (body,), trips, go = subgraphs_of(node), self._constants(node.inputs[0]), node.inputs[1]
        count, slices = len(node.inputs) - 2, len(body.outputs) - len(node.inputs) + 1
        held = any(map(self._contents.holds, (*node.inputs, *captures_of(node))))
        unending = go is None or (self._constants(go) is not None and bool(self._constants(go)))
        if not held:
            return
        steps = -1 if trips is None or not unending or not goes_on(body, self._constants) else int(trips)
        if not bool(slices) <= steps <= _MOST_STEPS or not self._fits(body, steps):
            if self._as_far_as_read(op, node, body):
                return
            loop = stack_appended(self._contents, op, node)
            if loop is not None:
                self._walk(op, [loop])
            elif bool(slices) <= steps <= _MOST_STEPS:
                raise ModelError(
                    f"Loop node {node.name or node.outputs[0].name!r} over a sequence: its {steps} steps, written out, "
                    f"make more than {_MOST_NODES} nodes with those of other such Loops. Export the model with tensors "
                    "in the place of sequences."
                )
            return
        values: list[ir.Value] = list(node.inputs[2:])
        stacks: list[list[ir.Value]] = [[] for _ in range(slices)]
        for step in range(steps):
            given = [op.constant(step, ir.DataType.INT64), op.constant(True), *values]
            results = self._step(op, node, body, given)
            values = results[1 : 1 + count]
            for stack, value in zip(stacks, results[1 + count :], strict=True):
                stack.append(op.Unsqueeze(value, [0]))
        for old, new in zip(node.outputs, [*values, *(op.Concat(*s, axis=0) for s in stacks)], strict=True):
            self._replace(op, old, new)
        drop(node)

    def _fits(self, body: ir.Graph, steps: int) -> bool:
        """Whether so many steps may be written out beside those that are; if so, they count."""
        nodes = steps * sum(1 for _ in nodes_of(body))
        if nodes > self._room:
            return False
        self._room -= nodes
        return True

    def _as_far_as_read(self, op: OpBuilder, node: Any, body: ir.Graph) -> bool:
        """Writes the steps out that elements at known positions of a sequence need, if that is all that is read.

        More steps only append to it, and with fewer the model would fail.
        """
        used = [k for k, value in enumerate(node.outputs) if value.uses() or value.is_graph_output()]
        if len(used) != 1 or used[0] >= len(node.inputs) - 2 or node.outputs[used[0]].is_graph_output():
            return False
        k, final = used[0], node.outputs[used[0]]
        readers = [reader for reader, _ in final.uses()]
        places = [self._constants(reader.inputs[1]) for reader in readers if reader.op_type == "SequenceAt"]
        known = [int(place) for place in places if place is not None]
        if len(known) < len(readers) or min(known) < 0:
            return False
        changed = self._changed
        appends = self._fits(body, 1) and self._only_appends(op, node, body, k)
        last = self._grown(op, node, body, k, max(known)) if appends else None
        if last is None:
            # What was tried is of no use to anything.
            self._changed = changed
            return False
        self._replace(op, final, last)
        drop(node)
        return True

    def _grown(self, op: OpBuilder, node: Any, body: ir.Graph, k: int, place: int) -> ir.Value | None:
        """The k-th state of a Loop, a sequence, once it has an element at a place; None if that takes too long."""
        values: list[Any] = list(node.inputs[2:])
        for step in range(_MOST_STEPS):
            last = self._contents.inside(values[k])
            held = self._contents.elements(last)
            if held is None or len(held) > place:
                return None if held is None else last
            if not self._fits(body, 1):
                return None
            given = [op.constant(step, ir.DataType.INT64), op.constant(True), *values]
            values = self._step(op, node, body, given)[1 : 1 + len(values)]
        return None

    def _only_appends(self, op: OpBuilder, node: Any, body: ir.Graph, k: int) -> bool:
        """Whether a step leaves the elements that a state has, whatever it starts from. What it tries is dropped."""
        before = [
            ir.Value(name=op.unique_name("any"), type=value.type, shape=value.shape) for value in body.inputs
        ]
        element, state = ir.Value(name=op.unique_name("any")), before[2 + k]
        state.type = body.outputs[1 + k].type
        self._contents.sequences[state] = [element]
        after = self._contents.elements(self._step(op, node, body, before)[1 + k])
        return after is not None and after[:1] == [element]

    def _step(self, op: OpBuilder, node: ir.Node, body: ir.Graph, given: list[ir.Value]) -> list[ir.Value]:
        """One step of a Loop as nodes before it, resolved; returns the body's outputs."""
        copy = body.clone(allow_outer_scope_values=True)
        inner = [loop for node in nodes_of(copy) if node.op_type == "Loop" for loop in subgraphs_of(node)]
        scalars = {value for loop in inner for value in loop.inputs[:2]}  # the counter and the condition
        for value in values_of(copy):
            if value.name:
                value.name = op.unique_name(value.name)
            # Sizes that the body calls by one name may differ from step to step.
            value.shape = ir.Shape([]) if value in scalars else None
        ir.convenience.replace_all_uses_with(list(copy.inputs), given, replace_graph_outputs=True)
        nodes = list(copy)
        copy.remove(nodes)
        op.graph.insert_before(node, nodes)
        self._walk(op, nodes)
        results = list(copy.outputs)
        copy.outputs.clear()
        return results

    def _squeeze(self, op: OpBuilder, node: Any) -> None:
        """Writes the axes of a Squeeze down where what reads it shows that unknown sizes are not 1."""
        x, y = node.inputs[0], node.outputs[0]
        dims, given = dims_of(x), len(node.inputs) > 1 and node.inputs[1] is not None
        if given or dims is None or all(isinstance(dim, int) for dim in dims):
            return self._fold(op, node)
        ones = [axis for axis, dim in enumerate(dims) if dim == 1]
        if ones and least_rank(y) == len(dims) - len(ones):
            self._replace(op, y, op.Squeeze(x, ones))


_HANDLERS = {"If": _Resolver._if, "Loop": _Resolver._loop, "Squeeze": _Resolver._squeeze}
_RESOLVED = (set(_HANDLERS) | set(HANDLERS)) - {"Identity", "Loop"}
