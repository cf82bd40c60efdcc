"""onnxattr explain ... -o folder/: one output file for each input file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxattr.bulk.job import ENGINES, Report, explain_folder
from onnxattr.cli.inputs_given import input_of
from onnxattr.cli.method_options import is_integer
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.files import is_stream

_LISTED = 5


class FailedFilesError(ShapeError):
    """Some files of a job could not be explained; ``lines`` says which and why, each path once."""

    def __init__(self, message: str, failed: Mapping[Path, str]):
        lines = [why if why.startswith(str(path)) else f"{path}: {why}" for path, why in failed.items()]
        more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        self.lines = [*lines[:_LISTED], *more]
        super().__init__(message)


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the options of jobs over folders."""
    job = parser.add_argument_group("jobs over folders, -o out/")
    job.add_argument(
        "--form", help="suffix of what is written of files that are not Parquet, such as .npz or .json"
    )
    job.add_argument(
        "--column", help="the column of Parquet files that is explained: arrays, tensors or pictures"
    )
    job.add_argument("--target-column", help="the column of Parquet files that holds labels")
    job.add_argument("--keep", help="columns of Parquet files to write too, with commas between, or all; those that "
                     "are not explained unless given")  # fmt: skip
    job.add_argument("--chunk", type=int, help="samples of one run; 64 unless given")
    job.add_argument(
        "--engine", choices=ENGINES, help="ray: Ray actors, which are started again when they die"
    )
    job.add_argument("--address", help="address of a Ray cluster; this machine unless given")
    job.add_argument("--overwrite", action="store_true", help="write files anew that are there already")


_JOB_ONLY = ("form", "column", "target_column", "keep", "chunk", "engine", "address")


def is_job(options: argparse.Namespace) -> bool:
    """Whether the output is a folder.

    Raises:
        ParameterError: If it is not, and options of jobs are given.
    """
    out = options.output
    folder = out is not None and (
        out.endswith(("/", os.sep)) or (os.path.isdir(out) and not is_stream(out)) or out in (".", "..")
    )
    given = [name for name in _JOB_ONLY if getattr(options, name) is not None]
    given += ["overwrite"] if options.overwrite else []
    if given and not folder:
        told = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ParameterError(f"{told}: for jobs over folders; give a folder to write to, -o out/.")
    if folder and (named := next((text for text in options.inputs if input_of(text)), None)):
        raise ParameterError(
            f"-o {out} is a folder, and jobs take files of the only input, or .npz files of several: for {named} give "
            "a file to write to."
        )
    if folder and any(given is not None for given in (options.picture, options.sample, options.row)):
        raise ParameterError(
            f"-o {out} is a folder: --form .png writes pictures; leave out --picture and --sample."
        )
    return bool(folder)


def run(options: argparse.Namespace, method: Any) -> str:
    """Runs the job; what is told of it.

    Raises:
        FailedFilesError: If some files could not be explained. The others are done.
    """
    targets = options.targets
    given = {
        name: getattr(options, name)
        for name in ("chunk", "engine", "seed")
        if getattr(options, name) is not None
    }
    if options.keep is not None:
        given["keep"] = "all" if options.keep == "all" else options.keep.split(",")
    try:
        report = explain_folder(
            method, options.inputs, options.output, form=options.form, column=options.column,
            target_column=options.target_column, address=options.address, overwrite=options.overwrite,
            targets=int(targets) if targets is not None and is_integer(targets) else targets, **given,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt("run the command again to go on; what is done is skipped") from None
    told = _told(report, options.output)
    if report.failed:
        raise FailedFilesError(
            f"{told}; {len(report.failed)} files could not be explained. Mend or remove them and run the command "
            "again; what is done is skipped:",
            report.failed,
        )
    return told


def _told(report: Report, out: str) -> str:
    text = f"explained {report.samples} samples; wrote {len(report.written)} files to {out}"
    return text + (f", skipped {len(report.skipped)} that were there" if report.skipped else "")


@contextmanager
def said_of_jobs(files: Sequence[object]) -> Iterator[None]:
    """Says of one of several files that cannot be read that a job does the others."""
    try:
        yield
    except ShapeError as error:
        if len(files) < 2 or " cannot be read as " not in str(error):
            raise
        raise ShapeError(
            f"{error} With -o FOLDER/ the other files are explained, and this one is listed."
        ) from error
