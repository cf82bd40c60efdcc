"""One walk over a graph with a number of rows: shapes, what is known, and which rows everything depends on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.graph.operator_kinds import SIZES
from onnxattr.graph.subgraphs import captures_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.rows.bodies import BODIES
from onnxattr.loading.rows.movement import MOVEMENT, STRUCTURE
from onnxattr.loading.rows.operators import ELEMENTWISE, handler_of
from onnxattr.loading.rows.reshape_target import reshape_target
from onnxattr.loading.rows.sets import (
    Seen,
    Shape,
    aligned,
    at_axis,
    compared,
    constant,
    copies,
    hidden,
    mixes,
    nothing,
    union,
    unseen,
)
from onnxattr.loading.rows.sizes import LARGEST, evaluated, shapes_of, sizes_of

#: What dynamic axes other than the batch are taken to be: one size, or the shape of each input.
Extent = int | Mapping[str, Sequence[int]]
#: What is the same for each row stays so in these, beside those that work element by element.
_REPEATING = ("Expand", "Tile", "MatMul", "Gemm")
#: Results of these may differ though all elements of each operand are equal.
_NOT_THE_SAME = ("Concat", "OneHot", "Pad", "Range", "ScatterND", "ScatterElements", "Trilu", "EyeLike")
#: A node and its operands as far as shapes depend on them; the shapes of its outputs and what they hold.
_Asked = tuple[ir.Node, tuple[Any, ...]]
_Found = tuple[list[Shape | None], list[np.ndarray] | None]


class Walk:
    """A walk; what it found is in its attributes.

    Attributes:
        batch: The number of rows.
        seen: What is known of every value that has been passed.
        blame: The node at which what is wrong with a value began.
        failed: Whether some shape could not be followed.
        freed: For a graph of a fixed batch, the targets of Reshapes that fit any batch.
    """

    def __init__(
        self,
        graph: ir.Graph,
        opset: int,
        batch: int,
        extent: Extent,
        before: Walk | None = None,
        fixed: int | None = None,
    ):
        """Prepares a walk.

        Args:
            graph: The graph.
            opset: Its ai.onnx opset.
            batch: The number of rows.
            extent: What dynamic axes other than the batch are taken to be, or the sizes of each input.
            before: The walk with one row less; None for the first.
            fixed: The batch that the graph's inputs have, if that is fixed.
        """
        self.graph, self.opset, self.batch = graph, opset, batch
        self.extent, self.before, self.fixed = extent, before, fixed
        self.seen: dict[ir.Value, Seen] = {}
        self.blame: dict[ir.Value, ir.Node] = {}
        self.failed = False
        self.freed: dict[ir.Node, np.ndarray] = {}
        self._passes: dict[ir.Value, list[Seen]] = {}
        self._found: dict[_Asked, _Found] = {}

    def run(self) -> None:
        """Walks over the graph."""
        symbols: dict[str, int] = {}
        for value in self.graph.inputs:
            first = (dims_of(value) or [None])[0]
            if isinstance(first, str):
                symbols[first] = self.batch
        for value in self.graph.inputs:
            dims = dims_of(value)
            if dims is None:
                self.seen[value] = unseen(None)
                continue
            given = (
                itertools.repeat(self.extent)
                if isinstance(self.extent, int)
                else self.extent[str(value.name)]
            )
            sizes = [
                d if isinstance(d, int) else symbols.get(str(d), size)
                for d, size in zip(dims, given, strict=False)
            ]
            rows = nothing(len(dims))
            if dims:
                sizes[0] = self.batch
                rows = at_axis((1 << np.arange(self.batch)).astype(np.uint8), 0, len(dims))
            self.seen[value] = Seen(tuple(sizes), rows)
        self.walk(self.graph)

    def walk(self, graph: ir.Graph) -> None:
        """Passes the nodes of a graph, or of a body whose inputs are bound."""
        for node in graph:
            self.visit(node)

    def see(self, value: ir.Value | None) -> Seen | None:
        """What is known of an operand."""
        if value is None:
            return None
        if value not in self.seen:
            tensor = value.const_value
            if tensor is None:
                return unseen(None)
            shape = tuple(int(n) for n in tensor.shape)  # type: ignore[arg-type]
            small = math.prod(shape) <= LARGEST and tensor.dtype != ir.DataType.STRING
            self.seen[value] = constant(tensor.numpy()) if small else Seen(shape, nothing(len(shape)))
        return self.seen[value]

    def visit(self, node: ir.Node) -> None:
        """Notes what the outputs of a node are."""
        operands = [self.see(value) for value in node.inputs]
        captured = captures_of(node) if node.op_type in BODIES else []
        try:
            if node.op_type in BODIES and node.domain in ("", "ai.onnx"):
                results = BODIES[node.op_type](self, node, operands)
            else:
                results = self._results(node, operands)
        except Exception:
            # Whatever an operator stumbles over at these sizes: it cannot be seen through.
            self.failed = True
            results = [unseen(None, *operands, *map(self.see, captured))] * len(node.outputs)
        for value, seen in zip(node.outputs, results, strict=False):
            self.put(value, seen, node, [*node.inputs, *captured])

    def put(self, value: ir.Value, seen: Seen, node: ir.Node, sources: Sequence[ir.Value | None]) -> None:
        """Notes what a value is, compared with the walk before this one."""
        passes = self._passes.setdefault(value, [])
        if self.before is not None:
            earlier = self.before._passes.get(value, [])
            seen = self._compared(earlier, len(passes), seen, node)
        passes.append(seen)
        self.seen[value] = seen
        if not seen.rows.any() or not (mixes(seen.rows) or hidden(seen.rows)):
            return
        guilty = [self.blame[source] for source in sources if source is not None and source in self.blame]
        worse = mixes(seen.rows) and not any(
            mixes(s.rows) for v in sources if v is not None and (s := self.see(v)) is not None
        )
        self.blame[value] = node if worse or not guilty else guilty[0]

    def _compared(self, earlier: Sequence[Seen], step: int, seen: Seen, node: ir.Node) -> Seen:
        """A value whose shape or content depends on the number of rows, at some step of a loop."""
        if seen.known is not None:
            array = earlier[step].known if step < len(earlier) else None
            rows = seen.rows | compared(array, seen.known, self.batch)
            return Seen(seen.shape, rows, seen.known, seen.same)
        if seen.shape is None or seen.same:
            return seen
        rows = seen.rows
        for axis in grown(earlier, step, seen):
            if rows.shape[axis] == 1:
                repeats = node.op_type in _REPEATING or node.op_type in ELEMENTWISE
                rows = (
                    copies(rows, axis, seen.shape, self.batch)
                    if repeats
                    else unseen(seen.shape, _SOMETHING).rows | rows
                )
        return seen if rows is seen.rows else Seen(seen.shape, rows)

    def _results(self, node: ir.Node, operands: list[Seen | None]) -> list[Seen]:
        own = node.domain in ("", "ai.onnx")
        alone = operands[0] if len(operands) == 1 else None
        if own and node.op_type in ELEMENTWISE and alone is not None and alone.known is None:
            return [alone] * len(node.outputs)
        if own and node.op_type in SIZES and operands[0] is not None and operands[0].shape is not None:
            return [constant(sizes_of(node, operands[0].shape))]
        if own and node.op_type == "Reshape" and self.fixed is not None:
            self._free(node, operands)
        shapes, known = self._found_of(node, operands, own)
        if known is not None:
            return [constant(array) for array in known]
        named = [shape for value, shape in zip(node.outputs, shapes, strict=True) if value.name]
        given = [operand for operand in operands if operand is not None]
        if any(shape is None for shape in named) or any(operand.shape is None for operand in given):
            self.failed |= any(operand.rows.any() for operand in given)
            return [unseen(shape, *operands) for shape in shapes]
        same = self._same(node, operands)
        if own and node.op_type in ELEMENTWISE:
            rank = len(shapes[0] or ())
            rows = [union([aligned(operand.rows, rank) for operand in given])] * len(shapes)
        else:
            handler = handler_of(node)
            if own and node.op_type not in MOVEMENT:
                operands = [
                    self._as_copies(value, operand)
                    for value, operand in zip(node.inputs, operands, strict=True)
                ]
            found = handler(node, operands, shapes) if handler is not None else None
            if found is None:
                return [unseen(shape, *operands) for shape in shapes]
            rows = [*found, *[found[0]] * (len(shapes) - len(found))]
        return [Seen(shape, part, None, same) for shape, part in zip(shapes, rows, strict=True)]

    def _found_of(self, node: ir.Node, operands: Sequence[Seen | None], own: bool) -> _Found:
        """The shapes of a node's outputs, and what they hold if that is known: a body asks again for each step."""
        asked = (node, tuple(map(_key, operands)))
        if asked not in self._found:
            shapes = shapes_of(node, operands, self.opset)
            self._found[asked] = shapes, evaluated(node, operands, shapes, self.opset) if own else None
        return self._found[asked]

    def _same(self, node: ir.Node, operands: Sequence[Seen | None]) -> bool:
        """Whether all elements of the result are equal since all those of the operands are."""
        if node.op_type == "ConstantOfShape":
            return True
        if node.op_type not in ELEMENTWISE and node.op_type not in MOVEMENT:
            return False
        skipped = STRUCTURE.get(node.op_type, ())
        data = [operand for k, operand in enumerate(operands) if operand is not None and k not in skipped]
        if node.op_type == "Gather":
            data = data[:1]
        return node.op_type not in _NOT_THE_SAME and bool(data) and all(operand.same for operand in data)

    def _as_copies(self, value: ir.Value | None, operand: Seen | None) -> Seen | None:
        """An operand of equal elements, which an operator that computes sees as a copy for each row."""
        if (
            operand is None
            or not operand.same
            or operand.shape is None
            or self.before is None
            or value is None
        ):
            return operand
        rows = operand.rows
        for axis in grown(self.before._passes.get(value, []), -1, operand):
            if rows.shape[axis] == 1:
                rows = copies(rows, axis, operand.shape, self.batch)
        return operand if rows is operand.rows else Seen(operand.shape, rows, operand.known)

    def _free(self, node: ir.Node, operands: list[Seen | None]) -> None:
        """Lets a Reshape of a graph with a fixed batch fit this one."""
        data, target, value = operands[0], operands[1], node.inputs[1]
        source, result = (_static(dims_of(v)) for v in (node.inputs[0], node.outputs[0]))
        if data is None or data.shape is None or not data.rows.any() or source is None or result is None:
            return
        if target is None or target.known is None or value is None or value.const_value is None:
            return
        new = reshape_target(target.known, data, data.shape, (self.fixed or 0, self.batch), source, result)
        if new is None:
            raise ValueError("the batch that this Reshape writes down cannot be told from other axes")
        if new is not target.known:
            self.freed[node] = new
            operands[1] = constant(new)


def _key(operand: Seen | None) -> Any:
    """What shapes and constants depend on in an operand."""
    if operand is None or operand.known is None:
        return None if operand is None else operand.shape
    known = operand.known
    # Text is held by its addresses, which tell nothing apart.
    content = known.tobytes() if known.dtype != object else tuple(known.reshape(-1).tolist())
    return operand.shape, known.dtype.str, content


def _static(dims: Sequence[int | str | None] | None) -> Shape | None:
    """Dimensions as numbers, if they all are."""
    sizes = tuple(dim for dim in dims or () if isinstance(dim, int))
    return sizes if dims is not None and len(sizes) == len(dims) else None


_SOMETHING = Seen((), np.full((), 1, np.uint8))


def grown(earlier: Sequence[Seen], step: int, seen: Seen) -> list[int]:
    """The axes whose size depends on the number of rows; all of them if there is nothing to compare with."""
    assert seen.shape is not None
    first = earlier[min(step, len(earlier) - 1)].shape if earlier else None
    if first is None or len(first) != len(seen.shape):
        return list(range(len(seen.shape)))
    return [axis for axis, (a, b) in enumerate(zip(first, seen.shape, strict=True)) if a != b]
