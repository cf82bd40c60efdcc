"""Detaches weights, so that large models are neither copied nor bound by protobuf's 2 GiB."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError
from onnxattr.loading.reading.data_tensor import DataTensor
from onnxattr.loading.reading.external_data import byte_count, read

#: Tensors of up to so many bytes stay in the model: they may be shapes, which inference and the runtime must see.
_SMALL = 4096


def with_small_data(proto: onnx.ModelProto, folder: Path | None) -> onnx.ModelProto:
    """A model whose small external tensors are inside it.

    Raises:
        ModelError: If a file of weights cannot be read any more.
    """

    def is_small(tensor: onnx.TensorProto) -> bool:
        return tensor.data_location == onnx.TensorProto.EXTERNAL and byte_count(tensor) <= _SMALL

    if not any(map(is_small, proto.graph.initializer)):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in filter(is_small, copy.graph.initializer):
        read(tensor, folder)
    return copy


def detach_weights(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, onnx.TensorProto]]:
    """A copy of the model in which large initializers are inputs, and those initializers by name.

    The other initializers are no inputs there, as before IR version 4 they had to be.
    """
    slim = onnx.ModelProto()
    weights = {}
    kept = []
    for tensor in proto.graph.initializer:
        if tensor.ByteSize() > _SMALL or tensor.data_location == onnx.TensorProto.EXTERNAL:
            weights[tensor.name] = tensor
        else:
            kept.append(tensor)
    for field, value in proto.ListFields():
        if field.name == "graph":
            continue
        if field.is_repeated:
            getattr(slim, field.name).extend(value)
        else:
            setattr(slim, field.name, value)
    for field, value in proto.graph.ListFields():
        if field.name == "initializer":
            slim.graph.initializer.extend(kept)
        elif field.is_repeated:
            getattr(slim.graph, field.name).extend(value)
        else:
            setattr(slim.graph, field.name, value)
    if not slim.graph.name:
        slim.graph.name = "model"
    # What an input of that name declares of a weight may be wrong; the weight itself is not.
    held = {tensor.name for tensor in proto.graph.initializer}
    data = [value for value in slim.graph.input if value.name not in held]
    del slim.graph.input[:]
    slim.graph.input.extend(data)
    for name, tensor in weights.items():
        slim.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
    slim.ir_version = max(slim.ir_version, 4)
    return slim, weights


def read_tensors(weights: dict[str, onnx.TensorProto], folder: Path | None) -> dict[str, ir.TensorProtocol]:
    """The weights as onnx_ir holds them; nothing is copied, and data files are not opened yet."""
    return {name: _read_tensor(proto, folder) for name, proto in weights.items()}


def _read_tensor(proto: onnx.TensorProto, folder: Path | None) -> ir.TensorProtocol:
    tensor = ir.serde.deserialize_tensor(proto, base_path=str(folder or ""))
    return DataTensor(tensor) if isinstance(tensor, ir.ExternalTensor) else tensor


def attach_weights(graph: ir.Graph, weights: dict[str, ir.TensorProtocol]) -> bool:
    """Makes the weights initializers again; whether there are any.

    Raises:
        ModelError: If a data file cannot be read.
    """
    given = list(graph.inputs)
    graph.inputs[:] = [v for v in given if v.name not in weights]
    for value in given:
        if value.name in weights:
            tensor = weights[value.name]
            if isinstance(tensor, DataTensor):
                try:
                    tensor.numpy()
                except OSError as error:
                    raise ModelError(
                        f"The external data of {value.name!r} cannot be read: {error}. Make the file readable."
                    ) from error
            value.const_value = tensor
            graph.register_initializer(value)
    return bool(weights)
