"""What an output folder is of: the explainer and the parameters, so that results of two are never mixed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxattr.bulk.contents import contents
from onnxattr.bulk.work import Task
from onnxattr.errors import ParameterError
from onnxattr.files import locked, whole_file
from onnxattr.loading.meaning.text_files import text_of
from onnxattr.running.explainers.explainer import Explainer

NAME = ".onnxattr-job.json"
#: The entry of a folder that was taken over: outputs that are older than this file are those of another job.
_TAKEN_OVER = "taken_over"
#: The entry that names the machine on which a job runs, where another job sees whether it still does.
_HOST = "host"
_LISTED = 3
_LARGEST = 2**26
#: Letters of an entry that are shown.
_SHOWN = 100


@contextlib.contextmanager
def signed(
    folder: Path, method: Any, parameters: Mapping[str, Any], overwrite: bool, tasks: Sequence[Task]
) -> Iterator[list[bool]]:
    """Writes what a folder is of while a job runs, or checks that it is of the same; forgets it where nothing came.

    A job of something else that was killed before it wrote anything is no obstacle.

    Args:
        folder: The folder.
        method: The explainer or method.
        parameters: What else results depend on.
        overwrite: Whether a folder of something else is taken over.
        tasks: The files of the job.

    Yields:
        For each task whether its output is there already.

    Raises:
        ParameterError: If the folder is of something else, or outputs are there and nothing says of what they are.
    """
    mine, path = _signature(method, parameters), folder / NAME
    with contextlib.ExitStack() as held:
        with locked(folder):  # two jobs that start at once are told apart
            kept, taken_over = _kept(path, overwrite)
            if not overwrite:
                _check_same(folder, kept, mine, tasks)
            elif kept != mine:
                taken_over = path.exists() or any(task.target.exists() for task in tasks)
            if kept != mine:
                with whole_file(path) as file:
                    more = {_HOST: platform.node()} | ({_TAKEN_OVER: True} if taken_over else {})
                    file.write((json.dumps(mine | more, indent=1) + "\n").encode())
            since = path.stat().st_mtime_ns if taken_over else 0
            held.enter_context(locked(path, shared=True))
        try:
            yield [not overwrite and task.is_done(since) for task in tasks]
        finally:
            held.close()
            with locked(folder):
                nothing = not any(task.target.exists() for task in tasks)
                if nothing and not _runs(path):  # corrected options are another job
                    path.unlink(missing_ok=True)


def _runs(path: Path) -> bool | None:
    """Whether a job of a file runs on this machine; None where the system does not tell."""
    try:
        import fcntl

        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return None
    return False


def _left_nothing(folder: Path) -> bool:
    """Whether the job of a folder was ended on this machine and has written no file, as far as the system tells."""
    path = folder / NAME
    if any(not name.startswith(".") for _, _, files in os.walk(folder) for name in files):
        return False
    here = json.loads(text_of(path, _LARGEST)).get(_HOST) == platform.node()
    return here and _runs(path) is False  # locks of another machine may not be seen


def _kept(path: Path, overwrite: bool) -> tuple[dict[str, Any] | None, bool]:
    """What the folder says that it is of, None if it does not; and whether it was taken over.

    Raises:
        ParameterError: If the file is damaged, and is not to be written anew.
    """
    try:
        found = json.loads(text_of(path, _LARGEST)) if os.path.lexists(path) else None
        if found is not None and not isinstance(found, dict):
            raise ValueError("it holds no object")
    except (ValueError, OSError, RecursionError) as error:
        if not overwrite:
            raise ParameterError(
                f"{path} is damaged ({error}); give another folder, or --overwrite."
            ) from error
        return None, False
    if found is not None:
        found.pop(_HOST, None)
    return found, found is not None and found.pop(_TAKEN_OVER, False) is True


def _check_same(
    folder: Path, kept: dict[str, Any] | None, mine: dict[str, Any], tasks: Sequence[Task]
) -> None:
    """Refuses a folder of another job, and outputs that no job says it has written.

    Raises:
        ParameterError: If it is one, or there are some.
    """
    instead = "Give another folder, or write all files anew with --overwrite (overwrite=True)."
    if kept is None:
        there = [task.target.name for task in tasks if task.target.exists()]
        if there:
            few = ", ".join(there[:_LISTED]) + (", ..." if len(there) > _LISTED else "")
            raise ParameterError(
                f"{folder} holds {few} already, and no {NAME}, which would say what job wrote them. {instead}"
            )
        return
    if kept != mine and not _left_nothing(folder):
        odd = next((key for key in mine if kept.get(key) != mine[key]), "version")
        was, now = _apart(repr(kept.get(odd)), repr(mine.get(odd)))
        raise ParameterError(
            f"{folder} holds results of another job: its {odd} was {was}, and is {now} now. {instead}"
        )


def _apart(was: str, now: str) -> tuple[str, str]:
    """Two texts, cut to a part with their first difference where one is long."""
    if max(len(was), len(now)) <= _SHOWN:
        return was, now
    same = next(
        (k for k, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now))
    )
    start = max(same - _SHOWN // 2, 0)
    ends = "..." * (start > 0), start + _SHOWN
    first, second = (ends[0] + text[start : ends[1]] + "..." * (len(text) > ends[1]) for text in (was, now))
    return first, second


def _signature(method: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    told = method.name if isinstance(method, Explainer) else repr(method)
    entries = {
        "method": told,
        "model": [_digest(path) for path in method.files],
        **parameters,
        "contents": contents(method),
    }
    found: dict[str, Any] = json.loads(json.dumps(entries, default=str))
    return found


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
