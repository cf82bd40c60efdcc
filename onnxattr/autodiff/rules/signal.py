"""Rules of Fourier transforms. Complex numbers are pairs along the last axis; the adjoint is taken over those pairs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, vjp
from onnxattr.autodiff.rules.padding import along_computed
from onnxattr.autodiff.rules.selection import add_at, positions_in
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import ints_of


@vjp("DFT")
def dft(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = F x, x cut or padded to the transform's length N;  xbar = ybar transformed back, times N (inverse: 1 / N).

    Onesided: missing frequencies of ybar are 0, and xbar is real. Onesided inverse: xbar = F ybar / N, doubled for the
    frequencies that stand for two.
    """
    x, length = node.x, node.inputs[1]
    rank = node.rank(x)
    axis = _axis(op, node, rank)
    size = op.Gather(op.shape(x), axis)
    inverse, onesided = (bool(node.get_int(name)) for name in ("inverse", "onesided"))
    if length is None:
        length = op.Mul(op.Sub(size, 1), 2) if inverse and onesided else size
    length = op.reshape(length, [])
    if inverse and onesided:
        xbar = _to_size(op, _real_inverse_ct(op, ct, axis, rank, length), axis, rank, _half(op, length), size)
    else:
        back = _transform_ct(op, ct, axis, rank, length, inverse, onesided)
        xbar = _to_size(op, back, axis, rank, length, size)
    return _like_components(op, xbar, x), None, None


@vjp("STFT")
def stft(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y[f] = F (window * frame f of x);  framebar = window * (ybar[f] transformed back), added onto x.

    windowbar = sum over frames of frame * (ybar[f] transformed back). Derived it takes 1.2 to 1.45 times the CPU time,
    as the frames are gathered twice. A signal (N, length), which torch.onnx writes and ONNX Runtime takes, is real.
    """
    (signal, step), (window, length) = node.required(2), node.inputs[2:]
    flat = node.rank(signal) == 2
    x = op.Unsqueeze(signal, [2]) if flat else signal
    if length is None:
        length = op.shape(window, 0, 1) if window is not None else op.shape(x, 1, 2)
    length, step = (op.reshape(value, []) for value in (length, step))
    onesided, axis = bool(node.get_int("onesided")), op.constant(2, ir.DataType.INT64)
    weighted_ct = _like_components(op, _transform_ct(op, ct, axis, 4, length, False, onesided), x)
    first = op.Mul(op.Range(0, op.size(ct, 1), 1), step)
    index = op.Add(op.Unsqueeze(first, [1]), op.Range(0, length, 1))

    def x_ct() -> ir.Value:
        frames_ct = weighted_ct if window is None else op.Mul(weighted_ct, op.Unsqueeze(window, [1]))
        total = add_at(op, x, op.Gather(positions_in(op, x), index, axis=1), frames_ct)
        return op.Squeeze(total, [2]) if flat else total

    def window_ct() -> ir.Value:
        frames = op.Gather(x, index, axis=1)
        return op.ReduceSum(op.Mul(weighted_ct, frames), [0, 1, 3], keepdims=0)

    return x_ct, None, window_ct, None


def _axis(op: OpBuilder, node: NodeView, rank: int) -> ir.Value:
    """The axis of a DFT, counted from the front: an attribute of older opsets, an input of newer ones."""
    given = next(iter(node.inputs[2:]), None)
    axis = op.constant(node.get_int("axis", -2), ir.DataType.INT64) if given is None else given
    return op.Mod(op.reshape(axis, []), rank)


def _transform_ct(
    op: OpBuilder, ct: ir.Value, axis: ir.Value, rank: int, length: ir.Value, inverse: bool, onesided: bool
) -> ir.Value:
    """The cotangent of a transform's input, as pairs and in the transform's length."""
    if onesided:
        ct = _to_size(op, ct, axis, rank, _half(op, length), length)
    back = _dft(op, ct, length, axis, inverse=int(not inverse))
    scale = op.cast_like(length, ct)
    return op.Div(back, scale) if inverse else op.Mul(back, scale)


def _dft(op: OpBuilder, x: ir.Value, length: ir.Value, axis: ir.Value, **settings: int) -> ir.Value:
    """A Fourier transform along an axis, which is a constant below opset 20: it is an attribute there."""
    if op.opset < 20:
        return op.DFT(x, length, axis=(ints_of(axis) or [1])[0], **settings)
    return op.DFT(x, length, axis, **settings)


def _real_inverse_ct(op: OpBuilder, ct: ir.Value, axis: ir.Value, rank: int, length: ir.Value) -> ir.Value:
    """The cotangent of the half spectrum that a real signal was made of."""
    spectrum = _dft(op, ct, length, axis, onesided=1)
    frequency = op.Range(0, _half(op, length), 1)
    alone = op.Or(op.Equal(frequency, 0), op.Equal(op.Mul(frequency, 2), length))
    counts = op.Where(alone, op.constant(1.0, ct.dtype), op.constant(2.0, ct.dtype))
    share = op.Div(counts, op.cast_like(length, ct))
    return op.Mul(spectrum, op.Reshape(share, op.Where(op.Equal(op.Range(0, rank, 1), axis), -1, 1)))


def _half(op: OpBuilder, length: ir.Value) -> ir.Value:
    """How many frequencies a onesided spectrum has."""
    return op.Add(op.Div(length, 2), 1)


def _to_size(
    op: OpBuilder, value: ir.Value, axis: ir.Value, rank: int, have: ir.Value, size: ir.Value
) -> ir.Value:
    """Cuts an axis at ``size``, or continues it with zeros."""
    missing = op.Unsqueeze(op.Sub(size, have), [0])
    return op.Pad(value, along_computed(op, op.Unsqueeze(axis, [0]), rank, op.sizes([0, missing])))


def _like_components(op: OpBuilder, value: ir.Value, x: ir.Value) -> ir.Value:
    """Pairs, or their real parts where x is real."""
    return op.Slice(value, [0], op.shape(x, -1), [-1])
