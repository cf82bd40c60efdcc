"""TensorFlow graphs in real numbers instead of complex ones, which no operator of ONNX but DFT and STFT takes.

Each complex value becomes its real and its imaginary part, computed by real operators of TensorFlow.
"""

from __future__ import annotations

from typing import Any

from onnxattr.errors import ConversionError

from ...common import dependencies
from .complex_operators import WRITERS, Parts, Writing

#: Operators that are the same for both parts: they move elements, or are linear with real factors.
_EACH_PART = frozenset(
    "Add AddN AddV2 BroadcastTo ConcatV2 Const Cumsum EnsureShape ExpandDims Fill GatherNd GatherV2 Identity Mean Neg "
    "Pack Pad PadV2 Reshape ReverseV2 Roll Select SelectV2 Slice Snapshot Split SplitV Squeeze StopGradient "
    "StridedSlice Sub Sum Tile Transpose Unpack ZerosLike".split()
)


def in_real_parts(graph_def: Any) -> Any:
    """A frozen GraphDef without complex values; the same one where it has none.

    Raises:
        ConversionError: An operator on complex values is none of those that can be written in real numbers; names it.
    """
    tf = dependencies.tensorflow()
    kinds = {tf.complex64.as_datatype_enum, tf.complex128.as_datatype_enum}
    if not any(attribute.type in kinds for node in graph_def.node for attribute in node.attr.values()):
        return graph_def
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    written = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    parts: dict[str, Parts] = {}
    for operation in graph.get_operations():  # in an order in which each stands behind what it reads
        if not any(tensor.dtype.is_complex for tensor in (*operation.inputs, *operation.outputs)):
            written.node.append(operation.node_def)
        elif operation.type in _EACH_PART:
            _write_each_part(tf, written, parts, operation)
        elif operation.type in WRITERS:
            WRITERS[operation.type](Writing(tf, written, parts, operation))
        else:
            known = ", ".join(sorted({*_EACH_PART, *WRITERS} - {"Const"}))
            raise ConversionError(
                f"Operation {operation.name!r} ({operation.type}) computes with complex numbers, of which ONNX has "
                f"none. These are written in real ones: {known}."
            )
    return written


def _write_each_part(tf: Any, written: Any, parts: dict[str, Parts], operation: Any) -> None:
    """An operation once for each part, on the part of each complex input."""
    names = [f"{operation.name}/onnxattr_{part}" for part in Parts._fields]
    for place, name in enumerate(names):
        node = written.node.add()
        node.CopyFrom(operation.node_def)
        node.name = name
        node.attr.pop("_class", None)
        inputs = operation.inputs
        node.input[:] = [parts[t.name][place] if t.dtype.is_complex else t.name for t in inputs]
        for attribute in node.attr.values():
            _make_real(tf, attribute, place)
    for index, tensor in enumerate(operation.outputs):
        parts[tensor.name] = Parts(*(f"{name}:{index}" for name in names))


def _make_real(tf: Any, attribute: Any, place: int) -> None:
    """A type or tensor of an attribute for the real part (0) or the imaginary one (1), where it is complex."""
    kind = attribute.WhichOneof("value")
    if kind == "type" and tf.as_dtype(attribute.type).is_complex:
        attribute.type = tf.as_dtype(attribute.type).real_dtype.as_datatype_enum
    elif kind == "tensor" and tf.as_dtype(attribute.tensor.dtype).is_complex:
        numbers = tf.make_ndarray(attribute.tensor)
        attribute.tensor.CopyFrom(tf.make_tensor_proto(numbers.imag if place else numbers.real))
