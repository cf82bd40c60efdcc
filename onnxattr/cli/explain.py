"""onnxattr explain."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxattr.attributions.base import Attribution
from onnxattr.cli import bulk_options
from onnxattr.cli.console import written
from onnxattr.cli.examples import command
from onnxattr.cli.guesses import lines
from onnxattr.cli.inputs_given import ONLY, draw_each, drawn_names, inputs_given, read_given
from onnxattr.cli.method_options import PARAMETERS, add_method, method_of
from onnxattr.cli.stated_options import expect_photos
from onnxattr.cli.targets import targets_of
from onnxattr.cli.wanted import (
    asked,
    check_columns,
    check_form,
    check_outputs,
    check_sample,
    check_sizes,
    check_wanted,
)
from onnxattr.compile.explainer_file import describe
from onnxattr.errors import ParameterError
from onnxattr.files import whole_file
from onnxattr.inputs.paths import files_in, kind_of
from onnxattr.loading.reading.source import read_metadata
from onnxattr.results import Explanation
from onnxattr.results.sheets import sheet
from onnxattr.results.writing import PICTURES, suffix_of, write, write_npz
from onnxattr.running.about_model import files_named
from onnxattr.running.explainers.explainer import Explainer, load
from onnxattr.running.explainers.metadata import is_explainer

#: From this relative gap on it is said what narrows it.
_WIDE = 0.2


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    explain = command(commands, "explain", "explain photos, sounds, tables or arrays")
    add_method(explain, ", or an explainer, which has its method and parameters already")
    explain.add_argument(
        "inputs",
        nargs="+",
        help="photos (.jpg, .png, .webp, ...), .wav files, or folders of them; .npy array of shape (N, ...); .npz with "
        "one array per model input; or .csv or .parquet, whose columns, numbers and text, are matched by name where "
        "the file and the model have names; of a model of several inputs INPUT=FILE for each, image=photos/ "
        "table=rows.csv: rows are matched with photos by a column of their names, else in order",
    )
    explain.add_argument(
        "-o",
        "--output",
        help="what the suffix says: .npy, .npz (several values, or photos of several sizes), .csv or .parquet "
        "(tables), .json, .html, .png, .svg or .pdf; photos alone need none: a picture is written beside each, "
        "photo.why.png; a folder (out/) gets a file for each input file, of folders inside folders and Parquet files "
        "too, and a job that was ended goes on where it was",
    )
    explain.add_argument(
        "--targets",
        help="label or name of a class for all samples, or a .npy or .csv file of labels or weights",
    )
    explain.add_argument(
        "--picture", help="also draw a picture: all photos, else one sample: .png, .svg or .pdf"
    )
    explain.add_argument(
        "--sample", type=int, help="the sample that is drawn, from 0 on; --row in version 0.1"
    )
    explain.add_argument("--row", type=int, help=argparse.SUPPRESS)
    explain.add_argument(
        "--allow-nonfinite",
        action="store_true",
        help="exit with 0 although results are NaN or infinite, not with 3",
    )
    bulk_options.add_to(explain)
    explain.set_defaults(run=_explain)


def _explainer(options: argparse.Namespace) -> Explainer:
    """The explainer that the model's file is."""
    _check_options_of_explainer(options)
    return load(options.model, seed=options.seed)


def _check_options_of_explainer(options: argparse.Namespace) -> None:
    given = [name for name in ("method", "wrt", *PARAMETERS) if getattr(options, name) is not None]
    if set(given) - {"seed"}:
        raise ParameterError(
            f"{options.model} is an explainer, whose method and parameters are fixed, but for the seed: "
            f"leave out {', '.join('--' + name.replace('_', '-') for name in given)}, or give the model itself."
        )


def _path_of_explainer(options: argparse.Namespace) -> str | None:
    """The model's file if it is an explainer, whose options are checked."""
    if not is_explainer(options.model):
        return None
    _check_options_of_explainer(options)
    return str(options.model)


def _method(
    options: argparse.Namespace, kinds: Collection[str | None], metadata: Mapping[str, str]
) -> Attribution:
    """The method on a model; for photos with the preprocessing in front that the model's file says it expects."""
    if "photo" not in kinds:
        return method_of(options)
    expect_photos(options, metadata)
    return method_of(options).for_photos()


def _explain(options: argparse.Namespace) -> str:
    if bulk_options.is_job(options):
        return bulk_options.run(options, _path_of_explainer(options) or method_of(options))
    given = inputs_given(options.inputs)
    options.by_input = ONLY not in given
    files = [file for part in given.values() for file in files_in(part)]
    kinds = {kind_of(file) for file in files}
    photos = bool(kinds & {"photo", "sound"})
    beside = check_wanted(options, files)
    check_outputs(options, beside, [options.model, *files, *files_named(vars(options))])
    metadata = read_metadata(options.model)
    explainer = describe(metadata) is not None
    method: Any = _explainer(options) if explainer else _method(options, kinds, metadata)
    check_outputs(options, [*beside, *drawn_names(options, method.explained)], [*files, *method.files])
    check_form(options, method)
    with bulk_options.said_of_jobs([] if options.by_input else files):
        batches, matched = read_given(given, method.prepared)
    check_sample(options, batches)
    if len(batches) > 1 and method.per_sample is not None:
        raise ParameterError(
            f"{method.per_sample} has a row for each sample, and the samples are explained in {len(batches)} parts, as "
            "those of several files are. Give all samples as one .npy or .csv file."
        )
    check_sizes(options, method, batches)
    check_columns(options, method, batches)
    pairs = list(zip(batches, targets_of(options.targets, batches, method), strict=True))
    if not photos and len(batches) == 1 and options.picture is None and _is_plain(options.output):
        ((batch, targets),) = pairs
        _write_plain(method, method.explain(batch.inputs, targets), options.output)
        own = getattr(method, "gaps", None), getattr(method, "spent_steps", None)
        return _told(method, _behind(matched, written(options.output)), [own])
    found = [method(batch.inputs, targets) for batch, targets in pairs]
    if photos or (len(files) > 1 and not options.by_input):
        found = [replace(each, sample_names=batch.names) for each, batch in zip(found, batches, strict=True)]
    told = _written(found, options, beside, photos, f"{options.model}, {method.name}")
    if not photos:
        gaps = [(each.relative_gap, each.spent_steps) for each in found]
        return _told(method, _behind(matched, told), gaps)
    wide = any(each.relative_gap is not None and (each.relative_gap > _WIDE).any() for each in found)
    advice = [_narrower(method)] if wide and isinstance(method, Attribution) else []
    return "\n".join(filter(None, [*matched, lines(found), *advice, told]))


def _written(
    found: Sequence[Explanation],
    options: argparse.Namespace,
    beside: Sequence[Path],
    photos: bool,
    title: str,
) -> str:
    """Writes what is asked for; what was written."""
    paths = [path for path in (options.output, options.picture) if path is not None]
    if options.output is not None and not (options.by_input and suffix_of(options.output) in PICTURES):
        write(found, options.output, title)
    if options.by_input:
        paths = [path for path in paths if suffix_of(path) not in PICTURES]
        paths += draw_each(found, options, title)
    elif options.picture is not None:
        _draw(found, options, photos, title)
    if beside:
        samples = [each.sample(index) for each in found for index in range(each.sample_count)]
        for path, each in zip(beside, samples, strict=True):
            each.plot(title=title, path=path)
    return written(*paths, *beside)


def _behind(matched: Sequence[str], told: str) -> str:
    """What was written, behind how samples were matched; nothing where output goes to stdout."""
    return "\n".join([*matched, told]) if told else ""


def _is_plain(path: str) -> bool:
    """Whether nothing but attributions is written."""
    return suffix_of(path) in (".npy", ".npz")


def _write_plain(method: Any, result: Any, path: str) -> None:
    """Writes what ``explain`` gives."""
    with whole_file(path) as file:
        if suffix_of(path) == ".npy":
            np.save(file, result)
            return
        maps = [*result.values()] if isinstance(result, dict) else result
        maps = maps if isinstance(maps, list) else [maps]
        write_npz(file, dict(zip(method.explained, maps, strict=True)))


def _draw(found: Sequence[Explanation], options: argparse.Namespace, photos: bool, title: str) -> None:
    """Draws all photos, or one sample of other inputs."""
    number, _ = asked(options)
    left = number if number is not None or photos else 0
    if left is None or found[0].one_sample:
        sheet(found, options.picture, title)
        return
    for each in found:
        if left < each.sample_count:
            each.plot(left, title=title, path=options.picture)
            return
        left -= each.sample_count


def _told(method: Any, text: str, parts: Sequence[tuple[np.ndarray | None, np.ndarray | None]]) -> str:
    """What was written, and for a method on a path how well its maps add up; nothing where output goes to stdout.

    Args:
        method: The method.
        text: What was written.
        parts: Of each batch the gaps and, where samples take different numbers, the gradients of each sample.
    """
    known = [gaps for gaps, _ in parts if gaps is not None]
    gaps = np.concatenate(known) if known else np.empty(0)
    if not text or not np.isfinite(gaps).any():
        return text
    # Samples whose scores are not finite have a warning of their own.
    finite = np.isfinite(gaps)
    worst = int(np.argmax(np.where(finite, gaps, -1)))
    line = f"gap: {gaps[worst]:.2g} of f(x) - f(b)"
    if len(gaps) > 1:
        median = np.median(gaps[finite])
        line = f"gap: {median:.2g} of f(x) - f(b) in the median, at most {gaps[worst]:.2g}, in sample {worst}"
    spent = np.concatenate([steps for _, steps in parts if steps is not None] or [np.empty(0)])
    if len(set(spent)) > 1:
        line += f"; {np.median(spent):.0f} gradients per sample in the median, at most {spent.max()}"
    if gaps[worst] > _WIDE and isinstance(method, Attribution):
        line += f". {_narrower(method)}"
    return f"{text}\n{line}"


def _narrower(method: Any) -> str:
    """Which of the method's own options narrows the gap."""
    if hasattr(method, "nb_samples"):
        way = f"a larger --nb-samples than {method.nb_samples} takes more points"
    elif hasattr(method, "points") and getattr(method, "background", None) is None:
        way = "--points adaptive --tolerance 0.05 adds points where needed"
    else:
        way = f"more --steps than {method.steps} take more points"
    return f"The maps miss much of the score: {way}"
