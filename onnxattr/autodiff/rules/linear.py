"""Rules of matrix products."""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.registry import Cotangent, vjp
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.products import contraction, live_rows
from onnxattr.graph.values import dims_of


def transpose_last(op: OpBuilder, value: ir.Value, rank: int) -> ir.Value:
    """Swaps the last two axes."""
    return op.Transpose(value, perm=[*range(rank - 2), rank - 1, rank - 2])


@vjp("MatMul")
def matmul(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = a b;  abar = ybar b^T, bbar = a^T ybar, over the broadcast leading axes.

    Loading writes vectors as matrices of one row or column.
    """
    a, b = node.required(2)

    def a_ct() -> ir.Value:
        return contraction(op, ct, [transpose_last(op, b, node.rank(b))], op.MatMul)

    def b_ct() -> ir.Value:
        # Rows of attention that are masked out as a whole are NaN, and rows of a batch are apart.
        rows = live_rows(op, ct, a)
        # Told apart by the rows of the cotangent, the factor has its leading axes.
        rank = node.rank(a) if rows is a else max(node.rank(a), len(ct.shape or ()))
        return op.MatMul(transpose_last(op, rows, rank), ct)

    return a_ct, b_ct


@vjp("Gemm")
def gemm(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = alpha A' B' + beta C, A' and B' transposed or not;  A'bar = alpha ybar B'^T, B'bar = alpha A'^T ybar."""
    a, b = node.required(2)
    alpha, beta = node.get_float("alpha"), node.get_float("beta")
    trans_a, trans_b = node.get_int("transA"), node.get_int("transB")

    def a_ct() -> ir.Value:
        if trans_a:
            return contraction(op, ct, [b], lambda c, f: op.Gemm(f, c, alpha=alpha, transA=trans_b, transB=1))
        return contraction(op, ct, [b], lambda c, f: op.Gemm(c, f, alpha=alpha, transB=1 - trans_b))

    def b_ct() -> ir.Value:
        if trans_b:
            return contraction(op, ct, [a], lambda c, f: op.Gemm(c, f, alpha=alpha, transA=1, transB=trans_a))
        return contraction(op, ct, [a], lambda c, f: op.Gemm(f, c, alpha=alpha, transA=1 - trans_a))

    return a_ct, b_ct, lambda: op.Mul(ct, beta)


@vjp("Einsum")
def einsum(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = einsum(terms -> out);  the cotangent of one operand is an einsum of ybar with the other operands.

    Letters that only this operand has were summed: they are broadcast back. A letter twice in one operand is a
    product with the identity matrix.
    """
    terms, right = _einsum_terms(node)
    given = node.given(node.inputs)
    operands = list(given)
    for index in range(len(operands)):
        for axis, letter in enumerate(terms[index]):
            if letter in terms[index][:axis]:
                spare = _unused("".join([*terms, right]))
                terms[index] = terms[index][:axis] + spare + terms[index][axis + 1 :]
                terms.append(letter + spare)
                operands.append(_identity(op, given[index], axis))

    def entry(index: int) -> ir.Value:
        others = [(t, v) for i, (t, v) in enumerate(zip(terms, operands, strict=True)) if i != index]
        known = set(right).union(*(set(term) for term, _ in others))
        kept = "".join(letter for letter in terms[index] if letter in known)
        equation = f"{','.join([right, *[t for t, _ in others]])}->{kept}"
        product = contraction(op, ct, [v for _, v in others], lambda *v: op.Einsum(*v, equation=equation))
        if _may_broadcast([(right, ct), *others]):
            # ONNX's inference takes the sizes of the first operand, which another may broadcast.
            product.shape = None
        missing = [axis for axis, letter in enumerate(terms[index]) if letter not in known]
        if not missing:
            return product
        return op.expand_like(op.Unsqueeze(product, missing), given[index])

    return [functools.partial(entry, index) for index in range(len(given))]


def _may_broadcast(operands: Sequence[tuple[str, ir.Value]]) -> bool:
    """Whether a letter of an Einsum may stand for several sizes, some of which a run decides."""
    sizes: dict[str, set[int | str | None]] = {}
    for term, value in operands:
        for letter, size in zip(term, dims_of(value) or [None] * len(term), strict=True):
            sizes.setdefault(letter, set()).add(size)
    return any(len(found) > 1 and not all(isinstance(n, int) for n in found) for found in sizes.values())


def _einsum_terms(node: NodeView) -> tuple[list[str], str]:
    """The terms of an Einsum's operands and of its output, one letter an axis: ellipses and "->" written out."""
    equation = node.get_string("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = sorted(set(left) - {",", "."})
        right = ("..." if "." in left else "") + "".join(c for c in letters if left.count(c) == 1)
    if "." not in equation:
        return terms, right
    hidden = [
        node.rank(value) - len(term.replace("...", "")) if "." in term else 0
        for term, value in zip(terms, node.given(node.inputs), strict=True)
    ]
    spare = ""
    for _ in range(max(hidden)):
        spare += _unused(equation + spare)
    written = [
        term.replace("...", spare[len(spare) - count :]) for term, count in zip(terms, hidden, strict=True)
    ]
    return written, right.replace("...", spare)


def _unused(letters: str) -> str:
    return next(letter for letter in string.ascii_letters if letter not in letters)


def _identity(op: OpBuilder, value: ir.Value, axis: int) -> ir.Value:
    """The identity matrix of the size of an axis, in the dtype of the value."""
    size = op.size(value, axis)
    return op.EyeLike(op.expand(op.constant(0, value.dtype), [size, size]))


@vjp("Det")
def det(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = determinant of x;  xbar = ybar times the cofactors of x, also where x has no inverse.

    Not derived: other operators give the determinant of a matrix of known size alone, and of 3 x 3 with 226 nodes where
    these are 12.
    """
    x = node.x
    rank, size = node.rank(x), op.size(x, -1)
    kept, first = op.Range(0, op.Sub(size, 1), 1), op.Unsqueeze(op.Range(0, size, 1), [1])
    # Row i of the table: all indices but i.
    others = op.Add(kept, op.cast(op.GreaterOrEqual(kept, first), ir.DataType.INT64))
    minors = op.Gather(op.Gather(x, others, axis=rank - 2), others, axis=rank)
    order = [*range(rank - 2), rank - 2, rank, rank - 1, rank + 1]
    odd = op.cast_like(op.Mod(op.Add(first, op.Range(0, size, 1)), 2), x)
    cofactors = op.Mul(op.Det(op.Transpose(minors, perm=order)), op.Sub(1.0, op.Mul(odd, 2.0)))
    return (op.Mul(op.Unsqueeze(ct, [-2, -1]), cofactors),)
