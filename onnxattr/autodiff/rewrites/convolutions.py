"""Cheaper forms of the transposed convolutions by which cotangents go back through convolutions."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.rewrites.patterns import filled_with
from onnxattr.autodiff.rewrites.registry import Backward, rewrite
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of, is_constant

#: Below this many result channels ConvTranspose is up to eight times faster than Conv: blocks of channels stay empty.
_FEWEST_CHANNELS = 8


class Spread:
    """A ConvTranspose node of the backward graph: its operands and attributes with their defaults."""

    def __init__(self, node: ir.Node):
        self.ct, self.w = node.inputs[:2]
        self.dims = [dim if isinstance(dim, int) else -1 for dim in dims_of(self.w) or []]
        rank, attributes = len(self.dims) - 2, node.attributes
        self.group = attributes.get_int("group", 1)
        self.strides = list(attributes.get_ints("strides", [1] * rank))
        self.dilations = list(attributes.get_ints("dilations", [1] * rank))
        self.pads = np.array(attributes.get_ints("pads", [0] * (2 * rank)))
        self.more = np.array(attributes.get_ints("output_padding", [0] * rank))
        self.extents = (np.array(self.dims[2:]) - 1) * self.dilations + 1
        self.plain = len(node.inputs) == 2 and rank > 0 and min(self.dims) > 0

    def conv(self, op: OpBuilder, ct: ir.Value, pads: np.ndarray) -> ir.Value:
        """The convolution at stride 1 with the kernel flipped and its channels exchanged."""
        kernel = _exchanged(op, _flipped(op, self.w, len(self.dims) - 2), self.group)
        return op.Conv(ct, kernel, group=self.group, dilations=self.dilations, pads=pads.astype(int).tolist())


@rewrite(
    "ConvTranspose",
    why="The runtime multiplies kernels once, when it loads the model, and activations in every run.",
    gains="MobileNetV2: 1 % of the CPU time of a gradient; one pass over the activations for each normalisation",
)
def scale_in_kernel(backward: Backward, node: ir.Node) -> ir.Value | None:
    """(k ct) spread by w -> ct spread by (k w), for a constant k per channel, as normalisation leaves it."""
    op, spread = backward.op, Spread(node)
    scaling = None if spread.ct is None else spread.ct.producer()
    if scaling is None or scaling.op_type != "Mul" or scaling.graph is not op.graph or not spread.plain:
        return None
    channels = [1] * (len(spread.dims) - 2)
    for factor, rest in (scaling.inputs, scaling.inputs[::-1]):
        per_channel = dims_of(factor) in ([spread.dims[0], *channels], [1, spread.dims[0], *channels])
        if rest is not None and per_channel and dims_of(rest) == dims_of(spread.ct) and is_constant(factor):
            kernel = op.Mul(spread.w, op.Reshape(factor, [-1] + [1] * (len(spread.dims) - 1)))
            return again(op, node, rest, kernel)
    return None


@rewrite(
    "Mul",
    why="The runtime multiplies kernels once, when it loads the model, and activations in every run.",
    gains="DenseNet121: 1 to 2 % of the CPU time of a gradient",
)
def scale_through_mask(backward: Backward, node: ir.Node) -> ir.Value | None:
    """k mask(ct spread by w) -> mask(ct spread by (k w)), for a constant k per channel, as normalisation leaves it."""
    op = backward.op
    for factor, rest in (node.inputs, node.inputs[::-1]):
        mask, place = _mask(backward, rest)
        full = None if mask is None else mask.inputs[place]
        made = backward.producer(full)
        if (
            made is None
            or made.op_type != "ConvTranspose"
            or full is None
            or backward.only_reader(full) is not mask
        ):
            continue
        spread, dims = Spread(made), dims_of(full) or []
        channels = [dims[1] if len(dims) > 2 else -1, *[1] * (len(dims) - 2)]
        fits = dims_of(factor) in (channels, [1, *channels]) and is_constant(factor)
        depthwise = spread.group > 1 and spread.dims[1] == 1
        if factor is None or not (fits and spread.plain and (spread.group == 1 or depthwise)):
            continue
        if not op.range_of(factor).finite:
            continue
        assert mask is not None
        scale = _of_kernels(op, factor, spread) if depthwise else factor
        operands = [*mask.inputs]
        scaled = again(op, made, spread.ct, op.Mul(spread.w, scale))
        scaled.shape = full.shape
        operands[place] = scaled
        return again(op, mask, *operands)
    return None


def _of_kernels(op: OpBuilder, factor: ir.Value, spread: Spread) -> ir.Value:
    """A factor per channel as one per kernel of a depthwise convolution, which may have several for each channel."""
    column = op.Reshape(factor, [-1, 1])
    if spread.dims[0] > spread.group:
        column = op.Expand(column, [1, spread.dims[0] // spread.group])
    return op.Reshape(column, [-1] + [1] * (len(spread.dims) - 1))


def _mask(backward: Backward, value: ir.Value | None) -> tuple[ir.Node | None, int]:
    """The node that masks a value, if one reader has it, and which of its inputs it masks."""
    node = backward.producer(value)
    if node is None or value is None or backward.only_reader(value) is None:
        return None, 0
    if node.op_type == "Where" and filled_with(node.inputs[2], 0):
        return node, 1
    steps = [at for at, side in enumerate(node.inputs) if _is_step(side)] if node.op_type == "Mul" else []
    return (node, 1 - steps[0]) if len(steps) == 1 else (None, 0)


def _is_step(value: ir.Value | None, factors: int = 4) -> bool:
    """Whether a value is a mask of zeros and ones, or a product of few such."""
    node = None if value is None else value.producer()
    if node is None:
        return False
    if node.op_type == "Mul" and factors > 1:
        return all(_is_step(side, factors // 2) for side in node.inputs)
    return node.op_type == "HardSigmoid"


@rewrite(
    "ConvTranspose",
    why="At stride 1 it is a convolution, which ONNX Runtime computes in its blocked layout; towards few channels, as "
    "those of an image, and for grouped kernels that are not depthwise, ConvTranspose is faster.",
    gains="MobileNetV2: 29 % of the CPU time of a gradient, ResNet50: 9 %, VGG16: 8 %",
)
def conv_at_stride_1(backward: Backward, node: ir.Node) -> ir.Value | None:
    """ct spread by w at stride 1 -> ct convolved with w, flipped and its channels exchanged."""
    spread = Spread(node)
    if spread.ct is None or not spread.plain or set(spread.strides) != {1} or spread.more.any():
        return None
    many = spread.dims[1] == 1 if spread.group > 1 else spread.dims[1] >= _FEWEST_CHANNELS
    pads = np.tile(spread.extents, 2) - 1 - spread.pads
    if not many or pads.min() < 0:
        return None
    return spread.conv(backward.op, spread.ct, pads)


@rewrite(
    "ConvTranspose",
    why="ConvTranspose goes through depthwise channels one at a time on CPU, outside ONNX Runtime's blocked layout.",
    gains="MobileNetV2: 6 % of the CPU time of a gradient",
)
def spaced_depthwise(backward: Backward, node: ir.Node) -> ir.Value | None:
    """ct spread by a depthwise w at larger strides -> ct with zeros between its elements, convolved with w flipped."""
    op, spread = backward.op, Spread(node)
    outputs = [dim for dim in (dims_of(spread.ct) or [])[2:] if isinstance(dim, int)]
    depthwise = spread.group > 1 and spread.dims[:2] == [spread.group, 1] and min(spread.strides) > 1
    if spread.ct is None or not (spread.plain and depthwise and len(outputs) == len(spread.strides)):
        return None
    rank, counts = len(outputs), np.array(outputs)
    begins, ends = spread.pads[:rank], spread.pads[rank:]
    sizes = (counts - 1) * spread.strides + spread.extents + spread.more - begins - ends
    before = spread.extents - 1 - begins
    after = sizes - counts * spread.strides - before + spread.extents - 1
    pads = np.concatenate([before, after])
    if pads.min() < 0:
        return None
    cell = np.zeros((1, 1, *spread.strides))
    cell[(0,) * cell.ndim] = 1
    first = op.Tile(op.constant(cell, spread.ct.dtype), [1, 1, *outputs])
    return spread.conv(op, op.Mul(_repeated(op, spread.ct, spread.strides), first), pads)


@rewrite(
    "Pad",
    why="A convolution that is padded less, or a transposed one that is padded more, leaves the border out itself.",
    gains="MobileNetV2: 4 of 429 nodes, 9 % of the CPU time of a gradient",
)
def crop_in_conv(backward: Backward, node: ir.Node) -> ir.Value | None:
    """A convolution's result without a border of known width -> the convolution with other pads."""
    op, (full, amounts) = backward.op, node.inputs[:2]
    made = backward.producer(full)
    known = None if amounts is None or amounts.const_value is None else amounts.const_value.numpy()
    if known is None or made is None or full is None or backward.only_reader(full) is not node:
        return None
    if made.op_type not in ("Conv", "ConvTranspose") or "pads" not in made.attributes:
        return None
    border = -known.reshape(2, -1)
    if border.shape[1] < 3 or border[:, :2].any() or border.min() < 0:
        return None
    sign = -1 if made.op_type == "Conv" else 1
    pads = np.array(made.attributes.get_ints("pads")) + sign * border[:, 2:].ravel()
    return None if pads.min() < 0 else again(op, made, *made.inputs, pads=pads.tolist())


def again(op: OpBuilder, node: ir.Node, *operands: ir.Value | None, **changed: object) -> ir.Value:
    """A node with other operands or attributes."""
    attributes = {name: attribute.value for name, attribute in node.attributes.items()} | changed
    result: ir.Value = op.node(node.op_type, operands, attributes)
    return result


def _repeated(op: OpBuilder, value: ir.Value, times: list[int]) -> ir.Value:
    """Each element repeated along the spatial axes."""
    scales = np.array([1, 1, *times], np.float32)
    position = "asymmetric"
    return op.Resize(
        value, None, scales, mode="nearest", coordinate_transformation_mode=position, nearest_mode="floor"
    )


def _flipped(op: OpBuilder, w: ir.Value | None, rank: int) -> ir.Value:
    """A kernel reversed along its spatial axes."""
    assert w is not None
    if (dims_of(w) or [])[2:] == [1] * rank:
        return w
    low = [-(2**31)] * rank
    return op.Slice(w, [-1] * rank, low, [*range(2, 2 + rank)], [-1] * rank)


def _exchanged(op: OpBuilder, w: ir.Value, group: int) -> ir.Value:
    """A kernel (group * m, c, ...) as (group * c, m, ...), which maps outputs back to inputs."""
    m, c, *kernel = [int(str(dim)) for dim in dims_of(w) or []]
    if group == 1:
        return op.Transpose(w, perm=[1, 0, *range(2, 2 + len(kernel))])
    if m == group:
        return w
    apart = op.Reshape(w, [group, m // group, c, *kernel])
    swapped = op.Transpose(apart, perm=[0, 2, 1, *range(3, 3 + len(kernel))])
    return op.Reshape(swapped, [group * c, m // group, *kernel])
