"""Other forms of nodes that some runtimes have no kernel for, or compute wrongly; they run last."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.autodiff.node import view_of
from onnxattr.autodiff.rewrites.convolutions import Spread, again
from onnxattr.autodiff.rewrites.registry import Backward, rewrite
from onnxattr.autodiff.rules.quantization import dequantised
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import LAYOUTS, dims_of, is_constant

#: What takes one matrix out of those of a recurrent layer.
_PARTS = frozenset("Gather Reshape Slice Split Squeeze Unsqueeze".split())

#: Between a dequantised weight and its reader.
_SAME_NUMBERS = LAYOUTS | {"Slice"}
#: The types of weights that ONNX Runtime multiplies as they are.
_FEW_BITS = frozenset(ir.DataType[f"{sign}INT{bits}"] for sign in ("", "U") for bits in (2, 4, 8))


@rewrite(
    "ConvTranspose",
    why="ONNX Runtime has no kernel for uneven pads on CUDA: the node, and what it reads, would go to the CPU.",
    gains="on CUDA two copies of a cotangent between GPU and CPU for each strided convolution with uneven pads",
)
def even_pads(backward: Backward, node: ir.Node) -> ir.Value | None:
    """A transposed convolution with uneven pads -> one with even pads, and what it gives too much cut off."""
    op, spread = backward.op, Spread(node)
    rank = len(spread.strides)
    begins, ends = spread.pads[:rank], spread.pads[rank:]
    if (begins == ends).all():
        return None
    # What the end loses: less than nothing where the result gets longer.
    lost = ends - spread.more
    longer = begins - lost
    cut = (longer < 0) | (longer >= spread.strides)
    pads = [int(min(b, max(e, 0)) if c else b) for b, e, c in zip(begins, lost, cut, strict=True)]
    more = [max(int(-e), 0) if c else int(m) for e, m, c in zip(lost, longer, cut, strict=True)]
    result = again(op, node, *node.inputs, pads=pads * 2, output_padding=more)
    result.shape = None
    first = [int(b) - p if c else 0 for b, p, c in zip(begins, pads, cut, strict=True)]
    last = [p - int(e) if c and e > p else 2**62 for e, p, c in zip(lost, pads, cut, strict=True)]
    if cut.any():
        result = op.Slice(result, first, last, [*range(2, 2 + rank)])
    result.shape = node.outputs[0].shape
    return result


@rewrite(
    "ConvTranspose",
    "MatMul",
    "Gemm",
    why="Where two nodes read one square kernel, one of them transposed, OpenVINO 2026.4 computes one of them wrongly.",
    gains="right maps in OpenVINO for strided convolutions that keep the number of channels, and for square matrices",
)
def own_kernel(backward: Backward, node: ir.Node) -> ir.Value | None:
    """A kernel of as many inputs as outputs that other nodes read too -> its double negative, folded when loaded."""
    op, operands = backward.op, [*node.inputs]
    turned = backward.producer(operands[1])
    transposed = turned is not None and turned.op_type == "Transpose"
    kernel = turned.inputs[0] if turned is not None and transposed else operands[1]
    if kernel is None or not is_constant(kernel):
        return None
    maker = kernel.producer()
    if maker is None:
        if len(kernel.uses()) < 2:
            return None
    elif transposed or maker.op_type not in _PARTS:
        return None  # others may take the same part, so that the transposed one stays as it is
    dims = [dim if isinstance(dim, int) else -1 for dim in dims_of(kernel) or []]
    rows, columns = dims[:2] if node.op_type == "ConvTranspose" else [0, 1, *dims][-2:]
    if len(dims) < 2 or rows != columns * node.attributes.get_int("group", 1):
        return None
    copy: ir.Value = op.Neg(op.Neg(kernel))
    if turned is not None and transposed:
        copy = op.Transpose(copy, perm=[*turned.attributes.get_ints("perm")])
    operands[1] = copy
    return again(op, node, *operands)


@rewrite(
    "MatMul",
    "Gemm",
    "Conv",
    "ConvTranspose",
    why="ONNX Runtime computes a product with a dequantised weight in integers, and rounds the cotangent to 8 bits; "
    "OpenVINO 2026.4 computes those of a quantised network that share one weight wrongly.",
    gains="gradients of models with quantised weights in float32, not within 0.5 % of the largest at each layer",
)
def weight_in_floats(backward: Backward, node: ir.Node) -> ir.Value | None:
    """a @ dequantised(w) -> a @ ((w - z) s), which no runtime takes for a product of integers."""
    operands = [*node.inputs]
    weight = _in_floats(backward.op, operands[1])
    if weight is None:
        return None
    operands[1] = weight
    return again(backward.op, node, *operands)


def _in_floats(op: OpBuilder, weight: ir.Value | None) -> ir.Value | None:
    """A constant weight that was dequantised, without DequantizeLinear; None if it was not."""
    node = None if weight is None else weight.producer()
    source = None if node is None or not node.inputs else node.inputs[0]
    if node is None or source is None:
        return None
    if node.op_type in _SAME_NUMBERS:
        real = _in_floats(op, source)
        return None if real is None else again(op, node, real, *node.inputs[1:])
    if node.op_type != "DequantizeLinear" or source.dtype not in _FEW_BITS or not is_constant(weight):
        return None
    return dequantised(op, view_of(node, op.opset))
