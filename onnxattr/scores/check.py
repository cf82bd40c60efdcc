"""Whether an operator is a score of a model: it is traced once on a stand-in for the model, before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, reachable
from onnxattr.errors import OperatorError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of
from onnxattr.loading.rows.independence import MIXED, PROVEN, independence
from onnxattr.scores.calls import Model
from onnxattr.scores.score import Score


@dataclass
class Traced:
    """An operator on a stand-in for the model, in a graph of its own.

    Attributes:
        graph: The graph; its inputs are the model's, its outputs and the target, all with samples along the first axis.
        own: Whether f is called with x itself.
        called: Whether it is called at all.
        target: The target.
        score: What the operator gives.
        outputs: The model's outputs.
    """

    graph: ir.Graph
    own: bool
    called: bool
    target: ir.Value
    score: ir.Value
    outputs: list[ir.Value]


def trace(score: Score, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], opset: int) -> Traced:
    """Traces an operator on a stand-in: each sample of its output depends on all of the same sample of its input.

    Args:
        score: The operator.
        inputs: The model's inputs.
        outputs: Its outputs.
        opset: The ai.onnx opset.

    Raises:
        OperatorError: If it cannot be traced, or its result is not one number for each sample.
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": opset}, name="operator")
    op = OpBuilder(graph, opset, prefix="operator")
    xs = {str(v.name): op.input(str(v.name), v.dtype, _with_rows(v)) for v in inputs}
    results = [op.input(f"{v.name}_output", v.dtype, _with_rows(v)) for v in outputs]
    kind = score.target_kind(outputs[0])
    target = op.input("target", kind.dtype, ["samples", *kind.dims])
    calls = []

    def run(values: Sequence[ir.Value]) -> list[ir.Value]:
        calls.append(list(values) == list(xs.values()))
        if calls[-1]:
            return results
        rows = [_of_rows(op, value, results[0].dtype) for value in values if dims_of(value)]
        total = rows[0] if len(rows) == 1 else op.Sum(*rows)
        return [_with_others(op, result, total) for result in results]

    assert results[0].dtype is not None
    model = Model(op, xs, [str(v.name) for v in outputs], run, results[0].dtype)
    found = score.build(model, target)
    return Traced(graph, any(calls), bool(calls), target, found, results)


def checked_score(
    score: Score,
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    opset: int,
    one_row: bool,
    inner: bool,
) -> Score:
    """A score that is known to fit a model, with what the trace tells of it.

    Args:
        score: The score.
        inputs: The model's inputs.
        outputs: Its outputs.
        opset: The ai.onnx opset.
        one_row: Whether all runs of the model have one sample.
        inner: Whether inner values of the model are explained, which f(x') of other inputs does not read.

    Raises:
        OperatorError: If it cannot be traced, does not depend on the model, or mixes samples.
    """
    if score.linear:
        return score
    traced = trace(score, inputs, outputs, opset)
    if not traced.called or (inner and not traced.own):
        what = (
            "f(x), of x itself: the explained value is inside the model"
            if inner and traced.called
            else "f(x)"
        )
        raise OperatorError(
            f"The operator {score.name} does not use {what}; expected a score of the model's output."
        )
    sources = [v for v in traced.graph.inputs if v is not traced.target and v.dtype in FLOATS]
    sources = traced.outputs if inner else sources
    if traced.score not in reachable(list(traced.graph), sources):
        raise OperatorError(
            f"The operator {score.name} gives numbers that do not depend on the model's output, or only by way of "
            "whole numbers or truth values, which have no gradient: nothing can be explained."
        )
    _check_rows(score, traced, opset, one_row)
    return replace(score, needs_target=_depends(traced.score, traced.target))


def _check_rows(score: Score, traced: Traced, opset: int, one_row: bool) -> None:
    """Refuses operators that mix samples, or take another number of them than the model's runs have.

    Raises:
        OperatorError: If so, or if it cannot be proven that they do not.
    """
    if score.batch is not None and not (one_row and score.batch == 1):
        raise OperatorError(
            f"The operator {score.name} has an input with a first axis of {score.batch}; expected one of any size, as "
            "all inputs have one row for each sample. Export it with a dynamic first axis."
        )
    dims = dims_of(traced.score) or [None]
    if one_row:
        if isinstance(dims[0], int) and dims[0] != 1:
            raise OperatorError(
                f"The operator {score.name} gives {dims[0]} numbers for one sample; expected one, (N,)."
            )
        return
    rows = independence(traced.graph, opset, [traced.score])
    if rows.kind == PROVEN:
        return
    how = "computes samples together" if rows.kind == MIXED else "may compute samples together"
    raise OperatorError(
        f"The operator {score.name} {how}, which gives other scores in other batches: {rows.why}. Reduce along axes "
        "after the first, which is that of the samples, as in (f(x) * y).sum(axis=-1)."
    )


def _with_rows(value: ir.Value) -> list[int | str | None]:
    dims = dims_of(value) or []
    return ["samples", *dims[1:]] if dims else []


def _of_rows(op: OpBuilder, value: ir.Value, dtype: ir.DataType | None) -> ir.Value:
    """One number for each sample that depends on all of it."""
    assert dtype is not None
    real = value if value.dtype == dtype else op.Cast(value, to=dtype.value)
    return op.ReduceSum(op.Flatten(real, axis=1), [1], keepdims=0)


def _with_others(op: OpBuilder, result: ir.Value, total: ir.Value) -> ir.Value:
    rank = len(dims_of(result) or [None])
    found = op.Add(result, op.cast_like(op.Reshape(total, [-1] + [1] * (rank - 1)), result))
    found.shape = result.shape
    return found


def _depends(value: ir.Value, on: ir.Value) -> bool:
    """Whether a value is computed from another."""
    seen, waiting = {value}, [value]
    while waiting:
        current = waiting.pop()
        if current is on:
            return True
        node = current.producer()
        fresh = [] if node is None else [source for source in inputs_of(node) if source not in seen]
        seen.update(fresh)
        waiting += fresh
    return False
