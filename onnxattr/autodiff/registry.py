"""The rule table: which function differentiates which operator.

A rule has the form::

    @vjp("Softplus")
    def softplus(op, node, ct):
        '''y = log(1 + exp(x));  xbar = ybar * sigmoid(x).'''
        return (op.Mul(ct, op.Sigmoid(node.x)),)

``node`` is a ``NodeView``. Its inputs are as many as the operator can have, None for those that the node leaves out.
Its attributes are plain values; those left out have their defaults. ``node.x`` and ``node.y`` are the first input and
the first output.

The rule returns one entry per input: a cotangent; ``None`` where no gradient exists (shapes, indices, masks);
``NOT_IMPLEMENTED`` where one exists but is not written, an error only if that input is active; or a function without
arguments that builds the cotangent, called only if the input is active. Entries of inputs that the node leaves out are
not looked at. ``ct`` is the cotangent of the first output. A rule of an operator with several reads them in
``node.cts``, one for each output of the node, None for those that do not reach the score; so may ``ct`` be then.
Nodes with subgraphs come as a ``Closure``, whose inputs include the values that the subgraphs capture.

Zero contributes zero: in the products and quotients of a rule, 0 times anything is 0, also 0 times infinity or NaN. The
builder sees to it, at no cost where the graph tells that the operands are finite; a rule has to choose (``op.Where``)
only where it would multiply by a mask of its own or subtract infinities.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.compared import compared_in_float32
from onnxattr.autodiff.node import Closure, NodeView, Span, attributes_of, moved, op_name
from onnxattr.autodiff.ranks import rank_of
from onnxattr.errors import OnnxAttrError, RuleError
from onnxattr.graph.builder import OpBuilder

__all__ = [
    "NON_DIFFERENTIABLE",
    "NOT_IMPLEMENTED",
    "SINGULAR",
    "STANDARD",
    "Closure",
    "Cotangent",
    "NodeView",
    "Rule",
    "RuleTable",
    "Span",
    "applied",
    "attributes_of",
    "built",
    "moved",
    "op_name",
    "rank_of",
    "unary",
    "vjp",
]


class _NotImplementedGradient:
    def __repr__(self) -> str:
        return "NOT_IMPLEMENTED"


NOT_IMPLEMENTED = _NotImplementedGradient()

Cotangent = ir.Value | None | _NotImplementedGradient | Callable[[], ir.Value]
Rule = Callable[[OpBuilder, Any, Any], Sequence[Cotangent]]


class RuleTable(Mapping[str, Rule]):
    """A read-only table of VJP rules; ``table | {...}`` makes a new one, nothing global changes.

    From loading to the sweep it is the only one: what it has a rule for is neither written out in other operators nor
    taken for an operator without gradient.
    """

    def __init__(self, rules: Mapping[str, Rule]):
        self._rules = rules

    def __getitem__(self, op_type: str) -> Rule:
        return self._rules[op_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    __hash__ = object.__hash__

    def __or__(self, overrides: Mapping[str, Rule]) -> RuleTable:
        return RuleTable({**self._rules, **overrides})


_RULES: dict[str, Rule] = {}

#: Every standard rule, by operator name ("Relu", or "domain::Name" outside ai.onnx).
STANDARD = RuleTable(_RULES)

#: Operators whose outputs carry no gradient: integer or boolean results, shapes, generators, step functions.
NON_DIFFERENTIABLE = frozenset(
    """
    And ArgMax ArgMin BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Constant ConstantOfShape Equal EyeLike
    Floor Greater GreaterOrEqual Hardmax IsInf IsNaN Less LessOrEqual NonZero Not Or RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike Round Shape Sign Size Xor Bernoulli Multinomial
    StringNormalizer NonMaxSuppression HannWindow HammingWindow BlackmanWindow MelWeightMatrix BitCast ImageDecoder
    RegexFullMatch StringConcat StringSplit TfIdfVectorizer
    """.split()
)


#: Where the local derivative of an operator is infinite or undefined, by operator name; others have no such points.
SINGULAR: dict[str, str] = {}


def vjp(*op_types: str, singular: str = "", compares: bool = False) -> Callable[[Rule], Rule]:
    """Registers a function as the standard VJP rule of one or more operators.

    Args:
        op_types: The operators.
        singular: Where the local derivative is infinite or undefined, for operands that are numbers.
        compares: Whether the rule asks which elements of the inputs are equal to some of the output.
    """

    def register(rule: Rule) -> Rule:
        rule = compared_in_float32(rule) if compares else rule
        SINGULAR.update(dict.fromkeys(op_types if singular else (), singular))
        for op_type in op_types:
            if op_type in _RULES or op_type in NON_DIFFERENTIABLE:
                raise ValueError(f"{op_type} has a rule already.")
            _RULES[op_type] = rule
        return rule

    return register


def unary(
    *op_types: str, singular: str = "", compares: bool = False
) -> Callable[[Callable[..., ir.Value]], Callable[..., ir.Value]]:
    """Registers ``f(op, x, y, ct) -> xbar`` as the rule of operators with one input and one output."""

    def register(function: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
        def rule(op: OpBuilder, node: Span, ct: ir.Value) -> Sequence[Cotangent]:
            return (function(op, node.x, node.y, ct),)

        rule.__name__, rule.__doc__ = function.__name__, function.__doc__
        vjp(*op_types, singular=singular, compares=compares)(rule)
        return function

    return register


def applied(rule: Rule, op: OpBuilder, node: Span, cts: Sequence[ir.Value | None]) -> Sequence[Cotangent]:
    """What a rule gives for a node: one entry for each of its inputs, None for those that it leaves out.

    Raises:
        RuleError: If the rule counts on another number of inputs, or gives too few or too many entries.
    """
    node = replace(node, cts=tuple(cts))
    with _failing(node):
        entries = tuple(rule(op, node, cts[0]))
    there = len(node.inputs)
    given = max((index for index, value in enumerate(node.inputs, 1) if value is not None), default=0)
    if len(entries) < given or any(entry is not None for entry in entries[there:]):
        most = "" if given == there else f" to {there}"
        raise RuleError(f"The rule of {node.where} gave {len(entries)} cotangents for {given}{most} inputs.")
    return (*entries, *[None] * there)[:there]


def built(entry: Cotangent, node: Span) -> ir.Value:
    """The cotangent that an entry of a rule is or makes."""
    if isinstance(entry, ir.Value):
        return entry
    with _failing(node):
        return entry()  # type: ignore[misc, operator]


#: What Python says where a rule counts on fewer inputs, on an input that is left out, or on attributes of onnx_ir.
_MISREAD = re.compile(r"values to unpack|'NoneType' object|has no attribute '(as_\w+|value|type)'")


@contextlib.contextmanager
def _failing(node: Span) -> Iterator[None]:
    """Says how rules are called where one reads its node in another way."""
    try:
        yield
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, OnnxAttrError) or not _MISREAD.search(str(error)):
            raise
        raise RuleError(
            f"The rule of {node.where} failed: {error}. A rule gets as many inputs as the operator can have (here "
            f"{len(node.inputs)}), None for those that the node leaves out; attributes as plain Python values; and "
            "the cotangent of the first output, those of all outputs being node.cts."
        ) from error
