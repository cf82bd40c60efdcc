"""What a row of the rule tables is, and the one-node model it stands for; the rows are in the files beside."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper

from onnxattr.compile.gradient import vjp
from onnxattr.loading.load import load
from support import kept
from support.small_models import build

VARIANTS = ("static", "batch", "dynamic")
KINDS = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "j": TensorProto.INT32}


@dataclass(frozen=True)
class Operand:
    """One operand: drawn uniformly from low..high, or given; a runtime input or an initializer.

    ``resizable``: the variants may make its dimensions symbolic.
    """

    shape: tuple[int, ...] = ()
    low: float | np.ndarray = -2.0
    high: float | np.ndarray = 2.0
    given: np.ndarray | None = None
    runtime: bool = True
    resizable: bool = True

    def __str__(self) -> str:
        dims = "x".join(map(str, self.shape)) or "0d"
        if self.given is not None:
            dims = "_".join(str(v) for v in self.given.ravel().tolist()) or "empty"
        return dims if self.runtime else f"c{dims}"

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        if self.given is not None:
            return self.given
        if isinstance(self.low, np.ndarray) and self.low is self.high:
            return self.low
        return rng.uniform(self.low, self.high, self.shape).astype(np.float32)


def x(*shape: int, low: float = -2.0, high: float = 2.0) -> Operand:
    """A float runtime input, which gets a gradient."""
    return Operand(shape, low, high)


def at(values: Any) -> Operand:
    """A float runtime input of given values, which gets a gradient."""
    array = np.asarray(values, np.float32)
    return Operand(array.shape, low=array, high=array)


def weight(*shape: int, low: float = -2.0, high: float = 2.0) -> Operand:
    """A float runtime input, which gets a gradient, but whose shape is known in every variant."""
    return Operand(shape, low, high, resizable=False)


def w(*shape: int, low: float = -1.0, high: float = 1.0) -> Operand:
    """A float initializer."""
    return Operand(shape, low, high, runtime=False)


def const(values: Any, dtype: Any = np.int64) -> Operand:
    """An initializer of given values."""
    return Operand(given=np.asarray(values, dtype), runtime=False)


def feed(values: Any, dtype: Any = np.int64) -> Operand:
    """A runtime input of given values."""
    return Operand(given=np.asarray(values, dtype))


@dataclass(frozen=True)
class Case:
    """One row: an operator, its operands and attributes, and how its gradient is checked.

    ``outputs`` has one letter an output: f float, i int64, j int32, - left out. ``oracle`` is "reference" (check_vjp in
    float64), "differences" (the whole gradient by float64 differences, for gradients that only ONNX Runtime can
    run) or "onnxruntime" (check_vjp in float32); rows that leave the first say why in ``because``. ``formula`` gives
    the outputs of an operator that ONNX Runtime has no kernel for, from the operands in float64.
    ``symbolic_axis`` is the axis of runtime inputs that the "batch" variant makes symbolic; ``dynamic`` says
    whether all dimensions may be unknown.
    """

    op: str
    operands: tuple[Operand | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    opset: int = 18
    outputs: str = "f"
    oracle: str = "reference"
    because: str = ""
    formula: Callable[..., Sequence[np.ndarray]] | None = None
    step: float | None = None
    tolerance: float | None = None
    symbolic_axis: int = 0
    dynamic: bool = True

    def __str__(self) -> str:
        shapes = ",".join("-" if o is None else str(o) for o in self.operands)
        settings = ",".join(f"{k}={v}" for k, v in self.attributes.items()).replace(" ", "")
        opset = f"opset{self.opset}" if self.opset != 18 else ""
        outputs = self.outputs if len(self.outputs) > 1 else ""
        return "-".join(part for part in (self.op, self.label, settings, shapes, outputs, opset) if part)

    def arrays(self) -> dict[str, np.ndarray]:
        """The operands' values by name; the same at every call."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        return {f"v{i}": o.draw(rng) for i, o in enumerate(self.operands) if o is not None}

    def feeds(self) -> dict[str, np.ndarray]:
        """What a session of the model is fed."""
        arrays = self.arrays()
        return {f"v{i}": arrays[f"v{i}"] for i, o in enumerate(self.operands) if o is not None and o.runtime}

    def wrt(self) -> list[str]:
        """The inputs that get a gradient."""
        drawn = [o is not None and o.runtime and o.given is None for o in self.operands]
        return [f"v{i}" for i, active in enumerate(drawn) if active]

    def primal(self) -> dict[str, np.ndarray]:
        """The outputs of the node in ONNX Runtime, by name."""
        if self.formula is not None:
            arrays = {name: array.astype(np.float64) for name, array in self.arrays().items()}
            results = self.formula(*(arrays.get(f"v{i}") for i in range(len(self.operands))))
            return {f"y{i}": result.astype(np.float32) for i, result in enumerate(results)}
        if str(self) not in _PRIMALS:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                self._model("static", None).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            names = [output.name for output in session.get_outputs()]
            _PRIMALS[str(self)] = dict(zip(names, session.run(None, self.feeds()), strict=True))
        return _PRIMALS[str(self)]

    def model(self, variant: str = "static") -> onnx.ModelProto:
        """The model of one node, with static shapes, a symbolic batch, or nothing known but the ranks."""
        return self._model(variant, {name: array.ndim for name, array in self.primal().items()})

    def gradient(self, variant: str = "static") -> onnx.ModelProto:
        """The gradient graph, made once in a run of the tests: of the same rows several things are tested."""
        return kept.once("gradient", f"{variant} {self}", lambda: vjp(self.model(variant), self.wrt()))

    def evaluated(self) -> onnx.ModelProto:
        """The model for onnx's evaluator: an operator outside its default domain is written out."""
        if str(self) not in _EVALUATED:
            model, (domain, _, op_type) = self.model(), self.op.rpartition("::")
            known = not domain and onnx.defs.has(op_type, self.opset, "")
            _EVALUATED[str(self)] = model if known else ir.serde.serialize_model(load(model))
        return _EVALUATED[str(self)]

    def _model(self, variant: str, ranks: dict[str, int] | None) -> onnx.ModelProto:
        arrays, feeds = self.arrays(), self.feeds()
        names = [f"v{i}" if o is not None else "" for i, o in enumerate(self.operands)]
        results = [f"y{i}" if kind != "-" else "" for i, kind in enumerate(self.outputs)]
        outputs = {
            name: ([None] * ranks[name] if ranks else None, KINDS[kind])
            for name, kind in zip(results, self.outputs, strict=True)
            if name
        }
        inputs = {
            name: (self._dims(name, array, variant), helper.np_dtype_to_tensor_dtype(array.dtype))
            for name, array in feeds.items()
        }
        weights = {name: array for name, array in arrays.items() if name not in feeds}
        domain, _, op_type = self.op.rpartition("::")
        node = helper.make_node(op_type, names, results, name="node", domain=domain, **self.attributes)
        imports = [helper.make_opsetid("", self.opset), *self._other_domain(domain)]
        ir_version = 8 if self.opset < 21 else 10
        return build([node], inputs, outputs, weights, opset_imports=imports, ir_version=ir_version)

    def _other_domain(self, domain: str) -> list[onnx.OperatorSetIdProto]:
        return [helper.make_opsetid(domain, 3 if domain == "ai.onnx.ml" else 1)] if domain else []

    def _dims(self, name: str, array: np.ndarray, variant: str) -> list[int | str | None]:
        dims: list[int | str | None] = list(array.shape)
        operand = self.operands[int(name[1:])]
        if operand is None or not operand.resizable or array.dtype.kind != "f":
            return dims
        if variant == "dynamic":
            return [None] * array.ndim
        if variant == "batch" and array.ndim > self.symbolic_axis:
            dims[self.symbolic_axis] = f"N{dims[self.symbolic_axis]}"
        return dims


_PRIMALS: dict[str, dict[str, np.ndarray]] = {}
_EVALUATED: dict[str, onnx.ModelProto] = {}


def case(op: str, *operands: Operand | None, **settings: Any) -> Case:
    """A row; settings that are no field of Case are attributes of the node."""
    fields = {key: settings.pop(key) for key in [*settings] if key in Case.__dataclass_fields__}
    return Case(op, operands, settings, **fields)


def microsoft(op: str, *operands: Operand | None, **settings: Any) -> Case:
    """A row of an operator of com.microsoft."""
    return case(f"com.microsoft::{op}", *operands, **settings)
