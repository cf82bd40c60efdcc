"""The command line: onnxattr convert | inspect | check | explain | evaluate | export | ops."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from onnxattr.cli import check, convert, evaluate, explain, export, inspect
from onnxattr.cli.console import printable, tell
from onnxattr.cli.examples import Parser, command
from onnxattr.cli.spoken import options_of, spoken
from onnxattr.errors import NonFiniteWarning, OnnxAttrError, UnforeseenError
from onnxattr.home import at_home
from onnxattr.inspection import supported_operators

#: Options of names inside a model, which may start with ~.
_NO_PATHS = ("wrt", "output_layer", "conv_layer", "model_output", "keep_layer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit status: 0; 2 for bad input; 3 for results that are NaN or infinite (which are written all the same);
        4 where ``check`` finds a gradient that is not the slope; 1 if the output cannot be printed or for a defect of
        onnxattr; each but 4 with one line on stderr that tells the reason; 130 after Ctrl-C.
    """
    _open_streams()
    # TensorFlow, where a model of Keras is converted, tells of warnings and errors only.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    options = _at_home(_parser().parse_args(arguments))
    words = options_of(options.parser)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names in models are any text, which not every terminal has.
            stream.reconfigure(errors="backslashreplace")
    heard: list[type[Warning]] = []

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        heard.append(category)
        tell(f"warning: {spoken(str(message), words)}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", NonFiniteWarning)
        warnings.showwarning = show
        try:
            status = _run(options, words)
        except KeyboardInterrupt as error:
            tell("; ".join(filter(None, ("onnxattr: interrupted", str(error)))))
            return 130
    if not status and NonFiniteWarning in heard and not getattr(options, "allow_nonfinite", True):
        tell(
            "onnxattr: the written attributions hold NaN or infinite values, and the exit status is 3; "
            "--allow-nonfinite makes it 0."
        )
        return 3
    return status


def _at_home(options: argparse.Namespace) -> argparse.Namespace:
    """The options with ~ at the start of paths expanded: shells do not where it follows "="."""
    for name, value in vars(options).items():
        if name not in _NO_PATHS:
            setattr(options, name, [at_home(v) for v in value] if isinstance(value, list) else at_home(value))
    return options


def _open_streams() -> None:
    """Gives what is printed a place where a program without a terminal closed the outputs, as services do."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the end of the program


def _run(options: argparse.Namespace, words: Mapping[str, str]) -> int:
    try:
        text = options.run(options)
    except OnnxAttrError as error:
        # What a library says is told as it is.
        tell(f"onnxattr: {error if isinstance(error, UnforeseenError) else spoken(str(error), words)}")
        for line in getattr(error, "lines", ()):
            tell(f"- {spoken(line, words)}")
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
    return int(getattr(options, "status", 0))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="onnxattr", description="Explanations that ship with the model.")
    parser.add_argument("--version", action="version", version=f"onnxattr {metadata.version('onnxattr')}")
    commands = parser.add_subparsers(required=True, metavar="command")
    convert.add_to(commands)
    inspect.add_to(commands)
    check.add_to(commands)
    explain.add_to(commands)
    evaluate.add_to(commands)
    export.add_to(commands)
    ops = command(commands, "ops", "list the operators that can be differentiated")
    ops.set_defaults(run=lambda options: supported_operators())
    return parser
