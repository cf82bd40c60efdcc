"""Where preprocessing that is put in front of a model does not fit what the model does itself or expects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxattr.graph.values import named_values
from onnxattr.loading.meaning.inputs_outputs import read_meaning
from onnxattr.loading.preprocessing.spec import Preprocessing

_ARITHMETIC = ("Mul", "Div", "Sub", "Add")
_FEW = 4
#: What decides which image the network gets.
_DECIDING = ("order", "scale", "mean", "std", "resize", "size", "crop", "kernel", "pad")


def disagreements(model: ir.Model, stated: Preprocessing | None, given: Preprocessing) -> Iterator[str]:
    """Warnings about preprocessing that is put in front of a model.

    Args:
        model: The model.
        stated: What its file says that it expects; None if it does not say.
        given: What was asked for, ``fitted`` to the model.
    """
    changes = given.scale != 1 or any(given.mean) or any(number != 1 for number in given.std)
    if changes and (found := _normalizing_nodes(model, given.feeds)):
        yield (
            f"The model normalises its input {given.feeds!r} itself ({', '.join(found)}), and preprocess does it too: "
            "check that both belong there, or take preprocess='0..255', which only resizes."
        )
    if stated is None or stated.feeds not in ("", given.feeds) or _same_numbers(stated, given):
        return
    pairs = [(name, getattr(stated, name), getattr(given, name)) for name in _DECIDING]
    text = "; ".join(f"{name} {a}, given {b}" for name, a, b in pairs if a is not None and a != b)
    source = f" ({stated.source})" if stated.source else ""
    yield (
        f"The model's file says that its input {given.feeds!r} expects other preprocessing{source}: {text}. Scores and "
        "maps are those of an image that the model was not made for. preprocess='model' (--preprocess model) takes "
        "what the file says."
    )


def _normalizing_nodes(model: ir.Model, name: str) -> list[str]:
    """What a model does to an input that is normalisation: layers that its file tells of, or the first nodes."""
    meaning = read_meaning(model.metadata_props).inputs.get(name)
    if meaning is not None and meaning.normalized_by:
        return list(meaning.normalized_by)
    value, found = named_values(model.graph).get(name), []
    while value is not None:
        readers = list(value.consumers())
        node = readers[0] if len(readers) == 1 else None
        if node is None or node.op_type not in ("Cast", "Identity", "Transpose", *_ARITHMETIC):
            break
        if node.op_type in _ARITHMETIC:
            if not _by_constant(node, value):
                break
            found.append(node.op_type)
        value = node.outputs[0]
    return found


def _by_constant(node: ir.Node, value: ir.Value) -> bool:
    """Whether the other operand is a constant with a number for each channel at most."""
    others = [v.const_value for v in node.inputs if v is not None and v is not value]
    return all(tensor is not None and tensor.size <= _FEW for tensor in others)


def _same_numbers(one: Preprocessing, other: Preprocessing) -> bool:
    """Whether both make the same numbers of a pixel, to a thousandth: its slope and offset for each channel."""
    own, others = (
        [np.broadcast_to(np.divide(by, spec.std), spec.channels) for by in (spec.scale, spec.mean)]
        for spec in (one, other)
    )
    return one.order == other.order and bool(np.allclose(own, others, rtol=1e-3))
