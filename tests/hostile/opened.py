"""Opens files each in a process of its own, with limits of memory and time, and tells what became of each.

A server does the slow imports and forks a child for each file, so that importing TensorFlow is paid once. It lives as
long as the process that started it, and serves all files that want the same imports.
"""

import atexit
import functools
import gc
import hashlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        path: The file.
        kind: "opened"; "refused" by an OnnxAttrError, or by exit status 2 of the command line; "raw" for any other
            exception; "hung" if it was killed after the time limit; "died" if the process ended by a signal.
        message: Of the error; the end of what was printed if there was none.
        seconds: Wall-clock time.
        megabytes: By which the resident memory grew at its peak.
    """

    path: str
    kind: str
    message: str
    seconds: float
    megabytes: float

    @property
    def harmless(self) -> bool:
        """Whether it was opened or refused in words; the canary is looked at apart from this."""
        return self.kind in ("opened", "refused")


def open_each(
    paths: Iterable[os.PathLike[str] | str],
    action: str,
    *,
    imports: str = "import onnxattr",
    seconds: float = 30,
    megabytes: int = 3072,
    folder: os.PathLike[str] | str = ".",
    environment: dict[str, str] | None = None,
) -> list[Outcome]:
    """Run `action` on each file.

    Args:
        paths: The files; made absolute.
        action: Python source that is executed with `path` (str) and what `imports` defined. For the command line:
            ``raise SystemExit(onnxattr.cli.main(["inspect", path]))``.
        imports: Python source executed once, before the first file.
        seconds: Limit per file, after which its process is killed ("hung").
        megabytes: Address space that each may take on top of what the imports took.
        folder: Working directory: a canary folder, so that a file which is written beside is noticed.
        environment: Variables beside those of this process.
    """
    job = {
        "paths": [os.path.abspath(path) for path in paths],
        "action": action,
        "seconds": seconds,
        "megabytes": megabytes,
        "folder": os.path.abspath(folder),
    }
    server = _server(imports, tuple(sorted((environment or {}).items())))
    return [Outcome(**row) for row in server.ask(job, within=120 + seconds * len(job["paths"]))]


class _Server:
    """The process that forks a child for each file."""

    def __init__(self, imports: str, environment: dict[str, str]):
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        atexit.register(self._process.kill)
        self._send(imports)

    def ask(self, job: dict[str, Any], within: float) -> list[dict[str, Any]]:
        """The outcomes of one call of `open_each`."""
        self._send(job)
        ready, _, _ = select.select([self._process.stdout], [], [], within)
        answer = self._process.stdout.readline() if ready else b""  # type: ignore[union-attr]
        if not answer:
            self._process.kill()
            _server.cache_clear()
            self._said.seek(0)
            said = self._said.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"The imports failed: {said}" if ready else f"No answer in {within} s: {said}")
        return json.loads(answer)

    def _send(self, message: Any) -> None:
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            pass  # it has ended: there is no answer to read either


@functools.cache
def _server(imports: str, environment: tuple[tuple[str, str], ...]) -> _Server:
    return _Server(imports, dict(environment))


def fingerprint(folder: os.PathLike[str] | str) -> dict[str, str]:
    """Relative path -> kind, mode and SHA-256 of everything below a folder; equal before and after if nothing acted."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        status = path.lstat()
        content = "folder"
        if path.is_symlink():
            content = f"link to {os.readlink(path)}"
        elif path.is_file():
            content = _content(path)
        found[str(path.relative_to(folder))] = f"{status.st_mode:o} {content}"
    return found


def _content(path: Path) -> str:
    """The size and the SHA-256 of what is written in a file, with its places; what was never written reads as zeros."""
    digest, end = hashlib.sha256(), 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while end < size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # none up to the end
                break
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            digest.update(b"%d-%d" % (start, end))
            os.lseek(file.fileno(), start, os.SEEK_SET)
            for at in range(start, end, 1 << 20):
                digest.update(os.read(file.fileno(), min(1 << 20, end - at)))
    return f"{size} bytes {digest.hexdigest()}"


def _serve() -> None:
    """Does the imports of the first line that is read; answers each further one."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed is no answer
    names: dict[str, Any] = {}
    exec(json.loads(sys.stdin.readline()), names)
    # No child goes through what was imported, and so copies it, to look for garbage.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        outcomes = [_watched(path, job, names) for path in job["paths"]]
        answers.write(json.dumps([asdict(outcome) for outcome in outcomes]).encode() + b"\n")
        answers.flush()


def _watched(path: str, job: dict[str, Any], names: dict[str, Any]) -> Outcome:
    """Fork, run the action in the child, and wait for it no longer than is allowed."""
    begun = time.monotonic()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        os.chdir(job["folder"])
        os.setsid()
        _act(path, job, names, write)
    os.close(write)
    said, late = b"", False
    while True:
        ready, _, _ = select.select([read], [], [], max(0.0, begun + job["seconds"] - time.monotonic()))
        if not ready:
            late = True
            break
        part = os.read(read, 1 << 16)
        if not part:
            break
        said += part
    os.close(read)
    late = late or _outlives(child, begun + job["seconds"] + 1)
    if late:
        os.killpg(child, signal.SIGKILL)
    status = _ENDED.pop(child, None) or os.wait4(child, 0)[1:]
    # Read within the child: what the parent sees counts the memory that the child was forked with.
    answer = (
        json.loads(said) if said else {"kind": "died", "message": f"status {status[0]}", "megabytes": 0.0}
    )
    if late:
        answer |= {"kind": "hung", "message": f"not done after {job['seconds']} s"}
    return Outcome(path=path, seconds=round(time.monotonic() - begun, 2), **answer)


_ENDED: dict[int, tuple[int, Any]] = {}


def _outlives(child: int, until: float) -> bool:
    """Whether the process still runs at a time, although it has closed its pipe."""
    while time.monotonic() < until:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            _ENDED[child] = (status, usage)
            return False
        time.sleep(0.005)
    return True


def _act(path: str, job: dict[str, Any], names: dict[str, Any], pipe: int) -> None:
    """The child: never returns."""
    try:
        with tempfile.TemporaryFile() as printed:
            for stream in (1, 2):
                os.dup2(printed.fileno(), stream)
            before = _memory("VmRSS")
            limit = (_memory("VmSize") + job["megabytes"]) * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (int(limit), resource.RLIM_INFINITY))
            kind, message = _result(path, job["action"], names)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            sys.stdout.flush()
            sys.stderr.flush()
            printed.seek(0)
            shown = printed.read().decode(errors="replace")[-500:]
        answer = {"kind": kind, "message": message or shown, "megabytes": _memory("VmHWM") - before}
        os.write(pipe, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _result(path: str, action: str, names: dict[str, Any]) -> tuple[str, str]:
    from onnxattr.errors import OnnxAttrError

    try:
        exec(action, {**names, "path": path})
        return "opened", ""
    except OnnxAttrError as error:
        return "refused", f"{type(error).__name__}: {error}"[:2000]
    except SystemExit as error:
        return {0: ("opened", ""), None: ("opened", ""), 2: ("refused", "")}.get(
            error.code, ("raw", f"exit status {error.code}")
        )
    except BaseException as error:
        where = "".join(traceback.format_exception(error))[-1200:]
        return "raw", f"{type(error).__name__}: {error}"[:600] + "\n" + where


def _memory(field: str) -> float:
    """A field of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(field)


if __name__ == "__main__":
    _serve()
