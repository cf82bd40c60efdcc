"""A case with what its checks share, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime

from fuzz.compare import MismatchError, same
from fuzz.draft import Array
from fuzz.generate import Case
from fuzz.oracle import Forward, double_forward, in_double, inner_values, neighbours, session
from fuzz.plain import ULP, has_half, in_float64, is_quantised, written_out
from onnxattr import GradientInput, IntegratedGradients, OnnxAttrError, vjp
from onnxattr.graph.declared import without_declared_shapes

Known = TypeVar("Known")


class Trial:
    """A case with what its checks share, each computed once."""

    def __init__(self, case: Case):
        self.case = case
        self._known: dict[tuple[str, bytes], object] = {}
        session(case.model)
        # What the file says of inner values may be stale, and then misleads the runtime itself.
        bare = without_declared_shapes(case.model)
        self.bare = written_out(bare)
        self.quantised, self.half = is_quantised(self.bare), has_half(self.bare)
        own = session(bare)
        self.outputs = [np.asarray(own.run(["y"], self.inputs(x))[0]) for x in case.points]
        rng = np.random.default_rng(case.seed)
        self.cotangent = rng.normal(size=self.outputs[0].shape).astype(np.float32)
        self.direction = rng.normal(size=(2, *case.points[0].shape))

    def at(self, x: Array) -> Trial:
        """The same with another point, of another batch or length."""
        other = Trial(replace(self.case, points=[x], further=[]))
        vars(other).update(gradient_model=self.gradient_model, run_gradient=self.run_gradient)
        return other

    def of_input(self, name: str, model: onnx.ModelProto) -> Trial:
        """The same about another input, which is called x in a model where x has its name."""
        others = {**self.case.others, name: self.case.points[0]}
        return Trial(replace(self.case, model=model, points=[self.case.others[name]], others=others))

    def inputs(self, x: Array) -> dict[str, Array]:
        """The inputs of the model."""
        return {"x": x, **self.case.others}

    def given(self, x: Array, rows: slice = slice(None)) -> Array | dict[str, Array]:
        """What a method takes, or some rows of it."""
        found = {name: a[rows] for name, a in self.inputs(x).items()}
        return found if self.case.others else found["x"]

    def predicts(self, found: Array, place: int, what: str) -> None:
        """That a prediction is the model's at a point, as the runtime computes it in one of its ways.

        Of two pairs of QuantizeLinear and DequantizeLinear in a row its optimisations make one, which rounds once
        instead of twice; at its defaults it multiplies quantised values as integers.
        """
        x = self.case.points[place]
        is_given = partial(same, found, what=what, tolerance=1e-5, rounding=lambda: self.rounding(x, "y"))
        try:
            is_given(self.outputs[place])
        except MismatchError:
            if not self.quantised or not self._predicts_otherwise(x, is_given):
                raise

    def _predicts_otherwise(self, x: Array, is_given: Callable[[Array], None]) -> bool:
        """Whether a prediction is that of the model without optimisations, or with products of integers."""
        model = without_declared_shapes(self.case.model)
        for options in ({"plain": True}, {"in_reals": False}):
            try:
                is_given(np.asarray(session(model, **options).run(["y"], self.inputs(x))[0]))
            except MismatchError:
                continue
            return True
        return False

    @cached_property
    def gradient_model(self) -> onnx.ModelProto:
        """The model with its gradient."""
        return written_out(vjp(self.case.model, "x", "y"))

    @cached_property
    def run_gradient(self) -> onnxruntime.InferenceSession:
        """A session of the model with its gradient."""
        return session(self.gradient_model)

    def differentiate(self, x: Array, ct: Array) -> tuple[Array, Array]:
        """(x, ct) to (y, xbar), in the runtime."""
        feeds = self.inputs(x) | {"y_cotangent": ct}
        y, xbar = self.run_gradient.run(["y", "x_gradient"], feeds)
        return np.asarray(y), np.asarray(xbar)

    def forward(self, x: Array) -> Forward | None:
        """The model in float64; around x, if it is quantised; None if its output is not finite or not that one."""
        if self.quantised:
            return self.once("forward", x, lambda: self._forward([x]))
        return self.once("forward", np.zeros(0), lambda: self._forward(self.case.points[:2]))

    def _forward(self, points: Sequence[Array]) -> Forward | None:
        for x in points:
            y = next(y for p, y in zip(self.case.points, self.outputs, strict=True) if p is x)
            if not np.isfinite(y).all():
                continue
            # Where rounding makes another output of it than float64 has, a model is known at another point.
            double = self.wide(self.bare, x, moving=True)
            found = double_forward(double, x, y, self.case.others, self.half)
            if found is not None:
                return found
        return None

    def wide(self, model: onnx.ModelProto, x: Array, *, moving: bool = False) -> onnx.ModelProto:
        """A model that reads x, and perhaps the cotangent, in float64."""
        if not self.quantised:
            return in_float64(model)
        feeds = self.feeds(x) if _reads_cotangent(model) else self.inputs(x)
        return in_float64(model, {**feeds, **inner_values(model, feeds)}, moving=moving)

    def once(self, what: str, x: Array, find: Callable[[], Known]) -> Known:
        """What is found at x, looked for once."""
        key = (what, x.tobytes())
        if key not in self._known:
            self._known[key] = find()
        return self._known[key]  # type: ignore[return-value]

    def feeds(self, x: Array) -> dict[str, Array]:
        """The inputs of the gradient graph."""
        return {**self.inputs(x), "y_cotangent": self.cotangent}

    def double(self, model: onnx.ModelProto, x: Array, name: str) -> Array | None:
        """A value of a model of float64 that reads x and perhaps the cotangent; None if it does not run."""
        more = self.feeds(x) if _reads_cotangent(model) else self.inputs(x)
        more.pop("x")
        for run in in_double(model, [name], **more):
            try:
                return run(x)[0]
            except Exception:  # operators that this one lacks in float64
                continue
        return None

    def exact(self, x: Array) -> Array | None:
        """The gradient graph's gradient at x, in float64; None if it does not run."""
        return self.once("exact", x, lambda: self.double(self.wide(self.gradient_model, x), x, "x_gradient"))

    def largest_cotangents(self, x: Array, names: Sequence[str]) -> list[float]:
        """The largest magnitude in the cotangent of each inner value, in float64; 0 if it has none or none is found."""
        if not names:
            return []
        found = self._cotangents(x, names)
        if found is None and len(names) > 1:
            return [size for name in names for size in self.largest_cotangents(x, [name])]
        return [0.0] if found is None else [float(np.abs(ct).max(initial=0)) for ct in found]

    def _cotangents(self, x: Array, names: Sequence[str]) -> list[Array] | None:
        """The cotangents of inner values, in float64; None if one has none or they do not run together."""
        try:
            model = self.wide(vjp(self.bare, names, "y"), x)
        except OnnxAttrError:
            return None
        more = self.feeds(x)
        more.pop("x")
        for run in in_double(model, [f"{name}_gradient" for name in names], **more):
            try:
                return run(x)
            except Exception:  # operators that this one lacks in float64
                continue
        return None

    def rounding(self, x: Array, name: str) -> Array:
        """How far a value of the gradient graph moves where x and inner values are rounded; 0 if unknown.

        Elements of x that are equal are moved alike: a sum that cancels does not cancel as exactly any more, which
        a quotient by what is left may make large, but a tie stays one.
        """
        near = neighbours(self.gradient_model, self.feeds(x), None, self.case.seed, decided=True)
        models = (self.wide(self.gradient_model, x), *near)
        points = (x, *(_jittered(x, np.random.default_rng(k)) for k in range(len(near))))
        found = [self.double(model, point, name) for model, point in zip(models, points, strict=True)]
        there = [a for a in found if a is not None]
        return np.ptp(there, axis=0) if len(there) == len(found) else np.zeros(())

    def broken_ties(self, x: Array) -> Array:
        """How far x's gradient moves where rounding makes equal values of the model differ; 0 if unknown.

        Zeros stay zeros. A runtime's kernel may compute the last elements of a row, which fill no vector, in another
        way than the others, so which of equal elements is the largest depends on how many samples a run has.
        """
        if self.quantised:
            return np.zeros(())
        near = neighbours(self.bare, self.inputs(x), None, self.case.seed)
        try:
            models = [self.wide(self.gradient_model, x), *(vjp(model, "x", "y") for model in near)]
        except OnnxAttrError:
            return np.zeros(())
        found = [self.double(model, x, "x_gradient") for model in models]
        return np.zeros(()) if any(a is None for a in found) else np.ptp(found, axis=0)  # type: ignore[arg-type]

    def method(self, cls: type, **parameters: object):  # type: ignore[no-untyped-def]
        """A method for the case's model that explains x."""
        options: dict[str, object] = {
            "output_layer": "y",
            "batch_size": 2,
            "reducer": None,
            "progress": False,
        }
        options |= {"wrt": "x"} if self.case.others else {}
        return cls(self.case.model, **options | parameters)

    @cached_property
    def product(self) -> GradientInput:
        """The gradient times x."""
        return self.method(GradientInput)

    @cached_property
    def path(self) -> IntegratedGradients:
        """Integrated Gradients of three points; what they share is computed once, wherever the graph allows it."""
        return self.method(IntegratedGradients, steps=3, share=True)

    def explained(self, x: Array) -> Array:
        """x times the gradient, sample by sample where they are apart."""
        return x * self.differentiate(x, self.cotangent)[1]

    def explains(
        self,
        found: Array,
        of: Callable[[Callable[[Array], Array]], Array],
        what: str,
        rounding: Callable[[], Array],
    ) -> None:
        """That a map is that of the gradient, with quantised values multiplied as floats or as integers."""
        try:
            same(found, of(lambda x: self.differentiate(x, self.cotangent)[1]), what, rounding=rounding)
        except MismatchError:
            if not self.quantised:
                raise
            loaded = session(self.gradient_model, in_reals=False)
            wanted = of(lambda x: np.asarray(loaded.run(["x_gradient"], self.feeds(x))[0]))
            same(found, wanted, what, rounding=rounding)


def _reads_cotangent(model: onnx.ModelProto) -> bool:
    return any(value.name == "y_cotangent" for value in model.graph.input)


def _jittered(x: Array, rng: np.random.Generator) -> Array:
    """x in float64, each number moved as rounding to float32 does, zero left as it is."""
    numbers, places = np.unique(x, return_inverse=True)
    moved = numbers * (1 + ULP[np.dtype(np.float32)] * rng.normal(size=numbers.shape))
    return np.asarray(moved[places].reshape(x.shape))
