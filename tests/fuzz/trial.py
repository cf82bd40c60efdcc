"""A case with what its checks share, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import onnx

from fuzz.draft import Array
from fuzz.generate import Case
from fuzz.oracle import Forward, double_forward, in_double, neighbours, session
from onnxattr import IntegratedGradients, OnnxAttrError, vjp
from onnxattr.loading.verify import without_declared_shapes
from onnxattr.testing import as_double

Known = TypeVar("Known")


class Trial:
    """A case with what its checks share, each computed once."""

    def __init__(self, case: Case):
        self.case = case
        self._known: dict[tuple[str, bytes], object] = {}
        session(case.model)
        # What the file says of inner values may be stale, and then misleads the runtime itself.
        self.bare = without_declared_shapes(case.model)
        own = session(self.bare)
        self.outputs = [np.asarray(own.run(["y"], {"x": x})[0]) for x in case.points]
        rng = np.random.default_rng(case.seed)
        self.cotangent = rng.normal(size=self.outputs[0].shape).astype(np.float32)
        self.direction = rng.normal(size=(2, *case.points[0].shape))

    @cached_property
    def gradient_model(self) -> onnx.ModelProto:
        """The model with its gradient."""
        return vjp(self.case.model, "x", "y")

    @cached_property
    def differentiate(self) -> Callable[[Array, Array], tuple[Array, Array]]:
        """(x, ct) to (y, xbar), in the runtime."""
        loaded = session(self.gradient_model)

        def run(x: Array, ct: Array) -> tuple[Array, Array]:
            y, xbar = loaded.run(["y", "x_gradient"], {"x": x, "y_cotangent": ct})
            return np.asarray(y), np.asarray(xbar)

        return run

    @cached_property
    def forward(self) -> Forward | None:
        """The model in float64."""
        for x, y in zip(self.case.points[:2], self.outputs, strict=False):
            if np.isfinite(y).all():
                return double_forward(self.bare, x, y)
        return None

    def once(self, what: str, x: Array, find: Callable[[], Known]) -> Known:
        """What is found at x, looked for once."""
        key = (what, x.tobytes())
        if key not in self._known:
            self._known[key] = find()
        return self._known[key]  # type: ignore[return-value]

    def feeds(self, x: Array) -> dict[str, Array]:
        """The inputs of the gradient graph."""
        return {"x": x, "y_cotangent": self.cotangent}

    def double(self, model: onnx.ModelProto, x: Array, name: str) -> Array | None:
        """A value of a model of float64 that reads x and perhaps the cotangent; None if it does not run."""
        more = {"y_cotangent": self.cotangent.astype(np.float64)} if len(model.graph.input) > 1 else {}
        for run in in_double(model, [name], **more):
            try:
                return run(x)[0]
            except Exception:  # operators that this one lacks in float64
                continue
        return None

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
            model = as_double(vjp(self.bare, names, "y"))
        except OnnxAttrError:
            return None
        more = {"y_cotangent": self.cotangent.astype(np.float64)}
        for run in in_double(model, [f"{name}_gradient" for name in names], **more):
            try:
                return run(x)
            except Exception:  # operators that this one lacks in float64
                continue
        return None

    def rounding(self, x: Array, name: str) -> Array:
        """How far a value of the gradient graph moves where inner values are rounded as in float32; 0 if unknown."""
        near = neighbours(self.gradient_model, self.feeds(x), 2.0**-23, self.case.seed, decided=True)
        found = [self.double(model, x, name) for model in (as_double(self.gradient_model), *near)]
        there = [a for a in found if a is not None]
        return np.ptp(there, axis=0) if len(there) == len(found) else np.zeros(())

    def broken_ties(self, x: Array) -> Array:
        """How far x's gradient moves where rounding makes equal values of the model differ; 0 if unknown.

        Zeros stay zeros. A runtime's kernel may compute the last elements of a row, which fill no vector, in another
        way than the others, so which of equal elements is the largest depends on how many samples a run has.
        """
        near = neighbours(self.bare, {"x": x}, 2.0**-23, self.case.seed)
        try:
            models = [as_double(self.gradient_model), *(vjp(model, "x", "y") for model in near)]
        except OnnxAttrError:
            return np.zeros(())
        found = [self.double(model, x, "x_gradient") for model in models]
        return np.zeros(()) if any(a is None for a in found) else np.ptp(found, axis=0)  # type: ignore[arg-type]

    def method(self, cls: type, **parameters: object):  # type: ignore[no-untyped-def]
        """A method for the case's model."""
        options = {"output_layer": "y", "batch_size": 2, "reducer": None, "progress": False}
        return cls(self.case.model, **options, **parameters)

    @cached_property
    def path(self) -> IntegratedGradients:
        """Integrated Gradients of three points; what they share is computed once, wherever the graph allows it."""
        return self.method(IntegratedGradients, steps=3, share=True)

    def explained(self, x: Array) -> Array:
        """x times the gradient, sample by sample where they are apart."""
        return x * self.differentiate(x, self.cotangent)[1]
