"""Where a model's weights are: inside the file, or beside it in files of their own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import onnx

from onnxattr.errors import ModelError, ParameterError
from onnxattr.files import (
    AnyPath,
    check_output,
    claim,
    destination,
    is_stream,
    locked,
    temporary_file,
    whole_file,
)
from onnxattr.home import at_home
from onnxattr.loading.reading.external_data import entry, read, set_entry
from onnxattr.loading.reading.own_data import digest_of, forget_data, note_data
from onnxattr.loading.weights.data_file import DataFile, own_data_of
from onnxattr.signals import stopped_tidily

PLACES = ("auto", "inside", "beside", "shared")
#: What protobuf can write at most, less some room for the graph.
_LIMIT = 2**31 - 2**24


def check_place(place: str) -> None:
    """Checks where weights shall go.

    Raises:
        ParameterError: If it is none of the ``PLACES``.
    """
    if place not in PLACES:
        raise ParameterError(f"weights={place!r}: expected one of {PLACES}.")


def write_model(
    proto: onnx.ModelProto,
    path: AnyPath,
    place: str,
    folder: Path | None,
    reads: Iterable[AnyPath] = (),
    check: Callable[[Path], bytes | None] | None = None,
) -> None:
    """Writes a model with its weights in one of the ``PLACES``.

    Args:
        proto: The model; changed in place.
        path: The file to write.
        place: Where its weights go; see ``Attribution.export``.
        folder: Where its external tensors are now.
        reads: Files that must not be written, because the model is read from them.
        check: What looks at the file, with its weights where they belong, before it gets its name, and tells what is to
            be added at its end.

    Raises:
        ParameterError: If a file cannot be written, or the weights cannot be where they shall.
    """
    check_output(path, reads)
    path = at_home(path)
    forget_data(proto)
    external = [t for t in proto.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    size = proto.ByteSize() + sum(int(entry(tensor, "length")) for tensor in external)
    home = destination(path).parent
    outside = [t for t in external if not _file_of(t, folder).is_relative_to(home)]
    if place == "auto":
        place = "shared" if external and not outside else "inside" if size < _LIMIT else "beside"
    if place == "shared" and (outside or not external):
        raise ParameterError(
            "weights='shared': the model's external data must lie in the folder of the file to write, or below it"
            + (f"; {_file_of(outside[0], folder)} is not in {home}." if outside else ", and it has none.")
        )
    if place == "inside" and size >= _LIMIT:
        raise ParameterError(
            f"weights='inside': {size} bytes are too many for one file; take weights='beside'."
        )
    if place != "inside":
        check_beside(path)
    if place == "shared":
        for tensor in external:
            set_entry(tensor, "location", _file_of(tensor, folder).relative_to(home).as_posix())
        write(proto, path, check)
    elif place == "inside":
        for tensor in external:
            read(tensor, folder)
        write(proto, path, check)
    else:
        # Two exports to one path would both replace the file of before, and leave the data of the other.
        with stopped_tidily(), locked(home):
            _write_beside(proto, path, folder, check)


def write(proto: onnx.ModelProto, path: AnyPath, check: Callable[[Path], bytes | None] | None = None) -> None:
    """Writes a model.

    Args:
        proto: The model.
        path: The file to write.
        check: What looks at the file before it gets its name, and tells what is to be added at its end; what it raises
            leaves no file.

    Raises:
        ParameterError: If the file cannot be written.
        ModelError: If the model is too large or too deep for one file.
    """
    with checked_file(proto, path, check):
        pass


@contextlib.contextmanager
def checked_file(
    proto: onnx.ModelProto, path: AnyPath, check: Callable[[Path], bytes | None] | None = None
) -> Iterator[None]:
    """Writes a model, whose file gets its name at the end; the arguments and errors are those of ``write``."""
    with whole_file(path) as file:
        try:
            data = proto.SerializeToString()
        except Exception as error:
            raise ModelError(
                f"The model cannot be written as one file: {error}. A model above 2 GiB needs weights='beside'."
            ) from error
        file.write(data)
        if check is not None:
            file.flush()
            file.write(check(Path(file.name)) or b"")
        file.flush()  # a full disk is noticed before any of several files has its name
        yield


def check_beside(path: AnyPath) -> None:
    """Refuses a path beside which there can be no data, since runtimes look for it beside the name that they open.

    Raises:
        ParameterError: If it is a device, a FIFO, or a link into another folder.
    """
    final = destination(path)
    if os.path.realpath(os.path.dirname(path) or ".") != str(final.parent) or is_stream(path):
        raise ParameterError(
            f"{os.fspath(path)!r} is a link into another folder, a device or a FIFO, which has no data beside it. "
            "Give the file itself, or take weights='inside'."
        )


def _write_beside(
    proto: onnx.ModelProto, path: AnyPath, folder: Path | None, check: Callable[[Path], bytes | None] | None
) -> None:
    """Writes the large tensors of a model into a data file of their own, one after the other, then the model.

    The data file has the first of the names <path>.data, <path>.1.data, ... that no file has: data that a model reads,
    the one that is replaced or another, is never written over. What belongs to the replaced model alone goes last.
    """
    final = destination(path)
    try:
        final.name.encode()
    except UnicodeEncodeError as error:
        raise ParameterError(
            f"{os.fspath(path)!r} has bytes in its name that are not UTF-8, and a model cannot name such data. "
            "Give another name, or take weights='inside'."
        ) from error
    names = [
        final.with_name(f"{final.name}{number}.data") for number in ("", *(f".{k}" for k in range(1, 1000)))
    ]
    if not os.path.lexists(names[0]):
        check_output(names[0])
    own, before = own_data_of(final), _identity(final)
    replaced = {name: _identity(name) for name in names if name.name == own}
    try:
        with temporary_file(final.parent) as file:
            tensors = DataFile(file).take(proto, folder)
            file.flush()
            digest = digest_of(Path(file.name))
            data = claim(file.name, names)
    except OSError as error:
        raise ParameterError(
            f"{names[0]} cannot be written: {error}. Make room, or give another folder."
        ) from error
    try:
        for tensor in tensors:
            set_entry(tensor, "location", data.name)
        note_data(proto, data.name, digest)
        write(proto, path, check)
    finally:
        # Ctrl-C may come when the model that reads the data has its name already.
        unread = {data: _identity(data)} if _identity(final) == before else replaced
        for name, identity in unread.items():
            with contextlib.suppress(OSError):
                # Another export may have taken the name meanwhile, after it removed the old file.
                if _identity(name) == identity:
                    name.unlink()


def _identity(path: Path) -> tuple[int, ...] | None:
    """What tells a file from a later one of the same name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _file_of(tensor: onnx.TensorProto, folder: Path | None) -> Path:
    return Path(os.path.realpath((folder or Path()) / entry(tensor, "location")))
