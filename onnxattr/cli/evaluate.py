"""onnxattr evaluate."""

from __future__ import annotations

import argparse
import inspect
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxattr import attributions, metrics, plots
from onnxattr.attributions.base import Attribution
from onnxattr.cli.console import written
from onnxattr.cli.examples import command
from onnxattr.cli.method_options import VERIFY, add_verify, is_integer
from onnxattr.cli.stated_options import add_preprocessing, expect_photos, stated_of
from onnxattr.cli.targets import targets_of
from onnxattr.errors import ParameterError
from onnxattr.files import check_output
from onnxattr.inputs.csv_rows import Table
from onnxattr.inputs.paths import files_in, kind_of
from onnxattr.inputs.samples import groups_of, read_samples
from onnxattr.loading.reading.source import read_metadata
from onnxattr.metrics.average import MaskedMetric
from onnxattr.metrics.base import Metric
from onnxattr.metrics.causal import CausalFidelity
from onnxattr.metrics.concentration import ConcentrationMetric
from onnxattr.metrics.evaluation import Evaluation, evaluate
from onnxattr.metrics.joined import joined
from onnxattr.metrics.scored import ScoredInputs
from onnxattr.running.about_model import files_named

#: The methods and metrics that are taken unless others are named.
METHODS = ("Saliency", "GradientInput", "IntegratedGradients", "SmoothGrad", "SquareGrad", "VarGrad")
METRICS = ("Deletion", "Insertion", "MuFidelity", "Sparseness")
ALL_METRICS = tuple(
    name
    for name in metrics.__all__
    if isinstance(found := getattr(metrics, name), type) and issubclass(found, Metric)
)

#: Most samples, or classes, that are listed.
_LISTED = 12


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    parser = command(
        commands,
        "evaluate",
        "measure explanations: a table of methods and metrics, and what each method costs",
    )
    parser.add_argument("model", help="ONNX file")
    parser.add_argument(
        "inputs",
        nargs="+",
        help="photos, .wav files, or folders of them; .npy array of shape (N, ...), .npz with one array per input, or "
        ".csv",
    )
    parser.add_argument(
        "--methods",
        default=",".join(METHODS),
        help=f"names with commas between them; {', '.join(METHODS)} unless given",
    )
    parser.add_argument(
        "--metrics",
        default=",".join(METRICS),
        help=f"names with commas between them, of {', '.join(ALL_METRICS)}; {', '.join(METRICS)} unless given",
    )
    _add_explained(parser)
    _add_measured(parser)
    add_preprocessing(parser)
    add_verify(parser, "auto (small models that were changed) unless given")
    parser.add_argument(
        "-o", "--output", help="also write the table: .csv, or .json with every sample's numbers"
    )
    parser.add_argument(
        "--picture", help="also draw the curves of Deletion and Insertion: .png, .svg or .pdf"
    )
    parser.set_defaults(run=_evaluate)


def _add_explained(parser: argparse.ArgumentParser) -> None:
    """Adds what is explained, and where."""
    parser.add_argument(
        "--targets",
        help="label or name of a class for all samples, or a .npy or .csv file of labels or weights",
    )
    parser.add_argument("--operator", help="the score that is explained, by name")
    parser.add_argument("--output-layer", help="layer name or index, or value name, to cut the model at")
    parser.add_argument("--model-output", help="which of several outputs is explained, by name or index")
    parser.add_argument("--wrt", help="the input that is explained and changed, where there are several")


def _add_measured(parser: argparse.ArgumentParser) -> None:
    """Adds the parameters of methods and metrics."""
    parser.add_argument(
        "--activation", choices=["sigmoid", "softmax"], help="put behind the output, where metrics look at it"
    )
    parser.add_argument(
        "--baseline-value", type=float, default=0.0, help="what features are set to, and where paths start; 0"
    )
    parser.add_argument(
        "--steps", type=int, default=10, help="steps of Deletion and Insertion; -1 for one feature each"
    )
    parser.add_argument("--noise", type=float, help="standard deviation of the noise of noisy methods")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-controls", action="store_true", help="leave out the maps that explain nothing")


def _evaluate(options: argparse.Namespace) -> str:
    names = _named(options.methods, attributions.METHODS, "--methods")
    wanted = _named(options.metrics, ALL_METRICS, "--metrics")
    files = files_in(options.inputs)
    _check_outputs(options, wanted, files)
    photos = kind_of(files[0]) == "photo"
    methods = _methods(names, options, photos)
    first = methods[names[0]]
    batches = list(read_samples(files, first.prepared))
    groups = groups_of(batches)
    if options.picture is not None and options.steps < 0 and len(groups) > 1:
        raise ParameterError(
            "--steps -1: samples of several shapes have curves of several lengths; give a number of steps."
        )
    targets, named = targets_of(options.targets, batches, first), photos or bool(first.class_names)
    told, parts = dict[int, tuple[str, str]](), []
    for group, places in groups:
        wished = targets[0] if len(batches) == 1 else _of_group(targets, places)
        part, scored = _measured(methods, wanted, group.inputs, wished, options, named)
        parts.append(part)
        if scored is not None and named:
            told |= zip(places, zip(group.names, _explained(first, scored), strict=True), strict=True)
    result = joined(parts, [places for _, places in groups])
    result.samples = [told[place] for place in sorted(told)]
    paths = [path for path in (options.output, options.picture) if path is not None]
    if options.output is not None:
        result.write(options.output)
    if options.picture is not None:
        draw(result, os.path.basename(options.model), options.picture)
    shown = [*_classes(result.samples), result.table()]
    return "\n".join(shown) + ("\n\n" + written(*paths) if paths else "")


def _of_group(targets: Sequence[Any], places: Sequence[int]) -> Any:
    """The targets of some of the samples; None for the classes predicted."""
    if targets[0] is None:
        return None
    chosen = np.concatenate([np.asarray(part) for part in targets])[list(places)]
    return Table(targets[0].columns, chosen) if isinstance(targets[0], Table) else chosen


def _measured(
    methods: Mapping[str, Attribution],
    wanted: Sequence[str],
    inputs: Any,
    targets: Any,
    options: argparse.Namespace,
    named: bool,
) -> tuple[Evaluation, ScoredInputs | None]:
    """The evaluation of samples of one shape, and what was scored; None where nobody needs it."""
    first = next(iter(methods.values()))
    made = [_metric(name, first, inputs, targets, options) for name in wanted]
    scored: ScoredInputs | None = next((metric.scored for metric in made if hasattr(metric, "scored")), None)
    if scored is None and (named or not options.no_controls):
        scored = metrics.Deletion(first, inputs, targets).scored
    shown: dict[str, Any] = dict(methods)
    if not options.no_controls:
        assert scored is not None
        shown |= metrics.controls(scored.x, scored.channel_axis, options.seed)
    return evaluate(shown, inputs, targets, made), scored


def _explained(method: Attribution, scored: ScoredInputs) -> list[str]:
    """What is explained of each sample: the name of its class, or the label; empty for other targets."""
    if scored.labels is None:
        return [""] * scored.rows
    names = method.class_names
    return [names[label] if label < len(names) else str(label) for label in map(int, scored.labels)]


def _classes(samples: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each sample with what is explained of it; for many samples one with their number by class."""
    if not samples or not all(target for _, target in samples):
        return []
    if len(samples) <= _LISTED:
        return [*(f"{sample}: {target}" for sample, target in samples), ""]
    counts = Counter(target for _, target in samples).most_common(_LISTED + 1)
    more = ", ..." if len(counts) > _LISTED else ""
    return [f"explained: {', '.join(f'{name} ({count})' for name, count in counts[:_LISTED])}{more}", ""]


def draw(
    result: Evaluation, title: str, path: str | os.PathLike[str], methods: Sequence[str] | None = None
) -> None:
    """Draws the curves of an evaluation, of all methods or of some."""
    shown = result.methods if methods is None else methods
    plots.score_curves(
        {name: {m: found[m] for m in shown if m in found} for name, found in result.curves.items()},
        title=title,
        notes={name: f"{result.metrics[name].better} is better" for name in result.curves},
        controls=tuple(name for name in result.methods if name not in result.seconds),
        path=path,
    )


def _named(text: str, known: Any, option: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names or len(set(names)) < len(names):
        raise ParameterError(
            f"{option} {text!r}: expected names with commas between them, each once, of {', '.join(known)}."
        )
    return names


def _check_outputs(options: argparse.Namespace, wanted: list[str], files: Sequence[Path]) -> None:
    """Checks before the work that what shall be written can be."""
    reads = [options.model, *files, *files_named(vars(options))]
    if options.output is not None:
        if not options.output.lower().endswith((".csv", ".json")):
            raise ParameterError(f"-o {options.output!r}: expected a name that ends in .csv or .json.")
        check_output(options.output, reads)
    if options.picture is not None:
        plots.check_path(options.picture)
        plots.matplotlib_module()
        check_output(options.picture, reads)
        if not {"Deletion", "Insertion"} & set(wanted):
            raise ParameterError(
                "--picture draws the curves of Deletion and Insertion; name one of them in --metrics."
            )


def _methods(names: Sequence[str], options: argparse.Namespace, photos: bool) -> dict[str, Attribution]:
    """The methods by name, as they take photos or other inputs."""
    noisy = [name for name in attributions.METHODS if "noise" in _parameters(name)]
    if options.noise is not None and not set(noisy) & set(names):
        raise ParameterError(
            f"--noise: no noise is drawn by {', '.join(names)}; methods that draw it: {', '.join(noisy)}."
        )
    if photos:
        expect_photos(options, read_metadata(options.model))
    made = {name: _method(name, options) for name in names}
    return {name: method.for_photos() for name, method in made.items()} if photos else made


def _method(name: str, options: argparse.Namespace) -> Attribution:
    given: dict[str, Any] = {
        "batch_size": options.batch_size,
        "operator": options.operator,
        "seed": options.seed,
        "verify": VERIFY[options.verify or "auto"],
    }
    layer = options.output_layer
    given["output_layer"] = int(layer) if layer is not None and is_integer(layer) else layer
    for option in ("wrt", "preprocess", "attributions_at"):
        if getattr(options, option) is not None:
            given[option] = getattr(options, option)
    if options.model_output is not None:
        given["output"] = options.model_output
    given |= stated_of(options)
    kind: Callable[..., Attribution] = getattr(attributions, name)
    own = _parameters(name)
    if "baseline_value" in own:
        given["baseline_value"] = options.baseline_value
    if "noise" in own and options.noise is not None:
        given["noise"] = options.noise
    return kind(options.model, **given)


def _parameters(method: str) -> Iterable[str]:
    return inspect.signature(getattr(attributions, method)).parameters


def _metric(
    name: str, method: Attribution, inputs: Any, targets: np.ndarray | None, options: argparse.Namespace
) -> Metric:
    kind: Any = getattr(metrics, name)
    if issubclass(kind, ConcentrationMetric):
        axis = method._plan.request.channel_axes[0]
        concentration: Metric = kind(channel_axis=axis)
        return concentration
    given: dict[str, Any] = {"batch_size": options.batch_size, "seed": options.seed}
    if issubclass(kind, CausalFidelity):
        given["steps"] = options.steps
    if issubclass(kind, (CausalFidelity, metrics.MuFidelity, metrics.Infidelity)):
        given["baseline_mode"] = options.baseline_value
    if issubclass(kind, (CausalFidelity, metrics.MuFidelity, metrics.Infidelity, MaskedMetric)):
        given["activation"] = options.activation
    metric: Metric = kind(method, inputs, targets, **given)
    return metric
