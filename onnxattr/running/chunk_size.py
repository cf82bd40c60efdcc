"""How many rows one run of a model holds best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from onnxattr.graph.subgraphs import nodes_of
from onnxattr.graph.values import dims_of, is_constant
from onnxattr.loading.prepared import Prepared
from onnxattr.session import threads

#: What the widest value of a run may take on a CPU. Measured on networks of 0.2 to 12 MiB per row: beyond it their
#: values go to memory and back between any two operators, and runs of 32 rows take up to 40 % longer per row.
_CACHE_BYTES = 12 * 2**20
#: A thread has a cache of its own, and a gradient keeps more alive than the widest value: one thread takes 6 to 13 %
#: less processor time with a quarter of the rows (small convolutional networks, transformers), two threads as much or
#: up to 6 % less with half of them, and more with a quarter, as each then has too few.
_CACHE_BYTES_OF_THREAD = 3 * 2**20
#: A weight that a run multiplies at one position of each row is read for few multiplications, so that with many of them
#: few rows are not worth it: VGG16 takes 0.89 of the processor time per row with 3 to 8 rows, compared with 2. One that
#: is used at many positions, as of a convolution, costs nothing of note: one row of ResNet50 takes 0.98 of three.
_PART_OF_WEIGHTS = 1 / 10
#: Where the positions of a row are among the axes of what is multiplied; a recurrent cell reads its weights at each.
_POSITIONS = {
    "MatMul": slice(1, -1),
    "Gemm": slice(1, -1),
    "Conv": slice(2, None),
    "ConvTranspose": slice(2, None),
    "LSTM": slice(0),
    "GRU": slice(0),
    "RNN": slice(0),
}


def rows_in_cache(prepared: Prepared, shapes: Mapping[str, Sequence[int]], once: bool = False) -> int:
    """Most rows for one run on a CPU, at least 1, judged by the widest value whose shape is known.

    Args:
        prepared: The model.
        shapes: Those of its inputs by name, which say how large its dynamic axes are.
        once: Whether a method runs each sample once, as GradCAM does. Such calls have few rows, and a second run costs
            more than the cache saves: four rows of MobileNetV2 at 96 pixels take 1.2 times as long in two runs.
    """
    graph = prepared.model.graph
    sizes: dict[str, int] = {}
    batches = set()
    for value in graph.inputs:
        dims = dims_of(value) or []
        batches.update(dims[:1])
        named = zip(dims[1:], shapes[str(value.name)][1:], strict=True)
        sizes |= {dim: size for dim, size in named if isinstance(dim, str)}
    widest = 1
    for value in (*graph.inputs, *(output for node in graph for output in node.outputs)):
        dims = dims_of(value) or []
        row = [sizes.get(dim) if isinstance(dim, str) else dim for dim in dims[1:]]
        numbers = value.dtype not in (None, ir.DataType.STRING)
        # Shape inference names a batch anew behind what it cannot follow: a first axis of unknown size counts as one.
        by_row = dims and (dims[0] in batches or (not isinstance(dims[0], int) and dims[0] not in sizes))
        if by_row and None not in row and numbers and value.dtype is not None:
            widest = max(widest, math.ceil(math.prod(row) * value.dtype.itemsize))  # type: ignore[arg-type]
    count, least = threads(), _read_once_a_row(graph) * _PART_OF_WEIGHTS
    cache = _CACHE_BYTES if once else min(_CACHE_BYTES, count * _CACHE_BYTES_OF_THREAD)
    most = int(max(_CACHE_BYTES, least)) // widest
    best = int(max(cache, least)) // widest
    return max(1, min(count, most), best)


def _read_once_a_row(graph: ir.Graph) -> int:
    """Bytes of the weights that are multiplied at one position of each row, as those of fully connected layers."""
    total = 0
    for node in nodes_of(graph):
        positions = (dims_of(node.outputs[0]) or [])[_POSITIONS.get(node.op_type, slice(0))]
        if node.op_type in _POSITIONS and all(size == 1 for size in positions):
            total += sum(_size(value) for value in node.inputs if is_constant(value))
    return total


def _size(value: ir.Value | None) -> int:
    """Bytes of a value of known shape; 0 for others."""
    dims = dims_of(value)
    if value is None or value.dtype is None or dims is None or not all(isinstance(dim, int) for dim in dims):
        return 0
    return math.ceil(math.prod(dims) * value.dtype.itemsize)  # type: ignore[arg-type]
