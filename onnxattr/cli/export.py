"""onnxattr export."""

from __future__ import annotations

import argparse
from typing import Any

from onnxattr.attributions.several import check_folder, export
from onnxattr.attributions.triton import export_triton
from onnxattr.cli.console import written
from onnxattr.cli.examples import command
from onnxattr.cli.method_options import add_method, methods_of
from onnxattr.compile.explainer_file import RENDERINGS
from onnxattr.errors import ParameterError
from onnxattr.files import check_output
from onnxattr.loading.weights.files import PLACES
from onnxattr.running.about_model import files_named


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    parser = command(commands, "export", "write ONNX files that predict and explain")
    add_method(parser, several=True)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "-o",
        "--output",
        help="the file to write; for several --method a folder, in which each has a file beside one with the weights",
    )
    place.add_argument(
        "--triton", metavar="DIR", help="write a model folder for Triton Inference Server instead"
    )
    parser.add_argument(
        "--rendering", default="auto", choices=RENDERINGS, help="all points at once, or in a loop"
    )
    parser.add_argument("--target", default="auto", choices=("auto", "labels", "weights"))
    parser.add_argument(
        "--baseline-input", action="store_true", help="make the baseline an input of the file"
    )
    parser.add_argument("--weights", default="auto", choices=PLACES, help="where the model's weights go")
    parser.add_argument(
        "--no-check", action="store_true", help="do not run the explainer before it is written"
    )
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> str:
    given = {name: getattr(options, name) for name in ("rendering", "target", "baseline_input")}
    given["check"] = not options.no_check
    several = len(options.method or []) > 1
    if options.triton is not None:
        if several:
            raise ParameterError(
                "--triton writes the folder of one model: give one --method for each folder."
            )
        (method,) = methods_of(options)
        export_triton(method, options.triton, weights=options.weights, **given)
        return written(options.triton)
    if several:
        if options.weights != "auto":
            raise ParameterError(
                f"--weights {options.weights} is for one file; in a folder one file holds the weights of all methods."
            )
        check_folder(options.output)
        return written(*export(methods_of(options), options.output, **given).values())
    check_output(options.output, [options.model, *files_named(vars(options))])
    (method,) = methods_of(options)
    method.export(options.output, weights=options.weights, **given)
    return written(options.output)
