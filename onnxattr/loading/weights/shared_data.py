"""Several models beside one data file, in which their common weights stand once."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx

from onnxattr.errors import ParameterError
from onnxattr.files import AnyPath, check_output, locked, temporary_file
from onnxattr.loading.reading.external_data import set_entry
from onnxattr.loading.reading.own_data import digest_of, note_data
from onnxattr.loading.weights.data_file import DataFile, own_data_of
from onnxattr.loading.weights.files import check_beside, checked_file
from onnxattr.signals import stopped_tidily, undisturbed

#: The name of a data file holds its content's checksum: a model never finds the data of another under its own's name.
_NAME = "weights-{}.data"
_OURS = re.compile(r"weights-[0-9a-f]{16}\.data")


@dataclass(frozen=True)
class Member:
    """One of the models.

    Attributes:
        path: The file to write; all are in one folder.
        make: Makes the model.
        folder: Where its external tensors are.
        check: What looks at the file, with its weights where they belong, before it gets its name, and tells what is to
            be added at its end.
    """

    path: Path
    make: Callable[[], onnx.ModelProto]
    folder: Path | None
    check: Callable[[onnx.ModelProto, Path], bytes]


def check_members(paths: Sequence[Path], reads: Collection[AnyPath]) -> None:
    """Checks that the files can be written, before the work; the errors are those of ``check_output``.

    Raises:
        ParameterError: Also if one is a link into another folder, a device or a FIFO, which has no data beside it.
    """
    for path in paths:
        check_output(path, reads)
        check_beside(path)


def write_together(members: Sequence[Member], reads: Collection[AnyPath] = ()) -> None:
    """Writes models and the data file ``weights-<first 16 digits of its SHA-256>.data`` that they read.

    All models are made, written under temporary names and looked at before the first one gets its name. Since the name
    of the data file tells its content, files of before go on reading theirs until they are replaced; then the data that
    no file of the folder names any more is removed. Without large weights there is no data file.

    Args:
        members: The models.
        reads: Files that models are read from, which stay.

    Raises:
        ParameterError: If a file cannot be written.
    """
    check_members([member.path for member in members], reads)
    folder = members[0].path.parent
    with stopped_tidily(), locked(folder):
        replaced = {own_data_of(member.path) for member in members}
        with _data_file(folder, members) as (protos, data), contextlib.ExitStack() as files:
            for member, proto in zip(members, protos, strict=True):
                files.enter_context(checked_file(proto, member.path, partial(member.check, proto)))
            with undisturbed():
                files.close()
                _remove(replaced - {"" if data is None else data.name}, folder, reads)


def _remove(names: Iterable[str], folder: Path, reads: Iterable[AnyPath]) -> None:
    """Removes data files that no model of a folder names any more, but none that is read from."""
    kept = {os.path.realpath(read) for read in reads}
    for name in names:
        old = folder / name
        if _OURS.fullmatch(name) and os.path.realpath(old) not in kept and not _named(name, folder):
            with contextlib.suppress(OSError):
                old.unlink()


@contextlib.contextmanager
def _data_file(
    folder: Path, members: Sequence[Member]
) -> Iterator[tuple[list[onnx.ModelProto], Path | None]]:
    """Makes the models and the data file that they read; it is removed again if they are not written."""
    data = None
    try:
        with temporary_file(folder) as file:
            content, protos, moved = DataFile(file), [], []
            for member in members:
                proto = member.make()
                moved.append(content.take(proto, member.folder))
                protos.append(proto)
            file.flush()
            if not content.empty:
                digest = digest_of(Path(file.name))
                data = folder / _NAME.format(digest[:16])
                new = not data.exists()
                # Sessions may have the file mapped, which is replaced only if it is damaged.
                if new or digest_of(data) != digest:
                    os.replace(file.name, data)
    except OSError as error:
        raise ParameterError(
            f"The weights cannot be written into {folder}: {error}. Make room, or give another folder."
        ) from error
    if data is None:
        yield protos, None
        return
    try:
        for proto, tensors in zip(protos, moved, strict=True):
            for tensor in tensors:
                set_entry(tensor, "location", data.name)
            if tensors:
                note_data(proto, data.name, digest)
        yield protos, data
    except BaseException:
        if new and not any(own_data_of(member.path) == data.name for member in members):
            data.unlink(missing_ok=True)
        raise


def _named(data: str, folder: Path) -> bool:
    """Whether a model of a folder names a data file."""
    for path in folder.glob("*.onnx"):
        # An empty file cannot be mapped.
        with (
            contextlib.suppress(OSError, ValueError),
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            if content.find(data.encode()) >= 0:
                return True
    return False
