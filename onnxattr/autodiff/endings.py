"""What a graph ends in: saturated activations, from which the explained values are computed by simple means.

ONNX Runtime's sigmoid of -20 has no digits, and neither has 1 - s where s is close to 1. At the end of a model such
errors scale the whole map. So the values there are written anew, in ways that keep their digits, and the rules read
these in place of the graph's: s as exp(-|x|) / (1 + exp(-|x|)) or one minus that, and 1 - s as the sigmoid of -x.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_

import onnx_ir as ir

from onnxattr.autodiff.digits import MOVES, Bits, Number, number
from onnxattr.autodiff.node import Closure, Span, op_name, view_of
from onnxattr.autodiff.paths import is_float
from onnxattr.autodiff.registry import STANDARD, Rule, RuleTable
from onnxattr.autodiff.rules.saturated import DIVIDED, DIVIDED_BY_REST, SATURATED, WRITTEN
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import is_standard, subgraphs_of
from onnxattr.graph.values import is_constant, numbers_of

#: What keeps the signs of its operands, where those that are multiplied are none below 0.
_KEEPS_SIGNS = MOVES | frozenset(
    "Add Clip Concat Div Max Mean Min Mul ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Sqrt Sub Sum "
    "Where".split()
)
#: What leads from the last activations to the explained values.
_SIMPLE = _KEEPS_SIGNS | frozenset("Abs Exp Log Neg Pow Reciprocal ReduceSumSquare".split())


@dataclass(frozen=True)
class Ending:
    """The end of a graph.

    Attributes:
        last: The activations that the explained values are computed from by simple means -> the rules for them, but
            for those whose errors cancel out in the standard rule alone; for nodes with subgraphs, those inside.
        written: Values of the graph -> the same with all digits.
    """

    last: Mapping[ir.Node, Mapping[str, Rule]] = field(default_factory=dict)
    written: Mapping[ir.Value, ir.Value] = field(default_factory=dict)

    def seen(self, span: Span) -> Span:
        """A node as its rule sees it, with values that have all digits."""
        if isinstance(span, Closure) or self.written.keys().isdisjoint((*span.inputs, *span.outputs)):
            return span
        inputs = tuple(None if value is None else self.written.get(value, value) for value in span.inputs)
        return replace(span, inputs=inputs, outputs=tuple(self.written.get(y, y) for y in span.outputs))


def ending(
    op: OpBuilder,
    values: Iterable[ir.Value],
    nodes: Iterable[ir.Node],
    reached: Collection[ir.Value],
    rules: RuleTable,
    saturated: Mapping[str, Rule] = SATURATED,
) -> Ending:
    """Finds the end of a graph and writes its values anew.

    Args:
        op: Builder on the graph.
        values: The values that are explained.
        nodes: The graph in order.
        reached: All values that depend on what is differentiated.
        rules: VJP rules by operator; activations that have others than the standard ones are no end.
        saturated: The rules of the activations, for a graph inside the one that ends there.
    """
    found: set[ir.Node] = set()
    waiting = [*values]
    while waiting:
        node = waiting.pop().producer()
        if node is None or node in found or not (_is_last(node, rules) or is_standard(node, *_SIMPLE)):
            continue
        found.add(node)
        if not _is_last(node, rules):
            waiting += _moving(node, reached)
    last = [node for node in found if _is_last(node, rules)]
    if not last or saturated is not SATURATED:  # what reads the values outside has not those written here
        return Ending(dict.fromkeys(last, saturated))
    order = [node for node in nodes if node in found]
    with op.primal():
        end = _End(op, reached, rules, ())
        end.write(order)
        while end.cancelling & end.last.keys():
            end = _End(op, reached, rules, end.cancelling)
            end.write(order)
    return Ending(end.last, end.written)


def _is_last(node: ir.Node, rules: RuleTable) -> bool:
    """Whether a node is an activation that may saturate, or holds graphs that may end in one."""
    name = op_name(node)
    return bool(subgraphs_of(node)) or (name in SATURATED and rules.get(name) is STANDARD.get(name))


def _moving(node: ir.Node, reached: Collection[ir.Value]) -> list[ir.Value]:
    """The operands of a node that depend on what is differentiated."""
    return [value for value in node.inputs if value is not None and is_float(value) and value in reached]


def _divides(node: ir.Node, value: ir.Value) -> bool:
    """Whether the derivative of a node is divided by an operand."""
    first, *others = node.inputs
    if node.op_type == "Pow":
        exponent = others[0]
        powers = [] if exponent is None or exponent.const_value is None else numbers_of(exponent)
        return value is first and not (powers and all(power is not None and power >= 1 for power in powers))
    return node.op_type in ("Log", "Reciprocal", "Sqrt") or (node.op_type == "Div" and value in others)


class _End:
    """The values behind the last activations of a graph, while they are written anew."""

    def __init__(
        self, op: OpBuilder, reached: Collection[ir.Value], rules: RuleTable, cancelling: Collection[ir.Node]
    ):
        """Starts with no value; ``cancelling`` are the activations whose errors are to cancel out."""
        self.op, self._reached, self._rules = op, reached, rules
        self.last: dict[ir.Node, Mapping[str, Rule]] = {}
        #: Activations whose values are divided by after digits were lost: the standard rule loses the same digits.
        self.cancelling: set[ir.Node] = {*cancelling}
        self._numbers: dict[ir.Value, Number] = {}
        #: Activations by the number of their bit.
        self._met: list[ir.Node] = []
        #: Values -> the activations that they are computed from.
        self._sources: dict[ir.Value, Bits] = {}
        #: Activations by whose values nothing is divided so far; nodes with subgraphs for which that is so; and nodes
        #: with subgraphs by whose values something is divided, none of whose digits are lost.
        self._undivided = self._undivided_closures = self._divided_closures = 0
        self._positive: set[ir.Value] = set()

    @property
    def written(self) -> dict[ir.Value, ir.Value]:
        """The values that are written anew -> the new ones."""
        found = {value: number.value for value, number in self._numbers.items()}
        return {value: new for value, new in found.items() if new is not value}

    def write(self, nodes: Iterable[ir.Node]) -> None:
        """Writes the values of the end in the order of their nodes."""
        for node in nodes:
            if _is_last(node, self._rules):
                self._begin(node)
            elif any(value in self._sources for value in node.inputs):
                self._go_on(node)

    def _begin(self, node: ir.Node) -> None:
        """Takes an activation, or a node with subgraphs."""
        # The standard rule of softplus has other errors than its values, and none to cancel out with these.
        bit = 0 if node.op_type == "Softplus" else 1 << len(self._met)
        if bit:
            self._met.append(node)
        self._sources.update(dict.fromkeys(node.outputs, bit))
        self._numbers.update((value, Number(value)) for value in node.outputs)
        if node not in self.cancelling:
            self.last[node] = SATURATED
            if subgraphs_of(node):
                self._undivided_closures |= bit
            else:
                self._undivided |= bit
        if node.op_type in WRITTEN:
            written, parts = WRITTEN[node.op_type](self.op, view_of(node, self.op.opset))
            known = {k: Number(part) for k, part in parts.items()} if node in self.last else {}
            self._note(node.outputs[0], Number(written or node.outputs[0], parts=known))

    def _go_on(self, node: ir.Node) -> None:
        """Takes a node whose outputs depend on the activations."""
        moving = [value for value in node.inputs if value is not None and value in self._sources]
        sources = reduce(or_, (self._sources[value] for value in moving), 0)
        for value in moving:
            if _divides(node, value):
                self._divide_by(self._sources[value], self._numbers[value].lost)
        signs = {self._sign(value) for value in node.inputs if is_float(value)}
        if node.op_type == "Sub":
            signs = {self._sign(node.inputs[0]), -self._sign(node.inputs[1])}
        lost = 0 if signs in ({1}, {-1}) else sources
        for value, found in zip(node.outputs, number(self.op, node, self._numbers, lost), strict=True):
            known = self.op.range_of(value)
            away = known.low > 0.01 or known.high < -0.01  # so that lost digits do not count
            self._note(value, replace(found, lost=0) if away else found)
            self._sources[value] = sources
            if signs == {1} and node.op_type in _KEEPS_SIGNS:
                self._positive.add(value)

    def _divide_by(self, sources: Bits, lost: Bits) -> None:
        """Takes it that cotangents are divided by what is computed from some activations, of which digits are lost."""
        lost &= sources
        self.cancelling |= {*self._nodes(lost & self._undivided)}
        self._undivided &= ~lost
        by_rest = lost & (self._undivided_closures | self._divided_closures)
        self.last.update(dict.fromkeys(self._nodes(by_rest), DIVIDED_BY_REST))
        divided = sources & ~lost & self._undivided_closures
        self.last.update(dict.fromkeys(self._nodes(divided), DIVIDED))
        self._undivided_closures &= ~(by_rest | divided)
        self._divided_closures = (self._divided_closures | divided) & ~by_rest

    def _nodes(self, bits: Bits) -> Iterator[ir.Node]:
        """The activations of some bits."""
        while bits:
            lowest = bits & -bits
            yield self._met[lowest.bit_length() - 1]
            bits ^= lowest

    def _note(self, value: ir.Value, found: Number) -> None:
        self._numbers[value] = found
        if found.value is not value:
            found.value.shape, found.value.type = value.shape, value.type
            self.op.note_range(found.value, self.op.range_of(value))

    def _sign(self, value: ir.Value | None) -> int:
        """1 where all numbers are 0 or more, as those of targets are taken to be, -1 where none is, 0 for others."""
        if value is None or value in self._positive:
            return 1
        if value not in self._reached and not is_constant(value):
            return 1
        known = self.op.range_of(value)
        return 1 if known.low >= 0 else -1 if known.high <= 0 else 0
