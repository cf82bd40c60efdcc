"""Options that say what a model's file holds or expects: preprocessing, names of classes, words, units, rates."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from onnxattr.errors import ParameterError
from onnxattr.loading.meaning.inputs_outputs import OUTPUT_KINDS
from onnxattr.loading.meaning.stated import NAMES as STATED
from onnxattr.loading.preprocessing.files import PRESETS
from onnxattr.loading.preprocessing.spec import PLACES as PIXELS_OR_INPUT
from onnxattr.loading.preprocessing.spec import read_preprocessing


def add_preprocessing(parser: argparse.ArgumentParser) -> None:
    """Adds the options of what a file holds beside the model: preprocessing and names of classes."""
    parser.add_argument(
        "--preprocess",
        metavar="NAME|FILE.json",
        help=f"put preprocessing in front, so that photos go in as they are: {', '.join(PRESETS)}, or a JSON file, "
        "Hugging Face's and timm's included; model for what the model's file says that it expects",
    )
    parser.add_argument(
        "--attributions-at",
        choices=PIXELS_OR_INPUT,
        help="with preprocessing in front: maps of the photo, or of what the network sees",
    )
    add_stated(parser)


def add_stated(parser: argparse.ArgumentParser) -> None:
    """Adds the options of what a file says of its inputs and outputs."""
    parser.add_argument("--labels", metavar="FILE", help="names of the classes: .txt, one a line, or .json")
    parser.add_argument(
        "--vocabulary",
        action="append",
        metavar="[INPUT=]FILE",
        help="the words of token ids: .txt, one a line, tokenizer.json or vocab.json",
    )
    parser.add_argument(
        "--units",
        action="append",
        metavar="[NAME=]UNIT",
        help="unit of an input, or by its name of an output",
    )
    parser.add_argument(
        "--sampling-rate",
        action="append",
        metavar="[INPUT=]HZ",
        help="steps of a series, or samples of audio, a second",
    )
    parser.add_argument(
        "--output-kind",
        action="append",
        metavar="[NAME=]KIND",
        help=f"what the output gives: {', '.join(OUTPUT_KINDS)}",
    )


def stated_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say of inputs and outputs, by the names of the parameters."""
    found = {name: given for name in STATED if (given := getattr(options, name)) is not None}
    for name in set(found) - {"labels"}:
        found[name] = _by_name(found[name], "--" + name.replace("_", "-"))
    if "sampling_rate" in found:
        rates = found["sampling_rate"]
        found["sampling_rate"] = (
            {name: _rate(rate) for name, rate in rates.items()} if isinstance(rates, dict) else _rate(rates)
        )
    return found


def _by_name(given: list[str], option: str) -> Any:
    """One text, or texts by the names before "="."""
    if len(given) == 1 and ("=" not in given[0] or os.path.exists(given[0])):
        return given[0]
    if odd := [text for text in given if "=" not in text]:
        raise ParameterError(
            f"{option} {odd[0]}: given several times, each needs a name: {option} NAME={odd[0]}."
        )
    return dict(text.split("=", 1) for text in given)


def _rate(text: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise ParameterError(
            f"--sampling-rate {text}: expected a number of samples for each second."
        ) from error
    return int(number) if number.is_integer() else number


def expect_photos(options: argparse.Namespace, metadata: Mapping[str, str]) -> None:
    """Asks for the preprocessing that the model's file says it expects, where photos come and none is asked for."""
    spec = read_preprocessing(metadata) if options.preprocess is None else None
    if spec is not None and not spec.in_graph:
        options.preprocess = "model"
