"""The command line: onnxattr convert | inspect | explain | export | ops."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxattr import attributions, plots
from onnxattr.console import printable, tell, written
from onnxattr.csv_rows import Table
from onnxattr.errors import NonFiniteWarning, OnnxAttrError, ParameterError, ShapeError
from onnxattr.explainer import Explainer, is_explainer, load
from onnxattr.exported import RENDERINGS
from onnxattr.files import AnyPath, check_output, read_arrays, whole_file
from onnxattr.inspection import inspect, supported_operators
from onnxattr.loading.heads import classes_of_unit
from onnxattr.triton import export_triton
from onnxattr.weights import PLACES

#: The parameters of the methods that options set.
_PARAMETERS = (
    "output_layer", "batch_size", "reducer", "steps", "baseline_value", "nb_samples", "noise", "seed", "relu_policy",
    "precision",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit status: 0; 2 for bad input, 3 for results that are NaN or infinite (which are written all the same),
        1 if the output cannot be printed or for a defect of onnxattr, each with one line on stderr that tells the
        reason; 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names in models are any text, which not every terminal has.
            stream.reconfigure(errors="backslashreplace")
    heard: list[type[Warning]] = []

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        heard.append(category)
        tell(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", NonFiniteWarning)
        warnings.showwarning = show
        try:
            status = _run(options)
        except KeyboardInterrupt:
            tell("onnxattr: interrupted")
            return 130
    if not status and NonFiniteWarning in heard and not getattr(options, "allow_nonfinite", True):
        tell(
            "onnxattr: the attributions are written as they are, NaN or infinite in places, and the exit status is 3; "
            "--allow-nonfinite makes it 0."
        )
        return 3
    return status


def _run(options: argparse.Namespace) -> int:
    try:
        text = options.run(options)
    except OnnxAttrError as error:
        tell(f"onnxattr: {error}")
        return 2
    except Exception as error:
        tell(
            f"onnxattr: {type(error).__name__}: {error}. This is a defect of onnxattr; from Python it has a traceback."
        )
        return 1
    try:
        if text:
            print(printable(text, keep="\n"))
        sys.stdout.flush()
    except OSError as error:
        # Nothing more is to be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Whoever read the output may have seen enough, as head does.
        if not isinstance(error, BrokenPipeError):
            tell(f"onnxattr: the output cannot be written: {error}")
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="onnxattr", description="Explanations that ship with the model.")
    commands = parser.add_subparsers(required=True, metavar="command")

    convert = commands.add_parser("convert", help="convert a model of Keras, PyTorch or scikit-learn")
    convert.add_argument(
        "model",
        help=".keras, .h5, .hdf5 or SavedModel; .pt2 of torch.export; .skops, .joblib or .pkl of scikit-learn",
    )
    convert.add_argument("-o", "--output", help="ONNX file to write (default: beside the model)")
    convert.add_argument("--opset", type=int, help="17 for Keras, 18 for the others unless given")
    convert.add_argument(
        "--sample", help=".npy or .csv file with real rows to check with; scikit-learn models need it"
    )
    convert.add_argument(
        "--trust",
        action="store_true",
        help="open a file whose loading can run code (.pt2, .pkl, Lambda layers)",
    )
    convert.add_argument(
        "--keep-layer", action="append", default=[], help="layer that must stay usable; 'all' keeps all"
    )
    convert.add_argument(
        "--no-verify", action="store_true", help="do not compare the result with the original"
    )
    convert.set_defaults(run=_convert)

    look = commands.add_parser("inspect", help="list inputs, outputs, layers and operators of a model")
    look.add_argument("model")
    look.set_defaults(run=lambda options: inspect(options.model))

    explain = commands.add_parser(
        "explain", help="explain rows of a .npy or .csv file (.npz for several inputs)"
    )
    _add_method(explain, ", or an explainer, which has its method and parameters already")
    explain.add_argument(
        "inputs",
        help=".npy array of shape (N, ...); .npz with one array per model input; or .csv, whose columns are matched by "
        "name where its first line and the model have names",
    )
    explain.add_argument(
        "-o", "--output", required=True, help=".npy file for the attributions (.npz for several)"
    )
    explain.add_argument("--targets", help="label for all rows, or a .npy or .csv file of labels or weights")
    explain.add_argument("--picture", help="also draw one row: .png, .svg or .pdf")
    explain.add_argument("--row", type=int, default=0, help="the row that is drawn, from 0 on")
    explain.add_argument(
        "--allow-nonfinite",
        action="store_true",
        help="exit with 0 although results are NaN or infinite, not with 3",
    )
    explain.set_defaults(run=_explain)

    export = commands.add_parser("export", help="write one ONNX file that predicts and explains")
    _add_method(export)
    place = export.add_mutually_exclusive_group(required=True)
    place.add_argument("-o", "--output", help="the file to write")
    place.add_argument(
        "--triton", metavar="DIR", help="write a model folder for Triton Inference Server instead"
    )
    export.add_argument(
        "--rendering", default="auto", choices=RENDERINGS, help="all points at once, or in a loop"
    )
    export.add_argument("--target", default="auto", choices=("auto", "labels", "weights"))
    export.add_argument(
        "--baseline-input", action="store_true", help="make the baseline an input of the file"
    )
    export.add_argument("--weights", default="auto", choices=PLACES, help="where the model's weights go")
    export.add_argument(
        "--no-check", action="store_true", help="do not run the explainer before it is written"
    )
    export.set_defaults(run=_export)

    ops = commands.add_parser("ops", help="list the operators that can be differentiated")
    ops.set_defaults(run=lambda options: supported_operators())
    return parser


def _add_method(parser: argparse.ArgumentParser, help_of_model: str = "") -> None:
    parser.add_argument("model", help="ONNX file" + help_of_model)
    parser.add_argument("--method", choices=attributions.__all__, help="IntegratedGradients unless given")
    parser.add_argument("--output-layer", help="layer name or index, or value name, to cut the model at")
    parser.add_argument("--wrt", action="append", help="value to explain; may be given several times")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--reducer", choices=["min", "mean", "max", "sum", "none"])
    parser.add_argument("--steps", type=int, help="points on the path of IntegratedGradients")
    parser.add_argument("--baseline-value", type=float)
    parser.add_argument("--nb-samples", type=int, help="draws of the noisy methods")
    parser.add_argument("--noise", type=float, help="standard deviation of the noise")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--relu-policy", choices=["all", "xplique"])
    parser.add_argument(
        "--precision", choices=["model", "float32"], help="float32 widens a half-precision model"
    )


def _method(options: argparse.Namespace) -> attributions.base.Attribution:
    given = {name: value for name in _PARAMETERS if (value := getattr(options, name)) is not None}
    if given.get("reducer") == "none":
        given["reducer"] = None
    layer = given.get("output_layer")
    if layer is not None and _is_integer(layer):
        given["output_layer"] = int(layer)
    if options.wrt:
        given["wrt"] = tuple(options.wrt)
    return getattr(attributions, options.method or "IntegratedGradients")(options.model, **given)


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", text) is not None


def _convert(options: argparse.Namespace) -> str:
    from onnxattr.converters.files import convert_file

    output = str(Path(options.model).with_suffix(".onnx")) if options.output is None else options.output
    convert_file(
        options.model,
        output,
        opset=options.opset,
        verify=not options.no_verify,
        keep_layers="all" if "all" in options.keep_layer else tuple(options.keep_layer),
        sample=options.sample,
        trust=options.trust,
    )
    return written(output)


def _explainer(options: argparse.Namespace) -> Explainer:
    """The explainer that the model's file is."""
    given = [name for name in ("method", "wrt", *_PARAMETERS) if getattr(options, name) is not None]
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
    method: Any = _explainer(options) if is_explainer(options.model) else _method(options)
    _check_outputs(options, method.files)
    targets = _targets(options.targets, inputs, method.one_sample)
    result = method.explain(inputs, targets)
    with whole_file(options.output) as file:
        if isinstance(result, np.ndarray):
            np.save(file, result)
        else:
            maps = result.values() if isinstance(result, dict) else result
            np.savez(file, **dict(zip(method.explained, maps, strict=True)))
    if options.picture is None:
        return written(options.output)
    _draw(options, method, inputs, targets, result)
    return written(options.output, options.picture)


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
        raise ShapeError("A picture shows the rows of one input, given as a .npy or .csv file.")
    if not 0 <= options.row < len(inputs):
        raise ParameterError(f"--row {options.row}: {options.inputs} has rows 0 to {len(inputs) - 1}.")


def _draw(options: argparse.Namespace, method: Any, inputs: np.ndarray, targets: Any, maps: Any) -> None:
    """Draws one row with the class that its map explains, where the output has classes and one was asked for."""
    x, label, score = inputs[options.row], "", None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonFiniteWarning)  # said already
        scores = method.predict(inputs[options.row : options.row + 1])[0]
    if (scores.ndim == 1 or method.unit) and (targets is None or targets.ndim == 1):
        wanted = -1 if targets is None else int(targets[options.row])
        scores = classes_of_unit(method.unit, scores) if method.unit else scores
        index = int(scores.argmax()) if wanted < 0 else wanted
        label, score = f"class {index}, score", float(scores[index])
    plots.row(
        x,
        {method.name: maps[options.row]},
        title=options.model,
        label=label,
        score=score,
        path=options.picture,
    )


def _targets(given: str | None, inputs: Any, one_sample: bool) -> Any:
    """Targets from a file, or one label for every row, or for all rows where they are one sample."""
    if given is None or not _is_integer(given):
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


def _export(options: argparse.Namespace) -> str:
    given = {name: getattr(options, name) for name in ("rendering", "target", "baseline_input", "weights")}
    given["check"] = not options.no_check
    if options.triton is not None:
        export_triton(_method(options), options.triton, **given)
        return written(options.triton)
    check_output(options.output, [options.model])
    _method(options).export(options.output, **given)
    return written(options.output)
