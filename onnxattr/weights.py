"""Where a model's weights are: inside the file, or beside it in files of their own."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx.external_data_helper

from onnxattr.errors import ModelError, ParameterError
from onnxattr.finish_graph import whole_file, write

PLACES = ("auto", "inside", "beside", "shared")
#: What protobuf can write at most, less some room for the graph.
_LIMIT = 2**31 - 2**24
#: Tensors from this size on go into a file of weights, each at a page boundary so that it can be mapped.
_LARGE, _PAGE = 1024, 4096


def read(tensor: onnx.TensorProto, folder: Path | None) -> None:
    """Reads an external tensor into the model.

    Raises:
        ModelError: If its file is missing.
    """
    try:
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder or ""))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"The weights of {tensor.name!r} are not beside the model: {error}.") from error
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def check_place(place: str) -> None:
    """Checks where weights shall go.

    Raises:
        ParameterError: If it is none of the ``PLACES``.
    """
    if place not in PLACES:
        raise ParameterError(f"weights={place!r}: expected one of {PLACES}.")


def write_model(
    proto: onnx.ModelProto, path: str | os.PathLike[str], place: str, folder: Path | None
) -> None:
    """Writes a model with its weights in one of the ``PLACES``.

    Args:
        proto: The model; changed in place.
        path: The file to write.
        place: Where its weights go; see ``Attribution.export``.
        folder: Where its external tensors are now.

    Raises:
        ParameterError: If a file cannot be written, or the weights cannot be where they shall.
    """
    external = [t for t in proto.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    size = proto.ByteSize() + sum(_length(tensor, folder) for tensor in external)
    outside = [
        t for t in external if not (folder and _is_within(folder / _entry(t, "location"), Path(path).parent))
    ]
    if place == "auto":
        place = "shared" if external and not outside else "inside" if size < _LIMIT else "beside"
    if place == "shared" and (outside or not external):
        raise ParameterError(
            "weights='shared': the model's external data must lie in the folder of the file to write, or below it"
            + (
                f"; {_entry(outside[0], 'location')!r} of {folder} does not."
                if outside
                else ", and it has none."
            )
        )
    if place == "inside" and size >= _LIMIT:
        raise ParameterError(
            f"weights='inside': {size} bytes are too many for one file; take weights='beside'."
        )
    if place == "shared":
        for tensor in external:
            location = (folder or Path()) / _entry(tensor, "location")
            _set_entry(tensor, "location", os.path.relpath(location, Path(path).parent))
        write(proto, path)
    elif place == "inside":
        for tensor in external:
            read(tensor, folder)
        write(proto, path)
    else:
        _write_beside(proto, Path(path), folder)


def _write_beside(proto: onnx.ModelProto, path: Path, folder: Path | None) -> None:
    """Writes the large tensors of a model into ``<path>.data``, one after the other, then the model."""
    data = path.with_name(path.name + ".data")
    # Neither gets its name before both are whole.
    with whole_file(path) as model_file, whole_file(data) as file:
        for tensor in proto.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                read(tensor, folder)
            if tensor.ByteSize() < _LARGE:
                continue
            raw = onnx.numpy_helper.to_array(tensor).tobytes() if not tensor.raw_data else tensor.raw_data
            file.write(b"\0" * (-file.tell() % _PAGE))
            offset = file.tell()
            file.write(raw)
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(field)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", data.name), ("offset", offset), ("length", len(raw))):
                _set_entry(tensor, key, str(value))
        onnx.save(proto, model_file)


def _length(tensor: onnx.TensorProto, folder: Path | None) -> int:
    length = _entry(tensor, "length")
    if length:
        return int(length)
    try:
        return ((folder or Path()) / _entry(tensor, "location")).stat().st_size
    except OSError as error:
        raise ModelError(f"The weights of {tensor.name!r} are not beside the model: {error}.") from error


def _is_within(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def _entry(tensor: onnx.TensorProto, key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def _set_entry(tensor: onnx.TensorProto, key: str, value: str) -> None:
    kept = [entry for entry in tensor.external_data if entry.key != key]
    del tensor.external_data[:]
    tensor.external_data.extend([*kept, onnx.StringStringEntryProto(key=key, value=value)])
