"""The models of the zoo as ONNX, each converted once in a run of the tests, whose workers share a folder."""

import os
from pathlib import Path

import keras
import onnx
from onnxattr.converters.keras import to_onnx

from zoo.cases import CASES


def converted(name: str, model: keras.Model, folder: Path) -> onnx.ModelProto:
    """A model of the zoo, converted and checked.

    Args:
        name: Its key in `CASES`.
        model: What the case built, the same each time.
        folder: Where conversions of this run are kept.
    """
    path = folder / f"{list(CASES).index(name)}.onnx"
    if not path.exists():
        case = CASES[name]
        made = to_onnx(model, sample=case.inputs(model, 2) if case.signature else None)
        # Two workers may be here at once: each writes a file of its own, and either is whole.
        own = path.with_suffix(f".{os.getpid()}")
        onnx.save(made, own)
        os.replace(own, path)
    return onnx.load(path)
