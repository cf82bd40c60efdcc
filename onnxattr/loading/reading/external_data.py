"""External data: which file holds a tensor's bytes, and whether a model may read it.

A model names its data files relative to its own folder. Where the model is a link, as in the cache of a model hub, its
folder is both the one of the link and the one of the file that it leads to. A data file may be a link, or have several
names; what counts is that the file it leads to is a regular one inside such a folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import held_by
from onnxattr.loading.reading.own_data import check_data

#: Most bytes that are taken into the model itself, which protobuf bounds.
_MOST_INSIDE = 2**31 - 2**24


@dataclass(frozen=True)
class Located:
    """A model whose data files have been found.

    Attributes:
        proto: The model; what is external is in its main graph, each with offset and length.
        folder: What the locations of external tensors are relative to; None for a model that is in no file.
        files: The data files.
    """

    proto: onnx.ModelProto
    folder: Path | None
    files: tuple[Path, ...]


def locate(proto: onnx.ModelProto, path: Path | None, folder: Path | None = None) -> Located:
    """Finds and checks the data files of a model.

    Args:
        proto: The model; changed in place if it is from a file, else copied if it has external data.
        path: The model's file, if it is from one.
        folder: Where to look for the data of a model from no file; the current folder if None.

    Raises:
        ModelError: If a tensor's data is not in a regular file inside the model's folder, or not as the tensor says; or
            if the file is not the one that the model was written with, as far as its metadata tell.
    """
    if not any(map(_is_external, (*proto.graph.initializer, *_inner_tensors(proto)))):
        return Located(proto, path.parent if path else None, ())
    if path is None:
        proto = _copy(proto)
    search = _Search([path.parent, Path(os.path.realpath(path)).parent] if path else [folder or Path.cwd()])
    inside = 0
    for tensor in filter(_is_external, _inner_tensors(proto)):
        data = search.data(tensor)
        inside += data[2]
        if inside > _MOST_INSIDE:
            raise ModelError(
                f"The constants and subgraphs of the model have more than {_MOST_INSIDE} bytes of external data; only "
                "initializers of the main graph can be that large. Export the model again."
            )
        _describe(tensor, data[0].name, data)
        read(tensor, data[0].parent)
    outer = list(filter(_is_external, proto.graph.initializer))
    found = [search.data(tensor) for tensor in outer]
    check_data({entry.key: entry.value for entry in proto.metadata_props}, search.files)
    files = tuple(dict.fromkeys(file for file, _, _ in found))
    base = search.common_folder(files)
    for tensor, data in zip(outer, found, strict=True):
        _describe(tensor, Path(os.path.relpath(data[0], base)).as_posix(), data)
    return Located(proto, base, files)


def read(tensor: onnx.TensorProto, folder: Path | None) -> None:
    """Takes the data of an external tensor that was located into the model.

    Raises:
        ModelError: If its file is gone, or has become shorter.
    """
    name, offset, length = (entry(tensor, key) for key in ("location", "offset", "length"))
    try:
        with open((folder or Path()) / name, "rb") as file:
            file.seek(int(offset or 0))
            data = file.read(int(length))
    except OSError as error:
        raise _refusal(tensor, f"{name!r} cannot be read: {error.strerror}") from error
    if len(data) != int(length):
        raise _refusal(tensor, f"{name!r} has become shorter since the model was loaded")
    tensor.raw_data = data
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def with_data_inside(located: Located) -> onnx.ModelProto:
    """A model that was located, with its external data in it.

    Raises:
        ModelError: If a data file is gone, or has become shorter.
    """
    for tensor in filter(_is_external, located.proto.graph.initializer):
        read(tensor, located.folder)
    return located.proto


def entry(tensor: onnx.TensorProto, key: str) -> str:
    """An entry of an external tensor: its "location", "offset" or "length"; empty if it has none."""
    return next((item.value for item in tensor.external_data if item.key == key), "")


def set_entry(tensor: onnx.TensorProto, key: str, value: str) -> None:
    """Sets an entry of an external tensor."""
    kept = [item for item in tensor.external_data if item.key != key]
    del tensor.external_data[:]
    tensor.external_data.extend([*kept, onnx.StringStringEntryProto(key=key, value=value)])


class _Search:
    """Finds data files in the folders that a model may read."""

    def __init__(self, folders: Sequence[Path]):
        self.folders = list(dict.fromkeys(folders))
        self.allowed = list(dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders))
        self._known: dict[str, tuple[Path, int]] = {}

    @property
    def files(self) -> dict[str, Path]:
        """The data files that were found, by their locations."""
        return {location: file for location, (file, _) in self._known.items()}

    def data(self, tensor: onnx.TensorProto) -> tuple[Path, int, int]:
        """The file, offset and length of a tensor's data."""
        location = entry(tensor, "location")
        if location not in self._known:
            self._known[location] = self._file(tensor, location)
        file, size = self._known[location]
        return file, *_range(tensor, location, size)

    def _file(self, tensor: onnx.TensorProto, location: str) -> tuple[Path, int]:
        """The regular file that a location leads to, and its size."""
        if not location:
            raise _refusal(tensor, "no data file is named")
        if "\0" in location:
            raise _refusal(tensor, f"{location!r} is not the name of a file")
        if PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive:
            raise _refusal(
                tensor, f"{location!r} is an absolute path; expected one relative to the model's folder"
            )
        outside = os.path.normpath(location).split(os.sep)[0] == ".."
        if outside:
            raise _refusal(tensor, f"{location!r} leads out of the model's folder {self.folders[0]}")
        present = [folder / location for folder in self.folders if os.path.lexists(folder / location)]
        try:
            file = Path(os.path.realpath(present[0] if present else self.folders[0] / location))
            status = os.stat(file)
        except OSError as error:
            reason = f"{location!r} is not beside the model, in {self.folders[0]}: {error.strerror}"
            raise _refusal(tensor, reason) from error
        if not any(file.is_relative_to(folder) for folder in self.allowed):
            folders = " or ".join(map(str, self.allowed))
            raise _refusal(tensor, f"{location!r} is a link to {file}, which is not in {folders}")
        if not stat.S_ISREG(status.st_mode):
            raise _refusal(tensor, f"{location!r} is a {_kind(status.st_mode)}; expected a regular file")
        return file, status.st_size

    def common_folder(self, files: Sequence[Path]) -> Path:
        """The folder that locations are relative to: a model's own if it holds all files, else what both are in."""
        for folder in self.allowed:
            if all(file.is_relative_to(folder) for file in files):
                return folder
        return Path(os.path.commonpath(self.allowed))


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device",
        stat.S_IFSOCK: "socket",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "special file")


def _range(tensor: onnx.TensorProto, location: str, size: int) -> tuple[int, int]:
    """Offset and length of a tensor's bytes in its file."""
    needed = byte_count(tensor)
    offset, length = (_number(tensor, key, default) for key, default in (("offset", 0), ("length", needed)))
    if length != needed:
        raise _refusal(
            tensor, f"its length is said to be {length} bytes; its shape {list(tensor.dims)} takes {needed}"
        )
    if offset + length > size:
        raise _refusal(
            tensor, f"bytes {offset} to {offset + length} are needed of {location!r}, which has {size} bytes"
        )
    return offset, length


def byte_count(tensor: onnx.TensorProto) -> int:
    """How many bytes the elements of a tensor take.

    Raises:
        ModelError: If a dimension is negative, or the elements are of no type that has a size.
    """
    what = "external data" if _is_external(tensor) else "data"
    count = 1
    for dim in tensor.dims:
        if dim < 0:
            raise _refusal(tensor, f"its shape {list(tensor.dims)} has a negative dimension", what)
        count *= dim
    try:
        bits = ir.DataType(tensor.data_type).bitwidth
    except (ValueError, TypeError) as error:
        raise _refusal(
            tensor, f"its elements are of type {tensor.data_type}, which has no size", what
        ) from error
    return -(-count * bits // 8)


def _number(tensor: onnx.TensorProto, key: str, default: int) -> int:
    text = entry(tensor, key)
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise _refusal(tensor, f"its {key} is {text[:40]!r}; expected a number of bytes from 0 on")
    return int(text)


def _refusal(tensor: onnx.TensorProto, reason: str, what: str = "external data") -> ModelError:
    return ModelError(
        f"The {what} of {tensor.name!r} cannot be read: {reason}. Put the model's data files beside the model, as they "
        "were exported, or export it again with its weights inside."
    )


def _describe(tensor: onnx.TensorProto, location: str, data: tuple[Path, int, int]) -> None:
    for key, value in (("location", location), ("offset", data[1]), ("length", data[2])):
        set_entry(tensor, key, str(value))


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def _inner_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The tensors of a model's attributes, subgraphs, functions and sparse weights."""
    graphs, nodes = [proto.graph], [node for function in proto.functions for node in function.node]
    while graphs or nodes:
        if not nodes:
            graph = graphs.pop()
            if graph is not proto.graph:
                yield from graph.initializer
            yield from _dense(graph.sparse_initializer)
            nodes = list(graph.node)
        if not nodes:
            continue
        node = nodes.pop()
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                yield from _dense([attribute.sparse_tensor, *attribute.sparse_tensors])
        graphs.extend(held_by(node))


def _dense(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for sparse in tensors:
        yield from (sparse.values, sparse.indices)


def _copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy
