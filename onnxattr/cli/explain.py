"""onnxattr explain."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from onnxattr import plots
from onnxattr.attributions.base import Attribution
from onnxattr.cli.console import written
from onnxattr.cli.examples import command
from onnxattr.cli.method_options import PARAMETERS, add_method, is_integer, method_of
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.files import AnyPath, check_output, whole_file
from onnxattr.inputs.array_files import read_arrays
from onnxattr.inputs.csv_rows import Table
from onnxattr.loading.class_names import label_of
from onnxattr.results import Explanation
from onnxattr.running.explainer import Explainer, is_explainer, load

#: From this relative gap on it is said what narrows it.
_WIDE = 0.2


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    explain = command(
        commands, "explain", "explain the samples of a .npy or .csv file (.npz for several inputs)"
    )
    add_method(explain, ", or an explainer, which has its method and parameters already")
    explain.add_argument(
        "inputs",
        help=".npy array of shape (N, ...); .npz with one array per model input; or .csv, whose columns are matched by "
        "name where its first line and the model have names",
    )
    explain.add_argument(
        "-o", "--output", required=True, help=".npy file for the attributions (.npz for several)"
    )
    explain.add_argument(
        "--targets",
        help="label or name of a class for all samples, or a .npy or .csv file of labels or weights",
    )
    explain.add_argument("--picture", help="also draw one row: .png, .svg or .pdf")
    explain.add_argument("--row", type=int, default=0, help="the sample that is drawn, from 0 on")
    explain.add_argument(
        "--allow-nonfinite",
        action="store_true",
        help="exit with 0 although results are NaN or infinite, not with 3",
    )
    explain.set_defaults(run=_explain)


def _explainer(options: argparse.Namespace) -> Explainer:
    """The explainer that the model's file is."""
    given = [name for name in ("method", "wrt", *PARAMETERS) if getattr(options, name) is not None]
    if set(given) - {"seed"}:
        raise ParameterError(
            f"{options.model} is an explainer, whose method and parameters are fixed, but for the seed: "
            f"leave out {', '.join('--' + name.replace('_', '-') for name in given)}, or give the model itself."
        )
    return load(options.model, seed=options.seed or 0)


def _explain(options: argparse.Namespace) -> str:
    _check_outputs(options, [options.model, options.inputs, options.targets or ""])
    inputs = read_arrays(options.inputs)
    if options.picture is not None:
        _check_picture(options, inputs)
    method: Any = _explainer(options) if is_explainer(options.model) else method_of(options)
    _check_outputs(options, method.files)
    targets = targets_given(options.targets, inputs, method)
    full = method(inputs, targets) if options.picture is not None else None
    result = method.explain(inputs, targets) if full is None else _arrays(full)
    with whole_file(options.output) as file:
        if isinstance(result, np.ndarray):
            np.save(file, result)
        else:
            maps = result.values() if isinstance(result, dict) else result
            np.savez(file, **dict(zip(method.explained, maps, strict=True)))
    if options.picture is None:
        return _told(method, written(options.output))
    assert full is not None
    full.plot(
        None if method.one_sample else options.row,
        title=f"{options.model}, {method.name}",
        path=options.picture,
    )
    return _told(method, written(options.output, options.picture))


def _told(method: Any, text: str) -> str:
    """What was written, and for a method on a path how well its maps add up; nothing where output goes to stdout."""
    gaps = getattr(method, "gaps", None)
    if not text or gaps is None or not np.isfinite(gaps).any():
        return text
    # Samples whose scores are not finite have a warning of their own.
    finite = np.isfinite(gaps)
    worst = int(np.argmax(np.where(finite, gaps, -1)))
    line = f"gap: {gaps[worst]:.2g} of f(x) - f(b)"
    if len(gaps) > 1:
        median = np.median(gaps[finite])
        line = f"gap: {median:.2g} of f(x) - f(b) in the median, at most {gaps[worst]:.2g}, in sample {worst}"
    spent = getattr(method, "spent_steps", None)
    if spent is not None and len(set(spent)) > 1:
        line += f"; {np.median(spent):.0f} gradients per sample in the median, at most {spent.max()}"
    if gaps[worst] > _WIDE and isinstance(method, Attribution):
        line += (
            ". The maps miss much of the score: --points adaptive --tolerance 0.05 adds points where needed"
        )
    return f"{text}\n{line}"


def _check_outputs(options: argparse.Namespace, reads: Iterable[AnyPath]) -> None:
    """Checks before the work that what shall be written can be, and is nothing that is read."""
    reads = list(reads)
    check_output(options.output, reads)
    if options.picture is not None:
        if os.path.realpath(options.picture) == os.path.realpath(options.output):
            raise ParameterError(f"-o and --picture are both {options.picture}. Give two names.")
        if os.path.isdir(os.path.dirname(os.path.abspath(options.picture))):
            check_output(options.picture, reads)


def _check_picture(options: argparse.Namespace, inputs: Any) -> None:
    plots.check_path(options.picture)
    plots.matplotlib_module()
    if not isinstance(inputs, (np.ndarray, Table)) or not inputs.shape:
        raise ShapeError("A picture shows samples of one input, given as a .npy or .csv file.")
    if not 0 <= options.row < len(inputs):
        raise ParameterError(f"--row {options.row}: {options.inputs} has samples 0 to {len(inputs) - 1}.")


def _arrays(full: Explanation) -> Any:
    """The attributions as ``explain`` returns them."""
    return full.numpy() if len(full.attributions) == 1 else dict(full.attributions)


def targets_given(given: str | None, inputs: Any, method: Any) -> Any:
    """Targets from a file, or one label or name of a class for every sample."""
    one_sample = method.one_sample
    file = given is not None and (given.lower().endswith((".npy", ".npz", ".csv")) or os.path.exists(given))
    if given is not None and not file and not is_integer(given):
        given = str(label_of(given, method.class_names))
    if given is None or not is_integer(given):
        found = None if given is None else read_arrays(given)
        return found if given is None or not given.lower().endswith(".csv") else _targets_of_table(found)
    if one_sample:
        return np.array(int(given))
    first = next(iter(inputs.values()), np.empty(0)) if isinstance(inputs, dict) else inputs
    return np.full(first.shape[:1], int(given))


def _targets_of_table(table: Any) -> np.ndarray:
    """Targets of a CSV file: one column of whole numbers is one of labels, all else are weights."""
    values = np.asarray(table)
    whole = values.shape[1] == 1 and np.array_equal(values, np.round(values))
    return values[:, 0].astype(np.int64) if whole else values
