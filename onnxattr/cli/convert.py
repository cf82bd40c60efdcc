"""onnxattr convert."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from onnxattr.cli.console import written
from onnxattr.cli.examples import command
from onnxattr.cli.method_options import VERIFY
from onnxattr.cli.stated_options import add_preprocessing, stated_of


def add_to(commands: Any) -> None:
    """Adds the command to the parser's."""
    convert = command(commands, "convert", "convert a model of Keras, PyTorch or scikit-learn")
    convert.add_argument(
        "model",
        help=".keras, .h5, .hdf5 or SavedModel; .pt2 of torch.export; .skops, .joblib or .pkl of scikit-learn; .onnx "
        "with --preprocess, --labels, --vocabulary, --units, --sampling-rate or --output-kind",
    )
    convert.add_argument("-o", "--output", help="ONNX file to write (default: beside the model)")
    convert.add_argument("--opset", type=int, help="17 for Keras, 18 for the others unless given")
    convert.add_argument(
        "--sample",
        help=".npy, .csv or .parquet file with real samples to check with; scikit-learn models need it",
    )
    convert.add_argument(
        "--by-column",
        action="store_true",
        help="scikit-learn: one input for each column of the sample, so that numbers that are categories are explained "
        "by what encodes them",
    )
    convert.add_argument(
        "--trust",
        action="store_true",
        help="open a file whose loading can run code (.pt2, .pkl, Lambda layers)",
    )
    convert.add_argument(
        "--keep-layer", action="append", default=[], help="layer that must stay usable; 'all' keeps all"
    )
    convert.add_argument("--signature", metavar="NAME", help="which function of a SavedModel is converted")
    convert.add_argument(
        "--verify",
        choices=tuple(VERIFY),
        default="auto",
        help="whether the result is compared with the original; auto (which always does) unless given",
    )
    convert.add_argument(
        "--no-verify", action="store_const", const="never", dest="verify", help="the same as --verify never"
    )
    add_preprocessing(convert)
    convert.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> str:
    from onnxattr.converters.files import convert_file

    output = str(Path(options.model).with_suffix(".onnx")) if options.output is None else options.output
    convert_file(
        options.model,
        output,
        opset=options.opset,
        verify=options.verify != "never",
        keep_layers="all" if "all" in options.keep_layer else tuple(options.keep_layer),
        sample=options.sample,
        trust=options.trust,
        signature=options.signature,
        by_column=options.by_column,
        preprocess=options.preprocess,
        attributions_at=options.attributions_at,
        **stated_of(options),
    )
    return written(output)
