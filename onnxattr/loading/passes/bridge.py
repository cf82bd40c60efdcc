"""The one way from an onnx_ir model to protobuf and back while a model is prepared.

onnx's version converter, shape inference and function inliner are C++ that takes protobuf, and onnx-ir has no equal of
them: its own shape inference pass calls onnx's, and its inliner does not convert a function's opset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import onnx
import onnx_ir as ir

#: In a model's ``meta``: how often it was serialised and read again, by what for.
CROSSINGS = "crossings"


@dataclass
class Crossing:
    """A model as protobuf; the model is read again from ``proto`` if that is replaced."""

    proto: onnx.ModelProto


@contextmanager
def as_proto(model: ir.Model, why: str, same: onnx.ModelProto | None = None) -> Iterator[Crossing]:
    """Gives a model as protobuf, with the weights that it holds.

    Args:
        model: The model; changed in place if the crossing's ``proto`` is replaced, its ``meta`` stays.
        why: What needs protobuf; counted in the model's ``meta``.
        same: The model as protobuf, if it is at hand; the model is not serialised then.
    """
    count: Counter[str] = model.meta.setdefault(CROSSINGS, Counter())
    if same is None:
        same = ir.serde.serialize_model(model)
        count[why] += 1
    crossing = Crossing(same)
    yield crossing
    if crossing.proto is not same:
        take_over(model, read_back(model, crossing.proto, why))


def read_back(model: ir.Model, proto: onnx.ModelProto, why: str) -> ir.Model:
    """What became of a model as protobuf, as a model of onnx_ir; counted in the ``meta`` of the model that it was."""
    model.meta.setdefault(CROSSINGS, Counter())[f"{why}, back"] += 1
    return ir.serde.deserialize_model(proto)


def take_over(model: ir.Model, other: ir.Model) -> None:
    """Gives a model the graph, the opsets and the IR version of another."""
    model.graph = other.graph
    model.ir_version = other.ir_version
    model.functions.clear()
    model.functions.update(other.functions)
