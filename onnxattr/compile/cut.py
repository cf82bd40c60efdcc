"""Where a model is cut in two: what is computed once for each sample, and what at each of its points.

From the explained values x to the first operators that are not affine a model is h = A x + c. On a straight path from b
to x, h goes straight from h(b) to h(x), and the sum of gradients by x is A^T times the sum of gradients by h: both are
computed once for each sample. So is what does not depend on x at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import op_name
from onnxattr.autodiff.paths import inputs_of, is_float, needed_nodes
from onnxattr.autodiff.registry import STANDARD, RuleTable
from onnxattr.compile.cost import PLACED, WRITTEN, both_ways, forth, numbers
from onnxattr.graph.affine import is_affine
from onnxattr.graph.operator_kinds import DRAWING, SIZES
from onnxattr.graph.ranges import Ranges
from onnxattr.graph.subgraphs import captures_of, nodes_of, prune
from onnxattr.graph.values import dims_of, named_values
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.rows.independence import apart_in

#: How often what lies before the cut goes forth and back for each sample: forth at both ends, back once.
_ENDS = 1.5
#: The share of the work, and the multiplications for each sample, from which on a cut pays for its own graphs.
_LEAST_SHARE, _LEAST_WORK = 0.02, 5e7
#: How much wider than the explained values those may be whose gradients are summed in their place.
_WIDEST = 2
#: Constants of larger numbers are not interpolated: sums of parts of them may overflow.
_LARGEST = 1e30


@dataclass(frozen=True)
class Cut:
    """Names of the values that the part behind a cut takes, computed once for each sample.

    Attributes:
        frontier: Values that are affine in the explained ones, on every way from these to the score.
        given: Values that do not depend on the explained ones, or of which only the shape is read.
        summed: Where points do not lie on a straight path, values that are affine in the explained ones and whose
            gradients are summed in their place; none for gradients by the frontier.
    """

    frontier: tuple[str, ...]
    given: tuple[str, ...] = ()
    summed: tuple[str, ...] = ()


def find_cut(
    prepared: Prepared,
    rules: RuleTable,
    points: int,
    wanted: bool | str,
    straight: bool = True,
    summing: bool = False,
) -> Cut | None:
    """Where to cut a model; None where that does not pay, or nothing may be shared.

    Args:
        prepared: The model.
        rules: The rule table of its gradient.
        points: Points for each sample.
        wanted: "auto" for a cut that pays by its estimated work; True for one wherever the graph allows it.
        straight: Whether points lie on a straight path; for others the frontier is the explained values themselves.
        summing: Whether gradients at points that do not are summed as they are.
    """
    if not wanted or points < 2 or not prepared.rows.apart or prepared.others:
        return None
    if any(node.op_type in DRAWING for node in nodes_of(prepared.model.graph)):
        return None
    return _Search(prepared, rules, points, wanted is True, straight, summing).found()


@dataclass
class _Search:
    """The search for a cut of one model."""

    prepared: Prepared
    rules: RuleTable
    points: int
    forced: bool
    straight: bool
    summing: bool
    varying: set[ir.Value] = field(default_factory=set)
    affine: list[ir.Node] = field(default_factory=list)
    sampled: set[ir.Value] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.graph = self.prepared.model.graph
        self.wrt = [self.prepared.value(name) for name in self.prepared.wrt]
        self.ranges = Ranges()
        self._look()

    def _look(self) -> None:
        """Fills ``varying``, ``affine`` and ``sampled``.

        These are the values that depend on the explained ones, the nodes that are affine in the explained ones, and the
        values that depend on other inputs alone.
        """
        affine = set(self.wrt)
        self.varying.update(self.wrt)
        self.sampled.update(value for value in self.graph.inputs if value not in self.varying)
        for node in self.graph:
            read = inputs_of(node)
            if node.op_type in SIZES or not any(value in self.varying for value in read):
                if any(value in self.sampled for value in read):
                    self.sampled.update(v for v in node.outputs if v.name and v not in self.varying)
                continue
            self.varying.update(node.outputs)
            if self._is_affine(node, affine):
                self.affine.append(node)
                affine.update(node.outputs)

    def _is_affine(self, node: ir.Node, affine: Collection[ir.Value]) -> bool:
        varying = [place for place, value in enumerate(node.inputs) if value in self.varying]
        if not (self.straight or self.summing):
            return False
        if any(node.inputs[place] not in affine for place in varying):
            return False
        if not is_affine(node, varying):
            return False
        if any(value in self.varying for value in captures_of(node)):
            return False
        if self.rules.get(op_name(node)) is not STANDARD.get(op_name(node)):
            return False
        given = [value for value in node.inputs if value is not None and value not in self.varying]
        sure = all(map(self._is_moderate, filter(is_float, given)))
        # Values without elements have no row for each sample.
        return sure and all(
            is_float(v) and dims_of(v) and 0 not in (dims_of(v) or []) and not v.is_graph_output()
            for v in node.outputs
        )

    def _is_moderate(self, value: ir.Value) -> bool:
        """Whether a value is finite as far as the graph tells, and as a constant far from what floats end at."""
        if not self.ranges(value).finite:
            return False
        if value.const_value is None or value.const_value.size > 2**22:
            return True
        return not value.const_value.size or float(np.abs(value.const_value.numpy()).max()) < _LARGEST

    def found(self) -> Cut | None:
        """The cut of the largest gain, of those whose values have a row for each sample."""
        for gain, number, frontier in sorted(self._cuts(), key=lambda cut: -cut[0]):
            if not self.forced and gain < max(_LEAST_SHARE * self._work, _LEAST_WORK / self.points):
                return None
            summed = [] if self.straight or not number else frontier
            if summed and not self._can_be_summed(summed):
                continue
            taken = self.wrt if summed else frontier
            measured = self._measured(0 if summed else number)
            given = [value for value in (*measured, *self._once) if value not in taken]
            if all(value in self._apart for value in (*frontier, *given)):
                return Cut(*(tuple(str(value.name) for value in values) for values in (taken, given, summed)))
        return None

    def _can_be_summed(self, values: Sequence[ir.Value]) -> bool:
        """Whether the gradients by some values are apart, none being computed from another, and not too large."""
        read = {value for node in needed_nodes(values) for value in inputs_of(node)}
        width = sum(map(numbers, self.wrt))
        return read.isdisjoint(values) and sum(map(numbers, values)) <= _WIDEST * width

    def _saved(self, node: ir.Node) -> float:
        """What is saved at each point by a node before the cut."""
        if self.straight:
            return both_ways(node) * (1 - _ENDS / self.points)
        return (both_ways(node) - forth(node)) * (1 - 1 / self.points)

    @cached_property
    def _at_points(self) -> list[ir.Node]:
        """The nodes that compute values which depend on the explained ones."""
        behind = self.varying - set(self.wrt)
        return [node for node in self.graph if not behind.isdisjoint(node.outputs)]

    @cached_property
    def _once(self) -> list[ir.Value]:
        """The values that do not depend on the explained ones, which nodes that do read; of rows alone.

        Where such a value has no row for each sample, those that it is computed from stand for it.
        """
        waiting = [value for node in self._at_points for value in inputs_of(node)]
        found: dict[ir.Value, None] = {}
        seen: set[ir.Value] = set()
        while waiting:
            value = waiting.pop()
            node = value.producer()
            if value in seen or value not in self.sampled or node is None:
                continue
            seen.add(value)
            if value in self._apart:
                found[value] = None
            else:
                waiting += inputs_of(node)
        return list(found)

    @cached_property
    def _once_work(self) -> float:
        """What it costs to compute at each point what does not depend on the explained values, less their rows."""
        work = sum(forth(node) for node in self.graph if not self.sampled.isdisjoint(node.outputs))
        return work - sum(2 * WRITTEN * numbers(value) for value in self._once) if work else 0.0

    def _measured(self, number: int) -> Iterator[ir.Value]:
        """The values before a cut behind some of the affine nodes whose shapes are read."""
        for value in (*self.wrt, *(value for node in self.affine[:number] for value in node.outputs)):
            if value.producer() is not None and any(use.node.op_type in SIZES for use in value.uses()):
                yield value

    def _cuts(self) -> Iterator[tuple[float, int, list[ir.Value]]]:
        """Cuts behind the first, the first two, ... of the affine nodes: their gains, numbers and frontiers."""
        nodes = [node for node in self.graph if node.op_type not in SIZES]
        readers = Counter(value for node in nodes for value in set(inputs_of(node)))
        frontier = dict.fromkeys(self.wrt)
        gain = self._once_work * (1 - 1 / self.points)
        if self._once_work:
            yield gain, 0, list(frontier)
        for number, node in enumerate(self.affine, 1):
            gain += self._saved(node)
            for value in {value for value in node.inputs if value in frontier}:
                readers[value] -= 1
                if not readers[value]:
                    del frontier[value]
                    gain += PLACED * numbers(value)
            for value in node.outputs:
                if readers[value]:
                    frontier[value] = None
                    gain -= PLACED * numbers(value)
            yield gain, number, list(frontier)

    @cached_property
    def _apart(self) -> set[ir.Value]:
        """The values along whose first axis the samples lie, as a function of the explained values too."""
        values = [*self.wrt, *(value for node in self.affine for value in node.outputs if value.name)]
        values += [value for value in self.sampled if value.producer() is not None and dims_of(value)]
        model = self.prepared.clone()
        own = named_values(model.graph)
        _as_inputs(model.graph, [own[str(value.name)] for value in self.wrt])
        own = named_values(model.graph)
        copies = {own[str(value.name)]: value for value in values}
        model.graph.outputs[:] = list(copies)
        prune(model.graph)
        found = apart_in(model.graph, self.prepared.opset, list(copies))
        return {copies[value] for value in found}

    @cached_property
    def _work(self) -> float:
        """The work at one point."""
        placed = sum(PLACED * numbers(value) for value in self.wrt)
        return placed + self._once_work + sum(map(both_ways, self._at_points))


def cut_off(prepared: Prepared, cut: Cut, kept: Collection[str | None] = ()) -> tuple[Cut, ir.Model]:
    """A model behind a cut, and the cut with the values alone that are read there.

    Args:
        prepared: The whole model.
        cut: Where it is cut.
        kept: Names of inputs that stay although nothing reads them.
    """
    model = prepared.clone()
    values = named_values(model.graph)
    _as_inputs(model.graph, [values[name] for name in (*cut.frontier, *cut.given)])
    prune(model.graph)
    for value in [value for value in model.graph.inputs if not value.uses() and value.name not in kept]:
        model.graph.inputs.remove(value)
    taken = {value.name for value in model.graph.inputs}
    return replace(cut, given=tuple(name for name in cut.given if name in taken)), model


def _as_inputs(graph: ir.Graph, values: Sequence[ir.Value]) -> None:
    """Makes inner values inputs of their graph, under their names; what computed them has others."""
    for old in values:
        if old.producer() is None:
            continue
        new = ir.Value(name=old.name, type=old.type, shape=old.shape)
        old.name = f"{old.name}/before_cut"
        ir.convenience.replace_all_uses_with(old, new)
        graph.inputs.append(new)
