"""onnxattr inspect."""

from __future__ import annotations

import argparse
from typing import Any

from onnxattr.cli.examples import command
from onnxattr.cli.method_options import VERIFY, add_verify
from onnxattr.inspection import RUNTIMES, inspect, inspect_json


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    look = command(commands, "inspect", "say what goes into a model, what can be explained, and what to type")
    look.add_argument("model")
    look.add_argument("--all", action="store_true", help="list long tables of layers or values to their end")
    look.add_argument(
        "--verbose", action="store_true", help="list the operators too, each with its gradient rule"
    )
    look.add_argument(
        "--measure", action="store_true", help="run the model on a drawn sample to measure the cost"
    )
    look.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help="list the nodes that leave the accelerator there, are refused or are known to be wrong",
    )
    look.add_argument(
        "--json", action="store_true", help="the same facts as JSON; docs/inspect.md has the keys"
    )
    add_verify(look, "never unless given")
    look.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> str:
    verify = VERIFY[options.verify or "never"]
    if options.json:
        return inspect_json(options.model, verify, measured=options.measure, runtime=options.runtime)
    return inspect(
        options.model,
        verify,
        options.all,
        verbose=options.verbose,
        measured=options.measure,
        runtime=options.runtime,
    )
