"""Definitions of com.microsoft operators: what ONNX Runtime's optimiser makes of convolutions, products, activations.

Formulas are those of ONNX Runtime's CPU kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.linear import transpose_last
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder

#: The attributes of a convolution.
CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_WITHOUT_PARAMETERS = ("Relu", "Tanh", "Sigmoid", "HardSwish", "Softsign", "Softplus")
#: The parameters of the other activations, in the order in which a fused node lists them.
_PARAMETERS = dict.fromkeys(("LeakyRelu", "Elu", "Celu", "ThresholdedRelu"), ("alpha",)) | {
    "Clip": ("min", "max"),
    "HardSigmoid": ("alpha", "beta"),
    "Selu": ("alpha", "gamma"),
    "ScaledTanh": ("alpha", "beta"),
    "ParametricSoftplus": ("alpha", "beta"),
}


def activate(op: OpBuilder, node: NodeView, y: ir.Value, parameters: Sequence[float]) -> ir.Value:
    """The activation that a fused node applies at its end; none without one."""
    kind = node.get_string("activation", "")
    if not kind:
        return y
    if kind in _WITHOUT_PARAMETERS:
        return op.node(kind, [y])
    if kind == "Clip":
        return op.Clip(y, *parameters)
    if kind in ("ScaledTanh", "ParametricSoftplus"):
        alpha, beta = parameters
        inner = op.Mul(y, beta)
        return op.Mul(op.Tanh(inner) if kind == "ScaledTanh" else op.Softplus(inner), alpha)
    if kind not in _PARAMETERS:
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: unsupported activation {kind!r}; supported: "
            f"{', '.join([*_WITHOUT_PARAMETERS, *_PARAMETERS])}. Save the model with a lower level of graph "
            "optimisation."
        )
    return op.node(kind, [y], dict(zip(_PARAMETERS[kind], parameters, strict=False)))


@decomposition("com.microsoft::FusedConv", inputs=4)
def fused_conv(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = activation(conv(x, w) + b + z)."""
    x, weight, bias, z = node.inputs
    operands = [x, weight] if bias is None else [x, weight, bias]
    y = op.Conv(*operands, **node.attributes.kept(*CONV))
    if z is not None:
        y = op.Add(y, z)
    return activate(op, node, y, node.get_floats("activation_params"))


@decomposition("com.microsoft::NhwcConv", inputs=3)
def nhwc_conv(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = conv(x, w) + b with channels behind, also those of w. ONNX Runtime has no kernel for it on a CPU."""
    rank = node.rank(node.x)
    front, behind = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
    operands = [op.Transpose(value, perm=front) for value in node.required(2)]
    bias = node.inputs[2]
    y = op.Conv(*operands, *([] if bias is None else [bias]), **node.attributes.kept(*CONV))
    return op.Transpose(y, perm=behind)


# Parameters that an activation does not have are not read by the kernel either.
@decomposition(
    "com.microsoft::FusedGemm",
    inputs=3,
    unread=("activation_alpha", "activation_beta", "activation_gamma"),
)
def fused_gemm(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = activation(alpha A' B' + beta C)."""
    operands = [value for value in node.inputs if value is not None]
    y = op.Gemm(*operands, **node.attributes.kept("alpha", "beta", "transA", "transB"))
    names = _PARAMETERS.get(node.get_string("activation", ""), ())
    parameters = node.attributes.kept(*(f"activation_{name}" for name in names))
    return activate(op, node, y, [float(str(value)) for value in parameters.values()])


@decomposition("com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul", inputs=2)
def fused_matmul(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = alpha A' B'; ``transBatch`` brings the first axis behind the batch axes, ``trans`` swaps the last two."""
    operands = []
    for value, side in zip(node.required(2), "AB", strict=True):
        rank = node.rank(value)
        if node.get_int(f"transBatch{side}", 0) and rank > 2:
            value = op.Transpose(value, perm=[*range(1, rank - 1), 0, rank - 1])
        if node.get_int(f"trans{side}", 0) and rank > 1:
            value = transpose_last(op, value, rank)
        operands.append(value)
    alpha = node.get_float("alpha", 1.0)
    return op.MatMul(*operands) if alpha == 1 else op.Mul(op.MatMul(*operands), alpha)


def gelu(op: OpBuilder, x: ir.Value, approximate: str = "none") -> ir.Value:
    """x * P(x), P the normal distribution or its tanh approximation; the operator where the opset has it."""
    if op.opset >= 20:
        return op.Gelu(x, approximate=approximate)
    if approximate == "tanh":
        c = math.sqrt(2.0 / math.pi)
        t = op.Tanh(op.Mul(x, op.Add(op.Mul(op.Mul(x, x), 0.044715 * c), c)))
    else:
        t = op.Erf(op.Mul(x, math.sqrt(0.5)))
    return op.Mul(op.Mul(x, 0.5), op.Add(t, 1.0))


def swish(op: OpBuilder, x: ir.Value, slope: float = 1.0) -> ir.Value:
    """y = x sigmoid(slope x) (Ramachandran et al., arXiv 1710.05941); also called SiLU."""
    return op.Mul(x, op.Sigmoid(x if slope == 1 else op.Mul(x, slope)))


def softmax_from(op: OpBuilder, node: NodeView, x: ir.Value, axis: int) -> ir.Value:
    """y = softmax(x) over all axes from one on, as Softmax was before opset 13."""
    axis %= node.rank(x)
    if axis == node.rank(x) - 1:
        return op.Softmax(x, axis=-1)
    flat = op.reshape(x, [*[0] * axis, -1])
    return op.reshape_like(op.Softmax(flat, axis=-1), x)


@decomposition("com.microsoft::Gelu", inputs=1)
def plain_gelu(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = gelu(x)."""
    return gelu(op, node.x)


@decomposition("com.microsoft::BiasGelu", inputs=2)
def bias_gelu(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = gelu(a + b)."""
    return gelu(op, op.Add(*node.required(2)))


@decomposition("com.microsoft::FastGelu", inputs=2)
def fast_gelu(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = gelu(x + bias) by the tanh approximation."""
    x, bias = node.x, node.inputs[1]
    return gelu(op, x if bias is None else op.Add(x, bias), "tanh")


@decomposition("com.microsoft::QuickGelu", inputs=1)
def quick_gelu(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = x * sigmoid(alpha x)."""
    return swish(op, node.x, node.get_float("alpha", 1.702))


@decomposition("com.microsoft::BiasSplitGelu", inputs=2)
def bias_split_gelu(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = left * gelu(right), the halves of x + bias. ONNX Runtime has no kernel for it on a CPU."""
    left, right = op.Split(op.Add(*node.required(2)), num_outputs=2, axis=-1, outputs=2)
    return op.Mul(left, gelu(op, right))


@decomposition("com.microsoft::BiasAdd", inputs=3)
def bias_add(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = x + bias + skip. ONNX Runtime has no kernel for it on a CPU."""
    x, bias, skip = node.required(3)
    return op.Add(op.Add(x, bias), skip)


@decomposition("com.microsoft::BiasSoftmax", inputs=2, unread=("is_inner_broadcast",))
def bias_softmax(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = softmax(x + bias) over the axes from ``axis`` on. ONNX Runtime has no kernel for it on a CPU."""
    return softmax_from(op, node, op.Add(*node.required(2)), node.get_int("axis", 1))


@decomposition("com.microsoft::CDist", inputs=2)
def distances(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = the (squared) Euclidean distances between the rows of two matrices, 0 ones without a derivative."""
    a, b = (op.Unsqueeze(value, [axis]) for value, axis in zip(node.required(2), (1, 0), strict=True))
    metric = node.get_string("metric", "sqeuclidean")
    if metric not in ("sqeuclidean", "euclidean"):
        raise UnsupportedOpError(
            f"CDist node {node.name!r}: unsupported metric {metric!r}; supported, as in ONNX Runtime: 'sqeuclidean', "
            "'euclidean'."
        )
    difference = op.Sub(a, b)
    return (op.ReduceSumSquare if metric == "sqeuclidean" else op.ReduceL2)(difference, [2], keepdims=0)


@decomposition("com.microsoft::ScaledSiLU", inputs=2, unread=("alpha",))
def scaled_silu(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = z * sigmoid(z) with z = scale * x."""
    x, scale = node.x, node.inputs[1]
    factor = node.get_float("alpha", 1.0) if scale is None else op.cast_like(scale, x)
    return swish(op, op.Mul(x, factor))


@decomposition("com.microsoft::GatedAdd", inputs=3)
def gated_add(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = a + b * gate, one gate for each row."""
    a, b, gate = node.required(3)
    return op.Add(a, op.Mul(b, gate))


@decomposition("com.microsoft::Trilu", inputs=2)
def triangle(op: OpBuilder, node: NodeView) -> ir.Value:
    """The operator of ai.onnx, which exporters wrote before opset 14 had it."""
    return op.Trilu(*node.inputs, **node.attributes.kept("upper"))


@decomposition("com.microsoft::GridSample", inputs=2)
def grid_sample(op: OpBuilder, node: NodeView) -> ir.Value:
    """The operator of ai.onnx, which exporters wrote before opset 16 had it."""
    mode = node.get_string("mode", "bilinear")
    if op.opset >= 20:
        mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return op.GridSample(*node.inputs, mode=mode, **node.attributes.kept("align_corners", "padding_mode"))
