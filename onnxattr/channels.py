"""Finds out which axis of an image input holds the channels."""

from __future__ import annotations

from collections import deque

import onnx_ir as ir

from onnxattr.values import dims_of

_CHANNELS_SECOND = frozenset(
    "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization InstanceNormalization "
    "Resize DepthToSpace SpaceToDepth LRN".split()
)
_COUNTS = (1, 3, 4)


def find_channel_axis(value: ir.Value) -> int:
    """The channel axis, 1 or 3, of a value of rank 4: what the first operator that treats it as an image says.

    The graph is followed through elementwise operators; without an answer the axis of size 1, 3 or 4 is taken, the
    last one in doubt.
    """
    seen, front = {value}, deque([value])
    while front:
        reader = front.popleft()
        for node in reader.consumers():
            if node.op_type in _CHANNELS_SECOND:
                return 1
            if node.op_type == "Transpose":
                perm = list(node.attributes.get_ints("perm") or [3, 2, 1, 0])
                if perm in ([0, 3, 1, 2], [0, 2, 3, 1]):
                    return 3 if perm == [0, 3, 1, 2] else 1
                continue
            for output in node.outputs:
                if (
                    output not in seen
                    and len(dims_of(output) or []) == 4
                    and node.op_type not in ("Reshape", "MatMul")
                ):
                    seen.add(output)
                    front.append(output)
    dims = dims_of(value) or [None] * 4
    return 1 if dims[1] in _COUNTS and dims[3] not in _COUNTS else 3
