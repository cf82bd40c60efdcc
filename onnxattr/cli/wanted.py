"""What ``onnxattr explain`` is asked to write, checked before the work."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxattr import plots
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.files import AnyPath, check_output
from onnxattr.graph.values import dims_of
from onnxattr.inputs.csv_rows import Table
from onnxattr.inputs.paths import WRITTEN, kind_of, output_names
from onnxattr.inputs.samples import Samples
from onnxattr.loading.meaning.columns import ranks_of_maps
from onnxattr.results.writing import PICTURES, check_names, suffix_of


def asked(options: argparse.Namespace) -> tuple[int | None, str]:
    """The sample that is to be drawn, None for no certain one, and the option that said so."""
    return (options.row, "--row") if options.sample is None else (options.sample, "--sample")


def check_wanted(options: argparse.Namespace, files: Sequence[Path]) -> list[Path]:
    """Checks what shall be written; the pictures beside photos, where nothing else is asked for."""
    if options.output is not None:
        suffix_of(options.output)
    if options.picture is not None:
        plots.check_path(options.picture)
    drawn = options.picture is not None or options.output is None or suffix_of(options.output) in PICTURES
    if (
        drawn
        and (options.output, options.picture) == (None, None)
        and (options.by_input or kind_of(files[0]) != "photo")
    ):
        raise ParameterError(
            "Say what to write: -o maps.npy (or .npz, .csv, .parquet, .json, .html, .png) or --picture why.png."
        )
    if drawn:
        plots.matplotlib_module()
    if options.output is not None or options.picture is not None:
        return []
    return output_names(files, [WRITTEN] * len(files))


def check_outputs(options: argparse.Namespace, beside: Iterable[AnyPath], reads: Iterable[AnyPath]) -> None:
    """Checks before the work that what shall be written can be, and is nothing that is read."""
    reads = list(reads)
    for path in (*beside, *([] if options.output is None else [options.output])):
        check_output(path, reads)
    if options.picture is not None:
        if options.output is not None and os.path.realpath(options.picture) == os.path.realpath(
            options.output
        ):
            raise ParameterError(f"-o and --picture are both {options.picture}. Give two names.")
        if os.path.isdir(os.path.dirname(os.path.abspath(options.picture))):
            check_output(options.picture, reads)


def check_form(options: argparse.Namespace, method: Any) -> None:
    """Checks that the form that is asked for can hold what is explained."""
    suffix = "" if options.output is None else suffix_of(options.output)
    if suffix == ".npy" and len(method.explained) > 1:
        raise ParameterError(
            f"{options.output}: a .npy file holds one array, and {list(method.explained)} are explained; write a .npz "
            "file."
        )
    ranks = ranks_of_maps(method.prepared)
    if suffix in (".csv", ".parquet") and any(rank not in (0, 2) for rank in ranks):
        raise ParameterError(
            f"{options.output}: a {suffix} file holds maps of tables, (N, F), and what is explained has rank "
            f"{max(ranks)}; write a .npy or .npz file, or .json, which lists scores and classes too."
        )


def check_columns(options: argparse.Namespace, method: Any, batches: Sequence[Samples]) -> None:
    """Checks that a table that is written has no two columns of one name, as far as they are known before the work.

    Raises:
        ParameterError: If two columns would have one name.
    """
    if options.output is None or suffix_of(options.output) not in (".csv", ".parquet"):
        return
    given, explained, prepared = batches[0].inputs, list(method.explained), method.prepared
    columns = explained
    if len(explained) == 1:
        of_input = prepared.value(prepared.wrt[0]).producer() is None
        own = given.columns if isinstance(given, Table) else prepared.features.get(explained[0], ())
        columns = list(own) if of_input else []
    if getattr(method, "feature_mask", None) is not None:  # columns are those of groups
        columns = []
    dims = dims_of(prepared.value(prepared.output)) or [None]
    labelled = (
        options.targets is None and options.operator is None and isinstance(dims[-1], int) and dims[-1] > 1
    )
    known = ["sample", "score", *(["target"] if labelled else [])]
    known += ["baseline_score", "gap"] if hasattr(method, "relative_gap") else []
    check_names(columns, known, options.output)


def check_sample(options: argparse.Namespace, batches: Sequence[Samples]) -> None:
    """Checks that there is something to draw, and the sample that is asked for.

    Raises:
        ParameterError: If there is no such sample.
        ShapeError: If no picture shows these inputs.
    """
    count = sum(len(batch.names) for batch in batches)
    if options.picture is not None and isinstance(batches[0].inputs, dict) and not options.by_input:
        raise ShapeError(
            "A picture shows samples of one input, given as photos, .npy or .csv files; of several, name the input "
            "of each file, INPUT=FILE."
        )
    number, option = asked(options)
    if number is not None and not 0 <= number < count:
        raise ParameterError(f"{option} {number}: {', '.join(options.inputs)} has samples 0 to {count - 1}.")


def check_sizes(options: argparse.Namespace, method: Any, batches: Sequence[Samples]) -> None:
    """Checks that maps of samples of several sizes are not to become one array."""
    spec = method.preprocessing
    alike = len({str(_sizes(batch.inputs)) for batch in batches}) == 1
    if options.output is None or suffix_of(options.output) != ".npy" or alike:
        return
    if spec is None or not spec.in_graph or spec.at_pixels:
        raise ParameterError(
            f"{options.output}: the samples have several sizes, and so have their maps; write a .npz file."
        )


def _sizes(inputs: Any) -> Any:
    """The sizes of a sample, of each input where there are several."""
    if isinstance(inputs, dict):
        return {name: np.shape(part)[1:] for name, part in inputs.items()}
    return np.shape(inputs)[1:]
