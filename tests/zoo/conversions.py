"""The models of the zoo as ONNX, each converted once in a run of the tests."""

import keras
import onnx
from onnxattr.converters.keras import to_onnx
from support import kept

from zoo.cases import CASES


def converted(name: str, model: keras.Model) -> onnx.ModelProto:
    """A model of the zoo, converted and checked.

    Args:
        name: Its key in `CASES`.
        model: What the case built, the same each time.
    """
    case = CASES[name]

    def make() -> onnx.ModelProto:
        return to_onnx(model, sample=case.inputs(model, 2) if case.signature else None)

    return kept.once("zoo", name, make)
