"""One file of a job: where its output goes, whether it is done, and the work itself."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnxattr import plots
from onnxattr.bulk.mapping import Mapper
from onnxattr.errors import NoSpaceError, OnnxAttrError, ParameterError, ShapeError
from onnxattr.files import AnyPath, check_output, whole_file
from onnxattr.home import at_home
from onnxattr.inputs.parquet_rows import is_parquet
from onnxattr.inputs.paths import WRITTEN, is_input, kind_of, output_names
from onnxattr.inputs.pixels import pixel_input
from onnxattr.inputs.samples import read_samples
from onnxattr.results.arrow_tables import pyarrow_module
from onnxattr.results.writing import PICTURES, write
from onnxattr.running.explainers.explainer import load


@dataclass(frozen=True)
class Task:
    """An input file and its output file."""

    source: Path
    target: Path

    def is_done(self, since: int = 0) -> bool:
        """Whether the output is there and not older than the input, and than a time in nanoseconds."""
        try:
            return self.target.stat().st_mtime_ns >= max(self.source.stat().st_mtime_ns, since)
        except (FileNotFoundError, NotADirectoryError):
            return False


def tasks_of(inputs: AnyPath | Iterable[AnyPath], out: AnyPath, form: str | None) -> list[Task]:
    """Each input file with its output file, in the order of their names.

    Raises:
        ShapeError: If there is no input file, or one is of no known kind.
        ParameterError: If two outputs would have one name, or an output is an input.
    """
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    folder, found = Path(at_home(out)), []
    for path in map(Path, map(at_home, given)):
        if path.is_dir():
            found += [(file, file.relative_to(path)) for file in _below(path, folder)]
        elif not path.is_file():
            raise ShapeError(f"{path}: there is no such file or folder.")
        elif kind_of(path) is None:
            raise ShapeError(f"{path}: files of this kind are not read; expected photos, sounds, .parquet, .csv, "
                             ".npy or .npz, or folders of them.")  # fmt: skip
        else:
            found.append((path, Path(path.name)))
    if not found:
        told = ", ".join(map(str, given))
        raise ShapeError(f"{told}: no photos, sounds, .parquet, .csv, .npy or .npz files were found.")
    suffixes = [_suffix(relative, form) for _, relative in found]
    targets = output_names([folder / relative for _, relative in found], suffixes)
    tasks = [Task(source, target) for (source, _), target in zip(found, targets, strict=True)]
    _check_apart(tasks)
    return tasks


def _below(folder: Path, out: Path) -> list[Path]:
    """The files of a folder and of those inside, but for hidden ones and those of the outputs."""
    found, outputs = [], os.path.realpath(out)
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(place, name)) != outputs
        )  # fmt: skip
        found += [Path(place, name) for name in sorted(files) if is_input(name) and kind_of(name) is not None]
    return found


def _suffix(path: Path, form: str | None) -> str:
    if is_parquet(path):
        return path.suffix
    kind = kind_of(path)
    if kind == "photo":
        return WRITTEN if form in (None, ".png") else str(form)
    return form or (".npz" if kind == "sound" else path.suffix)


def _check_apart(tasks: Sequence[Task]) -> None:
    sources = {os.path.realpath(task.source): task.source for task in tasks}
    targets: dict[str, Path] = {}
    for task in tasks:
        real = os.path.realpath(task.target)
        if real in sources:
            raise ParameterError(f"{task.target} is an input of the job; give another output folder.")
        if real in targets:
            raise ParameterError(
                f"{targets[real]} and {task.source} would both become {task.target}; rename one."
            )
        targets[real] = task.source


class Worker:
    """What does the tasks, in this process or in others; the model is loaded once in each."""

    def __init__(
        self,
        explainer: Any,
        column: str | Mapping[str, str] | None,
        target_column: str | None,
        options: Mapping[str, Any],
    ):
        """Takes what ``Mapper`` takes; PyArrow is asked for where there are Parquet files alone."""
        self._explainer, self._column, self._target_column = explainer, column, target_column
        self._options = dict(options)

    @functools.cached_property
    def method(self) -> Any:
        """The explainer or method."""
        if not isinstance(self._explainer, (str, os.PathLike)):
            return self._explainer
        options = {name: self._options[name] for name in ("seed", "check_finite")}
        return load(self._explainer, **options)

    @functools.cached_property
    def mapper(self) -> Mapper:
        """The mapper of Parquet files."""
        return Mapper(self.method, self._column, target_column=self._target_column, **self._options)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("method", "mapper")}

    def check(self, tasks: Sequence[Task]) -> None:
        """Loads the model, and checks that what reads and writes the files is there.

        Raises:
            RuntimeMissingError: If a package is missing.
            ModelError: If the model is missing or damaged.
            ParameterError: If a column is named without Parquet files, or options of the mapper are wrong.
            ShapeError: If there are Parquet files, and rows of the model are not independent; or all are photos, and it
                is not known how a photo goes into the model.
        """
        if any(is_parquet(task.source) for task in tasks):
            self.mapper.method  # noqa: B018 - it is refused here if rows of a table are no samples
        elif self._target_column is not None or self._column is not None:
            raise ParameterError("Columns are named for Parquet files, and there is none among the inputs.")
        if self.method.per_sample is not None:
            raise ParameterError(
                f"{self.method.per_sample} has a row for each sample, and the samples of a job are explained in parts: "
                "each would take the first rows. Explain one file at a time."
            )
        if tasks and all(kind_of(task.source) == "photo" for task in tasks):
            pixel_input(self.method.for_photos().prepared)
        if any(task.target.suffix in PICTURES for task in tasks):
            plots.matplotlib_module()
        for read in self.method.files_read:
            for task in tasks:
                if task.target.parent.is_dir():
                    check_output(task.target, [read])

    def run(self, task: Task) -> tuple[int, str | None]:
        """Does a task: the number of samples, and what is wrong with the file, if anything is.

        Raises:
            NoSpaceError: If the disk is full, which is wrong with no file: those behind it would not be written either.
        """
        try:
            task.target.parent.mkdir(parents=True, exist_ok=True)
            return (self._parquet(task) if is_parquet(task.source) else self._other(task)), None
        except NoSpaceError:
            raise
        except OnnxAttrError as error:
            return 0, str(error)
        except OSError as error:
            return 0, f"{task.target} cannot be written: {error}"

    def _parquet(self, task: Task) -> int:
        pa = pyarrow_module()
        import pyarrow.parquet as pq

        samples = 0
        try:
            with pq.ParquetFile(task.source) as file:
                schema = self.mapper.schema(file.schema_arrow)
                with whole_file(task.target) as out, pq.ParquetWriter(out, schema) as writer:
                    for batch in self.mapper(_rows_of(file, task.source, self._options["chunk"])):
                        writer.write_batch(batch)
                        samples += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(task.source, error) from error
        return samples

    def _other(self, task: Task) -> int:
        chunk, photo = self._options["chunk"], kind_of(task.source) == "photo"
        found, targets = [], self._options["targets"]
        method = self.method.for_photos() if photo else self.method
        for batch in read_samples([task.source], method.prepared, chunk):
            each = method.explain(batch.inputs, targets, full=True)
            found.append(replace(each, sample_names=batch.names))
        write(found, task.target, f"{task.source.name}, {method.name}")
        return sum(each.sample_count for each in found)


def _rows_of(file: Any, source: Path, chunk: int) -> Iterator[Any]:
    """The batches of a Parquet file; its errors are told apart from those of what is written meanwhile.

    Raises:
        ShapeError: If a part of it cannot be read.
    """
    try:
        yield from file.iter_batches(chunk)
    except (pyarrow_module().ArrowException, OSError) as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: Exception) -> ShapeError:
    return ShapeError(f"{source} cannot be read as a Parquet file: {error}")
