"""Sparse weights of a file, written out as dense ones, which rules and rewrites know."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import onnx

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import graphs_in, nodes_in
from onnxattr.loading.reading.external_data import byte_count

#: All of them together may take so many bytes, beside a multiple of what the file stores for them.
_MOST, _TIMES_STORED = 2**28, 16


def write_out_sparse(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with dense weights in place of sparse ones, initializers and Constants; itself if there are none.

    External data of theirs must have been read.

    Raises:
        ModelError: If indices are not those of the shape, or the dense weights take too much memory.
    """
    if not any(True for _ in _sparse_in(proto)):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    room = _MOST + _TIMES_STORED * sum(byte_count(sparse.values) for sparse in _sparse_in(copy))
    for sparse in _sparse_in(copy):
        room -= _size(sparse)
        if room < 0:
            raise ModelError(
                f"The sparse weights {sparse.values.name!r} of shape {list(sparse.dims)} take {_size(sparse)} bytes "
                "written out, too many for a file of this size. Export the model with dense weights."
            )
    for graph in graphs_in(copy.graph):
        graph.initializer.extend(_dense(sparse) for sparse in graph.sparse_initializer)
        del graph.sparse_initializer[:]
    for attribute in _attributes(copy):
        if attribute.HasField("sparse_tensor"):
            attribute.t.CopyFrom(_dense(attribute.sparse_tensor))
            attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR
            attribute.ClearField("sparse_tensor")
    return copy


def _sparse_in(proto: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    for graph in graphs_in(proto.graph):
        yield from graph.sparse_initializer
    yield from (a.sparse_tensor for a in _attributes(proto) if a.HasField("sparse_tensor"))


def _attributes(proto: onnx.ModelProto) -> Iterator[onnx.AttributeProto]:
    """The attributes of Constants that may hold sparse values, those in functions included."""
    for node in itertools.chain(nodes_in(proto.graph), *map(nodes_in, proto.functions)):
        if node.op_type == "Constant":
            yield from (attribute for attribute in node.attribute if attribute.name == "sparse_value")


def _size(sparse: onnx.SparseTensorProto) -> int:
    """Bytes of the dense weights."""
    if any(dim < 0 for dim in sparse.dims):
        raise _unfit(sparse, "a size is negative")
    whole = onnx.TensorProto(data_type=sparse.values.data_type, dims=sparse.dims)
    return byte_count(whole)


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    values, indices = (onnx.numpy_helper.to_array(tensor) for tensor in (sparse.values, sparse.indices))
    dims = tuple(sparse.dims)
    if (
        values.ndim != 1
        or indices.dtype != np.int64
        or indices.shape not in ((len(values),), (len(values), len(dims)))
    ):
        raise _unfit(
            sparse, f"values have shape {values.shape}, indices are {indices.dtype} of {indices.shape}"
        )
    most = math.prod(dims) if indices.ndim == 1 else np.array(dims)
    if ((indices < 0) | (indices >= most)).any():
        raise _unfit(sparse, "an index lies outside")
    dense = np.zeros(dims, values.dtype)
    places = (indices,) if indices.ndim == 1 else tuple(indices.T)
    (dense.reshape(-1) if indices.ndim == 1 else dense)[places] = values
    return onnx.numpy_helper.from_array(dense, sparse.values.name)


def _unfit(sparse: onnx.SparseTensorProto, reason: str) -> ModelError:
    return ModelError(
        f"The sparse weights {sparse.values.name!r} of shape {list(sparse.dims)} are damaged: {reason}. Expected int64 "
        "indices (values,) into the flattened weights, or (values, rank). Export the model again."
    )
