"""A job over folders: one output file for each input file, whole or not there, so that it resumes where it ended."""

from __future__ import annotations

import contextlib
import itertools
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from onnxattr.bulk.mapping import CHUNK, check_chunk, check_rows
from onnxattr.bulk.signature import signed
from onnxattr.bulk.work import Task, Worker, tasks_of
from onnxattr.errors import NoSpaceError, ParameterError
from onnxattr.files import AnyPath
from onnxattr.home import at_home
from onnxattr.results.writing import SUFFIXES
from onnxattr.running.progress import hidden

ENGINES = ("plain", "ray")


@dataclass
class Report:
    """What a job did.

    Attributes:
        written: Output files of this run.
        skipped: Output files that were there already.
        failed: By input file what was wrong with it; the other files are done.
        samples: How many samples were explained in this run.
    """

    written: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    samples: int = 0

    def add(self, task: Task, samples: int, wrong: str | None) -> None:
        """Notes what became of a file: how many samples were explained, or what was wrong with it."""
        if wrong is None:
            self.written.append(task.target)
            self.samples += samples
        else:
            self.failed[task.source] = wrong


def explain_folder(
    explainer: Any,
    inputs: AnyPath | Iterable[AnyPath],
    out: AnyPath,
    *,
    form: str | None = None,
    column: str | Mapping[str, str] | None = None,
    targets: int | str | None = None,
    target_column: str | None = None,
    keep: str | Sequence[str] = "others",
    chunk: int = CHUNK,
    seed: int | None = None,
    engine: str = "plain",
    address: str | None = None,
    overwrite: bool = False,
    check_finite: str = "warn",
    progress: bool | None = None,
) -> Report:
    """Explains all files of folders, those of folders inside too, into a folder of the same structure.

    Each output file appears under its name when it is whole. A file whose output is there already and not older than
    the file itself is skipped, so a job that was ended, by whatever, goes on where it was when it is started again.
    ``out`` remembers the explainer and the parameters in ``.onnxattr-job.json``; others are refused there, and so are
    outputs without it.

    Args:
        explainer: Path of an exported explainer; or a method, with the engine "plain".
        inputs: Folders or files: photos, sounds, .parquet, .csv, .npy, .npz.
        out: The folder to write to; made if it is missing. A Parquet file becomes a Parquet file, see ``Mapper``;
            a photo a picture, name.why.png; a sound .npz; others keep their suffix.
        form: Another suffix for what is written of files that are not Parquet: ".npy", ".npz", ".csv", ".json",
            ".html", ".png", ".svg" or ".pdf".
        column: The column that is explained in Parquet files; see ``Mapper``.
        targets: One label or class name for all samples; None for what the model gives most.
        target_column: The column of Parquet files that holds labels.
        keep: Which other columns of Parquet files are written too; see ``Mapper``.
        chunk: Rows that are explained in one run.
        seed: Seed of the noise of an explainer's file; None for the one that its method had. A method has its own.
        engine: "plain": this process; "ray": Ray actors, which are started again when they die.
        address: Address of a Ray cluster, whose machines see the same paths; None for this machine.
        overwrite: Whether files that are there are written anew.
        check_finite: "warn", "error" or "ignore" results that are NaN or infinite.
        progress: Whether a bar shows files and the rate; None for terminals alone.

    Returns:
        What was done. Files that cannot be read do not end the job; they are listed in ``failed``.

    Raises:
        ParameterError: If ``out`` belongs to another job or would be written over the inputs; or an engine, form or
            option is unknown.
        ModelError: If the explainer is missing or damaged.
        ShapeError: If there are no input files.
        NoSpaceError: If the disk is full; what was written before is kept.
        RuntimeMissingError: If Ray, or what reads the files, is not installed.
    """
    _check(explainer, form, engine, address)
    check_chunk(chunk)
    check_rows(targets, keep)
    tasks = tasks_of(inputs, out, form)
    options = {"targets": targets, "keep": keep, "seed": seed, "chunk": chunk, "check_finite": check_finite}
    worker = Worker(explainer, column, target_column, options)
    worker.check(tasks)
    folder = _made(out)
    parameters = {"form": form, "column": column, "target_column": target_column} | {
        name: options[name] for name in ("targets", "keep", "chunk")
    }
    parameters["seed"] = getattr(worker.method, "seed", 0) if seed is None else seed
    run = _plain if engine == "plain" else _ray(address)
    with signed(folder, worker.method, parameters, overwrite, tasks) as there:
        done = list(itertools.compress(tasks, there))
        todo = list(itertools.compress(tasks, map(operator.not_, there)))
        report = Report(skipped=[task.target for task in done])
        bar = tqdm(total=len(tasks), initial=len(done), unit="file", disable=hidden(progress))
        with bar, _until_full(report, len(tasks)):
            for task, samples, wrong in run(worker, todo):
                report.add(task, samples, wrong)
                bar.update()
                rate = report.samples / max(bar.format_dict["elapsed"], 1e-9)
                bar.set_postfix_str(f"{report.samples} samples, {rate:.3g}/s")
    return report


@contextlib.contextmanager
def _until_full(report: Report, count: int) -> Iterator[None]:
    """Says how far a job came, where the disk is full."""
    try:
        yield
    except NoSpaceError as error:
        done = len(report.written) + len(report.skipped)
        raise NoSpaceError(
            f"{error} {done} of {count} files are done; the job goes on behind them when it is started again."
        ) from error


def _made(folder: AnyPath) -> Path:
    """A folder that exists from now on.

    Raises:
        ParameterError: If it cannot be made.
    """
    path = Path(at_home(folder))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{path} cannot be made: {error.strerror}. Give another folder.") from error
    return path


def _plain(worker: Worker, tasks: Sequence[Task]) -> Iterator[tuple[Task, int, str | None]]:
    for task in tasks:
        yield (task, *worker.run(task))


def _ray(address: str | None) -> Callable[[Worker, Sequence[Task]], Iterator[tuple[Task, int, str | None]]]:
    from onnxattr.bulk.ray_engine import run

    return lambda worker, tasks: run(worker, tasks, address)


def _check(explainer: Any, form: str | None, engine: str, address: str | None) -> None:
    if engine not in ENGINES:
        raise ParameterError(f"engine={engine!r}: expected one of {', '.join(map(repr, ENGINES))}.")
    if address is not None and engine != "ray":
        raise ParameterError(f"address={address!r} needs engine='ray'.")
    if engine == "ray" and not isinstance(explainer, (str, os.PathLike)):
        raise ParameterError("engine='ray' needs the path of an exported explainer: export the method first.")
    if form is not None and form not in SUFFIXES:
        raise ParameterError(f"form={form!r}: expected one of {', '.join(SUFFIXES)}.")
