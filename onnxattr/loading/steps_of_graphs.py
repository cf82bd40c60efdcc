"""Parts of a graph that change in steps, whose effect gradients do not show beside parts that have one.

A value that depends on what is explained by comparisons, roundings or positions alone has no gradient. Where it is a
factor or a condition (the mask of a ReLU, of padding, of a routing), the gradient of the other factor is that of the
score. Where it is added to values with a gradient, or is a feature beside them in front of a layer with weights, its
share of the score is missing in every gradient: votes, bins, hard assignments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import reduce
from operator import or_

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, is_float, reachable, reaching
from onnxattr.graph.affine import is_affine
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.operator_kinds import SIZES
from onnxattr.loading.jumps import broken_functions

#: What these give does not tell how large a number is.
_ASKED_OF_NUMBERS = SIZES | {"IsNaN", "IsInf"}
_ADDING = frozenset(("Add", "Mean", "Sub", "Sum"))
_SCALING = frozenset(("Div", "Mul"))
_WITH_WEIGHTS = frozenset(("Conv", "ConvTranspose", "Gather", "Gemm", "MatMul"))
_WITH_OTHER_AXES = frozenset(
    ("Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
)
#: What these give is added where it changes nothing: the fractional part of what was rounded goes on where the
#: rounding steps, and a number is equal to another, or to 0, at single points (a guard of a division).
_HARMLESS = frozenset(("Cast", "Ceil", "Equal", "Floor", "Round"))
#: What these choose is not beside the one before: a chosen row steps where the slopes of two rows do not meet.
_CHOOSING = frozenset(("ArgMax", "ArgMin", "Hardmax", "TopK"))
#: Numbers from this on are added to leave something out, as attention does with padding; multiples of a right angle
#: where an arctangent steps, so that the angle goes on.
_LEAVES_OUT, _RIGHT_ANGLE = 100, np.pi / 2
_INSTEAD = "what is made of it is added at the node {!r}; explain a model without that part"
_JUMPS = "{!r} jumps from {:.3g} to {:.3g} where {!r} passes {:.3g}; explain a value behind it, by wrt"


def steps_of(
    graph: ir.Graph, outputs: Iterable[ir.Value], explained: Collection[ir.Value], opset: int
) -> dict[str, str]:
    """By the operators of each part of a graph that changes in steps, where what it gives is added, or jumps.

    Args:
        graph: The model, each node after what it reads.
        outputs: The scores, or what they are computed from.
        explained: The values whose gradients are taken.
        opset: The opset of the graph.
    """
    steps, outputs = _Steps(graph, explained), list(outputs)
    wanted = set().union(*(reaching(steps.nodes, output) for output in outputs))
    functions = [one for one in broken_functions(graph, outputs, steps.smooth, opset) if one.result in wanted]
    meeting = _joined(
        steps.maker_of.get(node, 0) for one in functions if one.jump is None for node in one.steps
    )
    said: dict[str, str] = {}
    for node, makers in steps.added():
        makers &= ~meeting
        if makers and any(value in wanted for value in node.outputs):
            kinds = ", ".join(sorted(kind for kind, those in steps.of_kind.items() if makers & those))
            said.setdefault(kinds, _INSTEAD.format(node.name or node.op_type))
            meeting |= makers
    for one in functions:
        kinds = ", ".join(sorted({node.op_type for node in one.steps}))
        found = _joined(steps.maker_of.get(node, 0) for node in one.steps)
        # What reaches the rest of the model in two ways, as corners and their weights do, may meet there.
        if (
            (jump := one.jump) is None
            or not one.alone
            or found & meeting
            or _turns(jump.right - jump.left, 1e-3)
        ):
            continue
        said.setdefault(kinds, _JUMPS.format(one.result.name, jump.left, jump.right, one.root.name, jump.at))
    return said


class _Steps:
    """The values of a graph that depend on those that are explained, but have no gradient to them.

    A set of the nodes that make steps of values with a gradient, the makers, is an integer: bit i is the ith of them.
    """

    def __init__(self, graph: ir.Graph, explained: Collection[ir.Value]):
        self.nodes = list(graph)
        trees = {node for node in self.nodes if node.op_type.startswith("TreeEnsemble")}
        self.smooth = reachable((node for node in self.nodes if node not in trees), explained)
        #: The makers by operator, and how many there are.
        self.of_kind: dict[str, int] = {}
        self.count = 0
        self.maker_of: dict[ir.Node, int] = {}
        #: By value without a gradient, the makers it depends on; by value with one, those of its factors.
        self.made: dict[ir.Value | None, int] = {}
        self.of_factors: dict[ir.Value | None, int] = {}
        #: By what Mod leaves of a value with a gradient, its maker: the value without it steps.
        self.of_remainders: dict[ir.Value | None, int] = {}
        #: Values that weights were applied to, and those that a number was put into which makes them no features.
        self.weighed: set[ir.Value] = set()
        self.excepted: set[ir.Value] = set()
        for node in self.nodes:
            self._follow(node)
        self.harmless = _joined(those for kind, those in self.of_kind.items() if kind in _HARMLESS)
        self.choosing = _joined(those for kind, those in self.of_kind.items() if kind in _CHOOSING)

    def _follow(self, node: ir.Node) -> None:
        """Notes what a node makes of values without a gradient, or that it makes such."""
        sources = inputs_of(node)
        stepped = [value for value in sources if value in self.made]
        if not stepped and not any(value in self.smooth for value in sources):
            return
        made = _joined(self.made[value] for value in stepped)
        without = [value for value in node.outputs if value not in self.smooth]
        if (
            without
            and node.op_type not in _ASKED_OF_NUMBERS
            and any(value in self.smooth for value in sources)
        ):
            made |= self._new_maker(node)
        if node.op_type == "Mod" and not without:
            self.of_remainders[node.outputs[0]] = self._new_maker(node)
        for value in node.outputs:
            if value in self.smooth:
                factors = 0 if node.op_type in _ADDING else made
                self.of_factors[value] = factors | _joined(
                    self.of_factors.get(source, 0) for source in sources
                )
                continue
            # Codes of categories are told by name, with the values to explain (loading.discrete).
            codes = node.op_type == "Cast" and value.dtype is not None and value.dtype.is_integer()
            self.made[value] = 0 if codes and is_float(node.inputs[0]) else made
            # What Gather takes from is chosen, not weighed; places choose among weights.
            weights = node.op_type in _WITH_WEIGHTS and (
                node.op_type != "Gather" or node.inputs[1] in stepped
            )
            if weights or self.weighed.intersection(stepped):
                self.weighed.add(value)
            if self.excepted.intersection(stepped) or any(map(_is_excepted, node.inputs)):
                self.excepted.add(value)

    def _new_maker(self, node: ir.Node) -> int:
        """The set of this node alone."""
        maker = 1 << self.count
        self.count += 1
        self.of_kind[node.op_type] = self.of_kind.get(node.op_type, 0) | maker
        self.maker_of[node] = maker
        return maker

    def added(self) -> Iterator[tuple[ir.Node, int]]:
        """The nodes at which what changes in steps is added to values with a gradient, with the makers."""
        beside: dict[ir.Value | None, int] = {}
        for node in self.nodes:
            if not any(value in self.smooth for value in node.outputs):
                continue
            found = self._summands(node)
            carried = {number for number, value in enumerate(node.inputs) if value in beside}
            features = _joined(beside[node.inputs[number]] for number in carried if is_affine(node, carried))
            if node.op_type == "Concat":
                features |= _joined(self.made[value] for value in node.inputs if self._is_feature(value))
            if node.op_type in _WITH_WEIGHTS and node.op_type != "Gather":
                found |= features
            elif features:
                beside.update(dict.fromkeys(node.outputs, features))
            if found:
                yield node, found

    def _is_feature(self, value: ir.Value | None) -> bool:
        return is_float(value) and self.made.get(value, 0) > 0 and value not in self.excepted

    def _summands(self, node: ir.Node) -> int:
        """The makers of the steps that a node adds to values with a gradient."""
        if node.op_type not in _ADDING and node.op_type != "Gemm":
            return 0
        values = [value for value in node.inputs[2 * (node.op_type == "Gemm") :] if self._is_feature(value)]
        found = [self.made[v] for v in values if v in self.weighed or self.made[v] & ~self.harmless]
        # Between two knots of a table, what is added at a knot belongs to the slope beside it.
        added = 0 if _joined(found) & self._of_slopes(node) & ~self.choosing else _joined(found)
        return added | self._put_in(node)

    def _put_in(self, node: ir.Node) -> int:
        """The makers of q in z + (q - z) or z - (z - q), as straight-through roundings are written, or z - z mod b."""
        pairs = {"Add": ((0, 1), (1, 0)), "Sub": ((0, 1),)}.get(node.op_type, ())
        found = 0
        for kept, other in pairs:
            value, difference = node.inputs[kept], node.inputs[other]
            before = difference.producer() if difference is not None else None
            if before is None or before.op_type not in ("Mod", "Sub"):
                continue
            if before.op_type == "Mod":
                # Numbers that become places are told as those of Floor are, by what is made of them.
                uses = node.outputs[0].uses()
                places = bool(uses) and all(use.node.op_type == "Cast" for use in uses)
                if node.op_type == "Sub" and before.inputs[0] is value and not places:
                    found |= self.of_remainders.get(difference, 0)
                continue
            q, taken = before.inputs if node.op_type == "Add" else reversed(before.inputs)
            if taken is value:  # a rounding in units that depend on z has these as a factor
                found |= self.made.get(q, 0) | self.of_factors.get(q, 0) & self.of_kind.get("Round", 0)
        return found

    def _of_slopes(self, node: ir.Node) -> int:
        """The makers of steps in factors of a sum, or of its summands."""
        uses = [use for use in _uses(node.outputs[0]) if use.op_type in _SCALING]
        found = _joined(self.made.get(value, 0) for use in uses for value in use.inputs)
        return found | _joined(self.of_factors.get(value, 0) for value in node.inputs)


def _uses(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes that read a value, as it is or with other axes."""
    waiting = [value]
    while waiting:
        for use in waiting.pop().uses():
            yield use.node
            if use.node.op_type in _WITH_OTHER_AXES:
                waiting.append(use.node.outputs[0])


def _joined(makers: Iterable[int]) -> int:
    """The union of sets of makers."""
    return reduce(or_, makers, 0)


def _is_excepted(value: ir.Value | None) -> bool:
    """Whether a value is one number that leaves out what it is added to, or turns an angle."""
    if value is None or value.const_value is None or value.const_value.size != 1 or value.dtype not in FLOATS:
        return False
    number = abs(float(value.const_value.numpy().astype(np.float64).item()))
    return number >= _LEAVES_OUT or _turns(number)


def _turns(number: float, rounding: float = 1e-6) -> bool:
    """Whether a number is a multiple of a right angle."""
    turns = abs(number) / _RIGHT_ANGLE
    return turns > 0.5 and abs(turns - round(turns)) < rounding
