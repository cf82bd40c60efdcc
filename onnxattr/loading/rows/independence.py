"""Whether the rows of a batch are computed apart: a walk over the graph that notes which rows every element depends on.

The walk is made for two numbers of rows. Shapes, and what is computed from them, are followed as numbers, so that it
does not matter how a batch is moved, merged with other axes or split off again. The result is a proof: what an operator
is not known for, or what cannot be followed, is undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxattr.graph.subgraphs import captures_of, nodes_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.rows.sets import COPIES, MOST_ROWS, OWN, UNSEEN, Seen
from onnxattr.loading.rows.walk import Extent, Walk

PROVEN, MEASURED, MIXED, UNDECIDED, SINGLE = "proven", "measured", "mixed", "undecided", "single"
#: What other dynamic axes are taken to be: the first for which every shape can be followed.
EXTENTS = (16, 64, 224)


@dataclass(frozen=True)
class Rows:
    """How the first axis of a model's inputs is to be understood.

    Attributes:
        kind: "proven": the rows are computed apart, by proof; "measured": by comparison, or by
            proof for the sizes of the first inputs alone; "mixed": they are not, the
            whole first axis is one sample; "undecided": neither is proven, a comparison has to tell; "single": the
            model takes one row at a time.
        why: For what is mixed or undecided, the reason, with the node it lies in.
    """

    kind: str
    why: str = ""

    @property
    def apart(self) -> bool:
        """Whether rows may be taken in any chunks."""
        return self.kind in (PROVEN, MEASURED, SINGLE)

    @property
    def mixed(self) -> bool:
        """Whether all of the first axis is one sample."""
        return self.kind == MIXED


OPEN = Rows(UNDECIDED)


def independence(
    graph: ir.Graph, opset: int, ends: Sequence[ir.Value], sizes: Mapping[str, Sequence[int]] | None = None
) -> Rows:
    """Whether the rows of a graph's inputs are apart in some of its values.

    Args:
        graph: A graph, of which every input that is no scalar has the rows along its first axis.
        opset: Its ai.onnx opset.
        ends: The values that must have the rows along their first axis, each depending on its own alone.
        sizes: The shape of each input, for a verdict on those sizes; None for one on all.
    """
    firsts = {str(v.name): dims[0] for v in graph.inputs if (dims := dims_of(v))}
    fixed = {name: size for name, size in firsts.items() if isinstance(size, int)}
    if fixed and len(fixed) == len(firsts) and len(set(fixed.values())) > 1:
        return Rows(MIXED, f"the inputs have first axes of different sizes, {fixed}")
    if 1 in fixed.values():
        return Rows(SINGLE)
    if fixed and len(fixed) < len(firsts):
        name = next(iter(fixed))
        return Rows(
            MIXED, f"the first axis of input {name!r} has {fixed[name]} elements however many the others have"
        )
    if fixed:
        (batch,) = set(fixed.values())
        why = _verdict(graph, opset, ends, 1, batch)[0].why
        return Rows(MIXED, f"the inputs have a fixed first axis of {batch}{f', and {why}' if why else ''}")
    verdict = OPEN
    for extent in EXTENTS if sizes is None else (sizes,):
        verdict, failed = _verdict(graph, opset, ends, extent)
        if not failed:
            break
    if verdict.kind == MIXED and sizes is None and _hangs_on_sizes(graph):
        return Rows(UNDECIDED, verdict.why)
    if verdict.kind == PROVEN and any(_looks_at_sizes(node) for node in nodes_of(graph)):
        return _of_one_row(graph, opset, ends, extent)
    return verdict


def of_one_row(graph: ir.Graph, opset: int, output: ir.Value) -> Rows:
    """How the first axis of a graph that takes one row at a time is to be understood, by an output.

    A list of detections has as many rows as there are, and targets are weights on all of them.

    Args:
        graph: The graph.
        opset: Its ai.onnx opset.
        output: The output that is multiplied by the targets.
    """
    first = (dims_of(output) or [None])[0]
    if first == 1 or (
        not isinstance(first, int)
        and any(_of_one_row(graph, opset, [output], extent).kind == PROVEN for extent in EXTENTS)
    ):
        return Rows(SINGLE)
    sizes = f"{first} elements" if isinstance(first, int) else "any number of elements"
    return Rows(
        MIXED, f"the first axis of the output {output.name!r} has {sizes}, and that of the inputs has one"
    )


def _hangs_on_sizes(graph: ir.Graph) -> bool:
    """Whether a Reshape merges rows at the sizes that dynamic axes are taken to be, and may not at those they have."""
    inner = [dim for value in graph.inputs for dim in (dims_of(value) or [])[1:]]
    return not all(isinstance(dim, int) for dim in inner) and any(
        _fills_rows(node) for node in nodes_of(graph) if node.op_type == "Reshape"
    )


def _fills_rows(node: ir.Node) -> bool:
    """Whether a Reshape cuts what it is given, whatever its size, into rows of one written size."""
    target = node.inputs[1].const_value if node.inputs[1] is not None else None
    sizes = target.numpy().tolist() if target is not None else []
    return len(sizes) > 1 and sizes[0] == -1 and min(sizes[1:]) > 0


def _looks_at_sizes(node: ir.Node) -> bool:
    """Whether a node may do another thing with one row than with several."""
    return node.op_type == "If" or (node.op_type == "Squeeze" and len(node.inputs) < 2)


def _of_one_row(graph: ir.Graph, opset: int, ends: Sequence[ir.Value], extent: Extent) -> Rows:
    """The verdict on rows that are apart among others, by what a single row gives."""
    walk = Walk(graph, opset, 1, extent)
    walk.run()
    for end in ends:
        shape, rank = walk.seen[end].shape, len(dims_of(end) or [])
        if shape is None or shape[:1] != (1,) or (rank and rank != len(shape)):
            return Rows(UNDECIDED, f"{end.name!r} may have another shape for one sample")
    return Rows(PROVEN)


def _verdict(
    graph: ir.Graph, opset: int, ends: Sequence[ir.Value], extent: Extent, fixed: int | None = None
) -> tuple[Rows, bool]:
    """The verdict at one size of the other dynamic axes, and whether some shape could not be followed."""
    fewer = Walk(graph, opset, MOST_ROWS - 1, extent, fixed=fixed)
    fewer.run()
    walk = Walk(graph, opset, MOST_ROWS, extent, before=fewer, fixed=fixed)
    walk.run()
    found = [(end, _of_end(w.seen.get(end), w.batch)) for end in ends for w in (walk, fewer)]
    for kind, what in ((MIXED, "mixes samples"), (UNDECIDED, "cannot be seen through")):
        for end, verdict in found:
            if verdict == kind:
                node = walk.blame.get(end) or end.producer()
                where = (
                    f"{node.op_type} node {node.name!r} {what}"
                    if node is not None
                    else f"{end.name!r} {what}"
                )
                return Rows(kind, where), kind == UNDECIDED and walk.failed
    for end in ends:
        node = _taking_some_rows(walk, end)
        if node is not None:
            return Rows(
                UNDECIDED, f"{node.op_type} node {node.name!r} takes some samples and not others"
            ), False
    return Rows(PROVEN), False


def _taking_some_rows(walk: Walk, end: ir.Value) -> ir.Node | None:
    """The node that takes some rows and not others, on the way to a value, where these may be treated otherwise."""
    todo, met = [end], set[ir.Value]()
    while todo:
        value = todo.pop()
        node, seen = value.producer(), walk.seen.get(value)
        if value in met or node is None or seen is None or not seen.rows.any():
            continue
        met.add(value)
        if int(np.bitwise_or.reduce(seen.rows, None)) & OWN not in (0, (1 << walk.batch) - 1):
            return node
        todo += [v for v in (*node.inputs, *captures_of(node)) if v is not None]
    return None


def apart_in(graph: ir.Graph, opset: int, ends: Sequence[ir.Value]) -> set[ir.Value]:
    """Those of some values that certainly have the rows along their first axis, each depending on its own alone.

    The arguments are those of ``independence``.
    """
    firsts = [dims[0] for value in graph.inputs if (dims := dims_of(value))]
    if 1 in firsts:
        return {end for end in ends if (dims_of(end) or [None])[0] == 1}
    if any(isinstance(size, int) for size in firsts):
        return set()
    found: set[ir.Value] = set()
    for extent in EXTENTS:
        fewer = Walk(graph, opset, MOST_ROWS - 1, extent)
        fewer.run()
        walk = Walk(graph, opset, MOST_ROWS, extent, before=fewer)
        walk.run()
        found = {end for end in ends if all(apart(w, [end]) for w in (walk, fewer))}
        if not walk.failed:
            break
    if any(_looks_at_sizes(node) for node in nodes_of(graph)):
        found = {end for end in found if _of_one_row(graph, opset, [end], extent).kind == PROVEN}
    return found


def apart(walk: Walk, ends: Sequence[ir.Value]) -> bool:
    """Whether a walk found the rows apart in some values."""
    return all(
        _of_end(walk.seen.get(end), walk.batch) == PROVEN and _taking_some_rows(walk, end) is None
        for end in ends
    )


def _of_end(seen: Seen | None, batch: int) -> str:
    """The verdict on a value that should have rows along its first axis."""
    if seen is None or seen.shape is None:
        return UNDECIDED
    rows = seen.rows
    if not seen.shape or seen.shape[0] != batch:
        return MIXED if (rows & OWN).any() or not rows.any() else UNDECIDED
    own = np.array([1 << k for k in range(batch)], np.uint8).reshape(-1, *(1,) * (rows.ndim - 1))
    if (rows & OWN & ~own).any():
        return MIXED
    foreign = rows & COPIES & ~(own << MOST_ROWS)
    return UNDECIDED if foreign.any() or (rows & UNSEEN).any() else PROVEN
