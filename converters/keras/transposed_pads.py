"""Transposed convolutions whose kernels leave gaps: what tf2onnx writes as negative pads is output padding."""

import onnx
from onnx import helper

from onnxattr.graph.subgraphs import nodes_in


def fill_gaps(model: onnx.ModelProto) -> None:
    """Write negative pads of ConvTranspose nodes as `output_padding`.

    Where a kernel is smaller than its stride, or a layer asks for output padding, an output of Keras is larger than
    what the kernels reach: zeros at the end of the axis, before the bias.

    Args:
        model: Changed in place.
    """
    for node in nodes_in(model.graph):
        attributes = {attribute.name: attribute for attribute in node.attribute}
        pads = list(attributes["pads"].ints) if "pads" in attributes else []
        if node.op_type != "ConvTranspose" or min(pads, default=0) >= 0:
            continue
        axes = len(pads) // 2
        totals = [pads[axis] + pads[axis + axes] for axis in range(axes)]
        gaps = [max(-total, 0) for total in totals]
        own = list(attributes["output_padding"].ints) if "output_padding" in attributes else [0] * axes
        kept = [0 if totals[i % axes] < 0 else pad for i, pad in enumerate(pads)]
        attributes["pads"].ints[:] = kept
        if "output_padding" in attributes:
            node.attribute.remove(attributes["output_padding"])
        node.attribute.append(
            helper.make_attribute("output_padding", [a + b for a, b in zip(own, gaps, strict=True)])
        )
