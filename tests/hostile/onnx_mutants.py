"""Small models of every kind, and seeded mutations of their bytes and of the fields of their messages."""

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import parser
from support.small_models import build, cnn_nchw, embedding, mlp, node, series, two_inputs

from onnxattr.attributions import IntegratedGradients, SmoothGrad

CONTROL = """<ir_version: 8, opset_import: ["" : 18]>
g (float[N,4] x) => (float[N,4] y) <int64 many = {3}, float limit = {0.5}> {
    s = ReduceSum<keepdims = 0>(x) c = Greater(s, limit)
    b = If(c) <then_branch = t () => (float[N,4] u) { u = Tanh(x) },
               else_branch = e () => (float[N,4] v) { v = Sin(x) }>
    y = Loop(many, , b) <body = l (int64 i, bool p, float[N,4] q) => (bool r, float[N,4] w) {
        r = Identity(p) w = Mul(q, x) }>
}"""

FUNCTIONS = """<ir_version: 8, opset_import: ["" : 18, "own" : 1]>
g (float[N,4] x) => (float[N,4] y) { h = own.twice(x) y = own.twice(h) }
<domain: "own", opset_import: ["" : 18]> twice (a) => (b) { t = Tanh(a) b = Add(t, t) }"""


def recurrent() -> onnx.ModelProto:
    """An LSTM, which has optional inputs and many attributes."""
    rng = np.random.default_rng(0)
    weights = {"W": rng.normal(size=(1, 12, 4)), "R": rng.normal(size=(1, 12, 3))}
    nodes = [
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        node("LSTM", ["steps", "W", "R"], ["", "h"], hidden_size=3, layout=0),
        node("Squeeze", ["h", "axes"], ["y"]),
    ]
    arrays = {name: array.astype(np.float32) for name, array in weights.items()} | {"axes": np.array([0])}
    return build(nodes, {"x": ["N", 5, 4]}, {"y": ["N", 3]}, arrays)


def explainer(cls: type, **options) -> onnx.ModelProto:
    return cls(mlp().model, **options).explainer()


#: What is mutated, by name.
MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "mlp": lambda: mlp().model,
    "convolutions": lambda: cnn_nchw().model,
    "tokens": lambda: embedding().model,
    "two inputs": lambda: two_inputs().model,
    "series": lambda: series().model,
    "control flow": lambda: parser.parse_model(CONTROL),
    "functions": lambda: parser.parse_model(FUNCTIONS),
    "recurrent": recurrent,
    "an explainer": lambda: explainer(IntegratedGradients, steps=4, baseline_value=0.5),
    "an explainer with noise": lambda: explainer(SmoothGrad, nb_samples=3),
}

_INTEGERS = (0, 1, -1, 2, 3, 7, 99, 2**31 - 1, -(2**31), 2**62, -(2**63), 2**63 - 1)
_TEXTS = (
    "",
    "x",
    "y",
    "no such name",
    "\x1b[2J\n",
    "é" * 40,
    "Relu",
    "Constant",
    "Loop",
    "ai.onnx.ml",
    "../x",
    "{}",
    "[1,2]",
)
_NUMBERS = (0.0, -1.0, float("nan"), float("inf"), 1e30)


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Mutated files as (what was done, bytes): half of bytes, half of fields, the models in turn."""
    rng = random.Random(seed)
    originals = {name: make() for name, make in MODELS.items()}
    names = list(originals)
    for number in range(count):
        name = names[number % len(names)]
        if number // len(names) % 2:
            done, data = mutated_bytes(originals[name].SerializeToString(), rng)
        else:
            model = copy.deepcopy(originals[name])
            steps = [mutate_field(model, rng) for _ in range(rng.choice((1, 1, 1, 2, 4)))]
            done, data = "; ".join(steps), model.SerializeToString()
        yield f"{name}: {done}", data


def write_mutants(folder: Path, count: int, seed: int) -> dict[str, str]:
    """Writes mutants into a folder; gives what was done by path."""
    done = {}
    for number, (what, data) in enumerate(mutants(count, seed)):
        path = folder / f"{number:05d}.onnx"
        path.write_bytes(data)
        done[str(path)] = what
    return done


def mutated_bytes(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Bits flipped, bytes set, parts cut out, doubled, swapped with zeros, or the end cut off."""
    kind = rng.choice(("flip", "flip", "set", "cut", "double", "zero", "truncate"))
    changed = bytearray(data)
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice((1, 2, 8, 64)))
    if kind == "flip":
        for _ in range(rng.choice((1, 1, 4, 16))):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif kind == "set":
        changed[start] = rng.choice((0, 0x7F, 0x80, 0xFF))
    elif kind == "cut":
        del changed[start:end]
    elif kind == "double":
        changed[start:start] = changed[start:end]
    elif kind == "zero":
        changed[start:end] = bytes(end - start)
    else:
        del changed[start:]
    return f"{kind} at {start}", bytes(changed)


def mutate_field(model: Message, rng: random.Random) -> str:
    """Changes one field somewhere in a message; deep and shallow messages have the same chance."""
    message, path = model, ""
    while True:
        inner = [(f.name, v) for f, v in message.ListFields() if f.type == FieldDescriptor.TYPE_MESSAGE]
        if not inner or (path and rng.random() < 0.3):
            break
        name, value = rng.choice(inner)
        path += "." + name
        message = value if isinstance(value, Message) else rng.choice(list(value))
    fields = [field for field, _ in message.ListFields()]
    field = rng.choice(fields if fields and rng.random() < 0.8 else list(message.DESCRIPTOR.fields))
    repeated = hasattr(getattr(message, field.name), "append") or hasattr(getattr(message, field.name), "add")
    try:
        action = _change_repeated(message, field, rng) if repeated else _change_single(message, field, rng)
    except (ValueError, TypeError, IndexError) as error:
        # A value that the field cannot hold at all: the file stays as it was.
        action = f"nothing ({error})"
    return f"{path}.{field.name} {action}"


def _change_single(message: Message, field: FieldDescriptor, rng: random.Random) -> str:
    if field.type == FieldDescriptor.TYPE_MESSAGE or rng.random() < 0.15:
        message.ClearField(field.name)
        return "cleared"
    value = _value(field, rng, getattr(message, field.name))
    setattr(message, field.name, value)
    return f"= {value!r}"[:60]


def _change_repeated(message: Message, field: FieldDescriptor, rng: random.Random) -> str:
    values = getattr(message, field.name)
    kind = rng.choice(("delete", "double", "swap", "set", "clear") if len(values) else ("set",))
    if kind == "clear":
        message.ClearField(field.name)
    elif kind == "delete":
        del values[rng.randrange(len(values))]
    elif kind == "double":
        values.append(values[rng.randrange(len(values))])
    elif kind == "swap":
        items = [copy.deepcopy(value) for value in values]
        rng.shuffle(items)
        message.ClearField(field.name)
        getattr(message, field.name).extend(items)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        values.add()
    else:
        values.append(_value(field, rng, values[0] if len(values) else None))
    return kind


def _value(field: FieldDescriptor, rng: random.Random, old: object) -> object:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            data = bytes(old or b"")
            return rng.choice((data[: len(data) // 2], data + b"\0" * 5, b"", b"\xff\xfe", data * 2))
        return rng.choice(_TEXTS)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(_NUMBERS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice([v.number for v in field.enum_type.values])
    return rng.choice(_INTEGERS)
