"""Commands as they are typed, for the help of each command."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

EXAMPLES = {
    "convert": (
        "onnxattr convert model.keras -o model.onnx",
        "onnxattr convert pipeline.skops --sample rows.csv -o model.onnx",
        "onnxattr convert module.pt2 --trust -o model.onnx",
        "onnxattr convert model.onnx --preprocess imagenet --labels names.txt -o photos.onnx",
    ),
    "inspect": (
        "onnxattr inspect model.onnx",
        "onnxattr inspect model.onnx --verbose --measure",
        "onnxattr inspect explainer.onnx --json",
        "onnxattr inspect explainer.onnx --runtime webgpu",
    ),
    "check": (
        "onnxattr check model.onnx",
        "onnxattr check model.onnx images.npy --output logits",
        "onnxattr check text.onnx ids.npz --wrt embeddings",
    ),
    "explain": (
        "onnxattr explain explainer.onnx photo.jpg",
        "onnxattr explain explainer.onnx photos/ --picture sheet.png -o maps.npz",
        "onnxattr explain explainer.onnx rows.csv -o maps.csv",
        "onnxattr explain model.onnx images.npy --method SmoothGrad -o maps.npy --picture why.png",
        "onnxattr explain explainer.onnx rows/ -o maps/",
        "onnxattr explain model.onnx images.npy --output-layer logits --targets 281 -o maps.npy",
    ),
    "evaluate": (
        "onnxattr evaluate model.onnx images.npy --methods Saliency,GradCAM -o table.csv",
        "onnxattr evaluate model.onnx photos/ --preprocess imagenet --labels names.txt",
        "onnxattr evaluate model.onnx rows.csv --metrics Deletion,Insertion --picture curves.png",
    ),
    "export": (
        "onnxattr export model.onnx -o explainer.onnx",
        "onnxattr export model.onnx --method GradCAM --output-layer logits -o explainer.onnx",
        "onnxattr export model.onnx --method Saliency --method GradCAM -o explainers/",
        "onnxattr export text.onnx --wrt embeddings --vocabulary tokenizer.json -o explainer.onnx",
        "onnxattr export ecg.onnx --sampling-rate 360 --units mV -o explainer.onnx",
        "onnxattr export model.onnx --triton models/",
    ),
    "ops": ("onnxattr ops",),
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, behind a line on where the options are listed."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with status 2."""
        self.exit(
            2,
            f"usage: {self.prog} ...; {self.prog} --help lists the options\n{self.prog}: error: {message}\n",
        )


def command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Adds a command, whose help ends with its examples."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog="\n".join(["examples:", *(f"  {example}" for example in EXAMPLES[name])]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser)
    return parser
