"""Writes files so that nothing is lost: checked before the work, whole under their final name, or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from onnxattr.errors import NoSpaceError, ParameterError
from onnxattr.home import at_home
from onnxattr.signals import stopped_tidily

AnyPath = str | os.PathLike[str]
#: How long a FIFO is waited for until something reads from it, in seconds.
_PATIENCE = 10.0


def check_output(path: AnyPath, reads: Iterable[AnyPath] = ()) -> None:
    """Checks that a file can be written, before the work that its content takes.

    Args:
        path: The file to write. A link is written through, as are devices and FIFOs.
        reads: Files that are being read, and so must not be written.

    Raises:
        ParameterError: If it is one of those, a folder, in no folder, or not to be written.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise ParameterError(
            f"The file to write was given as {type(path).__name__}; expected its path. The bytes of an explainer's "
            "file are explainer().SerializeToString()."
        )
    path = at_home(path)
    try:
        if not os.fspath(path):
            raise OSError("the name is empty")
        if os.fspath(path) in ("-", b"-"):
            raise OSError("files are not written to the standard output; ./- would be a file of that name")
        found = _status(path)
        if found is None or stat.S_ISREG(found.st_mode):
            _check_folder(path)
        elif stat.S_ISDIR(found.st_mode):
            raise OSError("it is a folder")
        if found is not None and not os.access(path, os.W_OK):
            raise OSError("it is read-only")
    except (OSError, ValueError) as error:
        raise _cannot(path, error) from error
    if found is not None and stat.S_ISREG(found.st_mode):
        for read in map(at_home, reads):
            if os.path.exists(read) and os.path.samestat(found, os.stat(read)):
                same = "" if os.fspath(read) == os.fspath(path) else f" (it is {os.fspath(read)})"
                raise ParameterError(
                    f"{os.fspath(path)} is a file that is being read{same}; writing would destroy it. "
                    "Give another name."
                )


def _status(path: AnyPath) -> os.stat_result | None:
    """The status of a file or of what it links to; None if there is none."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _check_folder(path: AnyPath) -> None:
    """Checks that a new file can be made where a file shall be."""
    final = destination(path)
    if os.fspath(path).endswith(os.sep):
        raise OSError("it ends as the name of a folder does")
    if not final.parent.is_dir():
        raise OSError(f"there is no folder {final.parent}")
    if not os.access(final.parent, os.W_OK | os.X_OK):
        raise OSError(f"the folder {final.parent} is read-only")


def destination(path: AnyPath) -> Path:
    """The file itself, where the path is a link to it."""
    return Path(os.path.realpath(at_home(path)))


def is_stream(path: AnyPath) -> bool:
    """Whether a path is a device, a FIFO, a socket, or one of the process's own open files: all are written to."""
    path = at_home(path)
    found = _status(path)
    if found is not None and not stat.S_ISREG(found.st_mode):
        return True
    folder = os.path.realpath(os.path.dirname(path) or ".")
    return found is not None and (folder == "/dev" or folder.startswith("/proc/"))


def _cannot(path: AnyPath, error: Exception) -> ParameterError:
    reason = getattr(error, "strerror", None) or error
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError(
            f"{os.fspath(path)!r} cannot be written: {reason}. Make room, or give another place."
        )
    return ParameterError(
        f"{os.fspath(path)!r} cannot be written: {reason}. Give the path of a file in a folder that can be written to."
    )


@contextlib.contextmanager
def whole_file(path: AnyPath) -> Iterator[BinaryIO]:
    """Opens a file that gets its name when it is whole; what had the name before stays until then.

    A device or FIFO is written to when the content is whole. Nothing else is left behind, be it by an error, Ctrl-C or
    SIGTERM (in the main thread of a program that has no handler of its own); SIGKILL leaves ``.onnxattr-*.part``.

    Raises:
        ParameterError: If the file cannot be written.
    """
    check_output(path)
    path = at_home(path)
    try:
        if is_stream(path):
            # Checks read it by its name.
            with tempfile.NamedTemporaryFile() as file:
                yield cast(BinaryIO, file)
                file.seek(0)
                with _opened(path) as stream:
                    shutil.copyfileobj(file, stream)
            return
        final = destination(path)
        with temporary_file(final.parent) as file:
            yield file
            file.flush()
            if final.exists():
                os.chmod(file.name, stat.S_IMODE(final.stat().st_mode) & 0o777)
            os.replace(file.name, final)
    except OSError as error:
        # NumPy gives no number with the error of a write that fell short.
        full = error if error.errno else OSError(errno.ENOSPC, f"No space left on device ({error})")
        raise _cannot(path, full) from error


@contextlib.contextmanager
def made_folder(folder: AnyPath) -> Iterator[Path]:
    """A folder, made where it is not there; what was made is removed again after an error, as far as it is empty.

    Ctrl-C, and SIGTERM as ``whole_file`` takes it, are such errors.

    Raises:
        ParameterError: If it cannot be made, or is a file.
    """
    path = Path(at_home(folder))
    missing = [each for each in (path, *path.parents) if not each.exists()]
    with stopped_tidily(), _removed_after_errors(missing):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParameterError(f"{folder} cannot be made: {error}. Give the path of a folder.") from error
        yield path


@contextlib.contextmanager
def _removed_after_errors(folders: Iterable[Path]) -> Iterator[None]:
    """Removes folders, inner ones first, after an error, as far as they are empty."""
    try:
        yield
    except BaseException:
        for made in folders:
            with contextlib.suppress(OSError):
                made.rmdir()
        raise


@contextlib.contextmanager
def locked(path: AnyPath, shared: bool = False) -> Iterator[None]:
    """Holds a lock on a file or folder, where the system has such locks; waits until no other thread or process has it.

    The system releases it however the process ends.

    Args:
        path: The file or folder.
        shared: Whether others may hold a shared lock at the same time.
    """
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        # A folder that takes new files need not be readable.
        yield
        return
    try:
        # Some file systems of networks have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def temporary_file(folder: Path) -> Iterator[BinaryIO]:
    """A new file in a folder, removed at the end unless it was renamed; its mode is that of any new file."""
    name = folder / f".onnxattr-{secrets.token_hex(8)}.part"
    with stopped_tidily():
        try:
            with open(name, "xb") as file:
                yield file
        finally:
            with contextlib.suppress(OSError):
                name.unlink(missing_ok=True)


def claim(temporary: AnyPath, names: Iterable[Path]) -> Path:
    """Gives a file the first of the names that no file has.

    Raises:
        OSError: If it cannot get the name.
    """
    for name in names:
        try:
            # A link, unlike a rename, never replaces a file.
            os.link(temporary, name)
        except FileExistsError:
            continue
        except OSError:
            if name.exists():
                continue
            os.rename(temporary, name)
        return name
    raise FileExistsError("all names are taken")


def _opened(path: AnyPath) -> BinaryIO:
    """Opens a device or FIFO; a FIFO that nothing reads from would block for ever."""
    status = os.stat(path)
    if not stat.S_ISFIFO(status.st_mode):
        return open(path, "wb")
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if time.monotonic() > end:
                raise OSError(
                    error.errno, f"nothing has read from this FIFO for {_PATIENCE:.0f} s"
                ) from error
            time.sleep(0.02)
        else:
            os.set_blocking(descriptor, True)
            return os.fdopen(descriptor, "wb")
