"""onnxattr export."""

from __future__ import annotations

import argparse
from typing import Any

from onnxattr.attributions.triton import export_triton
from onnxattr.cli.console import written
from onnxattr.cli.examples import command
from onnxattr.cli.method_options import add_method, method_of
from onnxattr.compile.explainer_file import RENDERINGS
from onnxattr.files import check_output
from onnxattr.loading.weights import PLACES


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    export = command(commands, "export", "write one ONNX file that predicts and explains")
    add_method(export)
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


def _export(options: argparse.Namespace) -> str:
    given = {name: getattr(options, name) for name in ("rendering", "target", "baseline_input", "weights")}
    given["check"] = not options.no_check
    if options.triton is not None:
        export_triton(method_of(options), options.triton, **given)
        return written(options.triton)
    check_output(options.output, [options.model])
    method_of(options).export(options.output, **given)
    return written(options.output)
