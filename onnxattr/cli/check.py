"""onnxattr check."""

from __future__ import annotations

import argparse
from typing import Any

from onnxattr.cli.examples import command
from onnxattr.errors import ParameterError
from onnxattr.inputs.samples import read_samples
from onnxattr.loading.places import ALL_OUTPUTS
from onnxattr.loading.prepared import prepare
from onnxattr.running.given.arrays import model_inputs, take
from onnxattr.testing.model_check import check_feeds


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    parser = command(
        commands, "check", "compare the gradient of a model with slopes of what its file predicts"
    )
    parser.add_argument("model", help="ONNX file")
    parser.add_argument(
        "inputs", nargs="*", help="a file of samples, of which the first is taken; drawn numbers unless given"
    )
    parser.add_argument(
        "--wrt", action="append", help="an input, or a value in the graph; all float inputs unless given"
    )
    parser.add_argument(
        "--output", action="append", help="an output, or a value; all float outputs unless given"
    )
    parser.add_argument("--directions", type=int, default=3, help="directions for each input; 3")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> str:
    if options.directions < 1:
        raise ParameterError(f"--directions {options.directions}: expected 1 or more.")
    feeds = None
    if options.inputs:
        prepared = prepare(options.model, wrt=options.wrt, verify=False, outputs=ALL_OUTPUTS)
        samples = next(iter(read_samples(options.inputs, prepared, 1)))
        given = model_inputs(prepared, samples.inputs)
        feeds = take(given, slice(0, 1)) if prepared.rows.apart else given
    found = check_feeds(
        options.model,
        None if feeds is None else lambda: feeds,
        options.wrt,
        options.output,
        directions=options.directions,
        seed=options.seed,
    )
    options.status = 0 if found.agrees else 4
    return str(found)
