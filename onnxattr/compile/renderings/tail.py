"""The part of a model behind a cut, as a model whose explained values are those of the cut; see ``compile.cut``.

A method on it is the method itself: on the way from b to x, the values h of the cut go straight from h(b) to h(x).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxattr.autodiff.engine import pullback
from onnxattr.autodiff.overrides import RELU_LIKE
from onnxattr.autodiff.paths import inputs_of, needed_nodes
from onnxattr.compile.baseline_kinds import Computed, Fed, Fixed
from onnxattr.compile.cost import widest
from onnxattr.compile.cut import Cut, cut_off, find_cut
from onnxattr.compile.method import times_difference
from onnxattr.compile.renderings.model_graph import has_rows, own_names
from onnxattr.graph.intervals import ANY, FINITE, Range
from onnxattr.graph.values import dims_of
from onnxattr.scores.calls import copied

if TYPE_CHECKING:
    from onnxattr.compile.renderings.rewrite import Request, Rewrite

#: The values of the cut at the samples and at the baselines.
Ends = tuple[list[ir.Value], list[ir.Value]]


@dataclass(frozen=True, eq=False)
class Tail:
    """A cut of a model and what is behind it.

    Attributes:
        cut: Where.
        request: The method on the part behind it, which takes the values of the cut and their baselines.
        one_start: Whether the values of the cut at the baselines are the same for all samples.
        straight: Whether points lie on a straight path; for others the cut is at the explained values themselves.
    """

    cut: Cut
    request: Request
    one_start: bool
    straight: bool

    def rows(self, most: int, whole: Request) -> int:
        """How many rows of the part behind are no wider than some number of rows of the whole model.

        A fixed batch allows no other number.
        """
        if any(isinstance((dims_of(whole.prepared.value(x)) or [None])[0], int) for x in whole.prepared.wrt):
            return most
        wide, part = (widest(request.prepared.model.graph) for request in (whole, self.request))
        return most if wide is None or part is None else most * max(wide // part, 1)

    @property
    def summed(self) -> tuple[str, ...]:
        """The values whose gradients are summed."""
        return self.cut.summed or self.cut.frontier

    @property
    def starts(self) -> list[str]:
        """What the part behind calls the baselines of its values, which come from what is before it."""
        return [] if not self.straight else own_names(self.request.prepared, "baseline")


def tail_of(request: Request) -> Tail | None:
    """The part behind the cut that pays for a method on a model; None where there is none."""
    method = request.method
    if RELU_LIKE in method.rules or not request.score.linear or method.factor is not None:
        return None
    straight = method.alphas is not None and method.path is None and not method.noise
    straight &= method.powers == (1,) and not method.pilot
    if not straight and any(isinstance(kind, Computed | Fed) for kind in method.baseline or ()):
        return None
    summing = method.alphas is None and method.powers == (1,) and not method.pilot and method.path is None
    cut = find_cut(request.prepared, method.rules, method.points, request.share, straight, summing)
    if cut is None:
        return None
    cut, model = cut_off(request.prepared, cut)
    prepared = replace(request.prepared, model=model, wrt=cut.frontier, asked=cut.frontier)
    count = len(cut.frontier)
    inside = replace(method, placement=None)
    if straight:
        inside = replace(inside, finish=times_difference, baseline=(Fed(),) * count)
    behind = replace(
        request,
        prepared=prepared,
        method=inside,
        reducer=None,
        channel_axes=(None,) * count,
        groups=(),
        numbered=request.numbered and not straight,
        share=False,
        summed=cut.summed,
    )
    fixed = all(isinstance(kind, Fixed) for kind in method.baseline or ())
    return Tail(cut, behind, fixed and not _reads_samples(request, cut), straight)


def _reads_samples(request: Request, cut: Cut) -> bool:
    """Whether the values of a cut depend on inputs that are not explained."""
    prepared = request.prepared
    seen = {prepared.value(name) for name in prepared.wrt}
    waiting = [prepared.value(name) for name in cut.frontier]
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        node = value.producer()
        if node is None and value.const_value is None:
            return True
        waiting += [] if node is None else inputs_of(node)
    return False


def at_ends(rewrite: Rewrite, tail: Tail) -> Ends:
    """The values of the cut at the samples and at the baselines, appended to the graph of a model.

    Both are rows of one run of what is before the cut, so that they are rounded alike.

    Args:
        rewrite: The model, with a row for each sample; its baselines are known.
        tail: The cut.

    Returns:
        The values at the samples; those at the baselines, of one row or of one for each sample.
    """
    op = rewrite.op
    frontier = [rewrite.value(name) for name in tail.cut.frontier]
    if not tail.straight:
        return frontier, []
    starts = {x: _start(rewrite, tail, position) for position, x in enumerate(rewrite.wrt)}
    if isinstance((dims_of(rewrite.with_rows) or [None])[0], int):
        # Of a fixed batch: the rows are those of two runs.
        return frontier, _copied(rewrite, frontier, starts)
    both = {x: op.Concat(x, start, axis=0) for x, start in starts.items()}
    for value in [] if tail.one_start else rewrite.graph.inputs[: len(rewrite.request.prepared.inputs)]:
        if value not in both and has_rows(value):
            both[value] = op.Concat(value, value, axis=0)
    for value, rows in both.items():
        rows.shape, rows.type = _of_both(value), value.type
    count = op.shape(rewrite.with_rows, 0, 1)
    found = _copied(rewrite, frontier, both)
    at_x: list[ir.Value] = []
    at_start: list[ir.Value] = []
    for rows, value in zip(found, frontier, strict=True):
        for part, first, end in ((at_x, [0], count), (at_start, count, [2**62])):
            part.append(op.Slice(rows, first, end, [0]))
            part[-1].type = value.type
            part[-1].shape = value.shape if part is at_x else _of_both(value, "starts")
    return at_x, at_start


def _start(rewrite: Rewrite, tail: Tail, position: int) -> ir.Value:
    """The baseline of an explained value: one row, or one for each sample."""
    op, x = rewrite.op, rewrite.wrt[position]
    baseline = rewrite.baseline(position, x)
    assert baseline is not None
    shape = op.Concat([1], op.shape(x, 1), axis=0) if tail.one_start else op.shape(x)
    start = op.Expand(baseline, shape)
    if isinstance((dims_of(rewrite.with_rows) or [None])[0], int):
        # What is computed of constants alone is computed by other kernels, and rounded in another way.
        start = op.Add(start, op.Mul(x, 0.0))
    start.shape, start.type = _of_both(x, "starts"), x.type
    return start


def _copied(
    rewrite: Rewrite, values: Sequence[ir.Value], others: Mapping[ir.Value, ir.Value]
) -> list[ir.Value]:
    """Values as they are where some of those that they are computed from are others."""
    mapped = dict(others)

    def of(value: ir.Value | None) -> ir.Value | None:
        return value and mapped.get(value, value)

    for node in needed_nodes(values):
        if any(of(value) is not value for value in inputs_of(node)) and node.outputs[0] not in others:
            copy = copied(rewrite.op, node, of)
            for old, new in zip(node.outputs, copy.outputs, strict=True):
                new.shape = _of_both(old)
                mapped[old] = new
    return [mapped[value] for value in values]


def _of_both(value: ir.Value, rows: str = "both") -> ir.Shape | None:
    """A shape whose open sizes are others than the value's: there is another number of rows."""
    dims = dims_of(value)
    if dims is None:
        return None
    return ir.Shape([f"{dim}_of_{rows}" if isinstance(dim, str) else dim for dim in dims])


def fed_to(main: Rewrite, tail: Tail) -> tuple[dict[str, ir.Value], Ends]:
    """What goes from the graph of a whole model into that of the part behind a cut, by names, and the ends of paths.

    The target and the seed are not among it. All has a row for each sample, but inputs without rows, and baselines of
    ``Tail.one_start``. What is left of the whole model behind the cut reads the ends at the samples as well.
    """
    at_x, at_start = at_ends(main, tail)
    frontier = [main.value(name) for name in tail.cut.frontier]
    before = set(needed_nodes([*frontier, *at_x, *at_start]))
    for value, end in zip(frontier, at_x, strict=True):
        for use in list(value.uses()) if end is not value and value not in main.wrt else ():
            if use.node not in before:
                use.node.replace_input_with(use.idx, end)
    taken = {value.name for value in tail.request.prepared.inputs}
    feeds = {str(value.name): value for value in main.graph.inputs if value.name in taken}
    feeds |= {name: main.value(name) for name in tail.cut.given}
    feeds |= dict(zip(tail.cut.frontier, at_x, strict=True)) | dict(zip(tail.starts, at_start, strict=True))
    return feeds, (at_x, at_start)


def moments_of_whole(
    main: Rewrite,
    tail: Tail,
    moments: Sequence[Sequence[ir.Value]],
    ranges: Sequence[Range],
    ends: Ends | None = None,
) -> list[list[ir.Value]]:
    """The moments of the gradients by the explained values, from those by the values of a cut; see ``before_cut``."""
    if not (tail.straight or tail.cut.summed):
        for found, value in zip(moments, main.likes, strict=True):
            for moment in found:
                moment.shape, moment.type = value.shape, moment.type or value.type
        return [list(found) for found in moments]
    firsts = [first for (first,) in moments]
    ends = ends if tail.straight else None
    return [[total] for total in before_cut(main, tail, firsts, ranges, ends)]


def before_cut(
    rewrite: Rewrite,
    tail: Tail,
    gradients: Sequence[ir.Value],
    ranges: Sequence[Range],
    ends: Ends | None = None,
) -> list[ir.Value]:
    """The gradients by the explained values from those by the values of the cut, a row for each sample.

    With the ``ends`` of paths, what belongs to one that is not finite is NaN: between infinity and a number there is no
    straight way, and what points on it give is not what points between the samples give.

    Args:
        rewrite: The graph of the whole model.
        tail: The cut.
        gradients: The gradients by the values of the cut, summed over points.
        ranges: What those at points can hold: behind a cut there may be infinite derivatives, which the graph of the
            whole model does not tell of these sums.
        ends: The ends of straight paths.
    """
    op, frontier = rewrite.op, [rewrite.value(name) for name in tail.summed]
    if ends is not None:
        gradients = [
            op.Add(gradient, op.Mul(op.Sub(x, start), 0.0))
            for gradient, x, start in zip(gradients, *ends, strict=True)
        ]
    for gradient, known, value in zip(gradients, ranges, frontier, strict=True):
        gradient.shape, gradient.type = value.shape, value.type
        op.note_range(gradient, FINITE if known.finite else ANY)
    cotangents = dict(zip(frontier, gradients, strict=True))
    rules, passes = rewrite.method.rules, rewrite.request.rewrites
    return pullback(op, cotangents, rewrite.wrt, rules, rewrites=passes)


def ends_model(request: Request, tail: Tail) -> ir.Model:
    """What is computed once for each sample, as a model.

    Inputs: the model's, and baselines that are not the same for all samples. Outputs: the values of the cut at the
    samples, those that do not depend on the explained ones, and the values of the cut at the baselines.
    """
    rewrite = request.in_steps.rewrite()
    at_x, at_start = at_ends(rewrite, tail)
    found = [*at_x, *(rewrite.value(name) for name in tail.cut.given), *at_start]
    for number, value in enumerate(found):
        rewrite.add_output(value, f"onnxattr/end_{number}", value.dtype, dims_of(value) or [None])
    return rewrite.finished_model()
