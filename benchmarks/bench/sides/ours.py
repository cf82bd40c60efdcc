"""This project: `vjp` in a session of its own, and the methods."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime

from benchmarks.bench.cases import Case
from benchmarks.bench.files import onnx_file
from benchmarks.bench.sides.base import BATCH, NOISE, Run, Side
from onnxattr import DeconvNet, GradCAM, IntegratedGradients, Saliency, SquareGrad, vjp
from onnxattr.session import Session


def with_threads(threads: int) -> None:
    """Makes every session of this process use so many threads."""
    original = onnxruntime.SessionOptions

    class Limited(original):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.intra_op_num_threads = threads
            self.inter_op_num_threads = 1

    if threads:
        onnxruntime.SessionOptions = Limited


def method(model: Any, task: str, points: int) -> Any:
    """The method of a task, without a reducer as the other sides."""
    common = {"batch_size": BATCH, "reducer": None}
    if task == "IG":
        return IntegratedGradients(model, steps=points, **common)
    if task == "SquareGrad":
        return SquareGrad(model, nb_samples=points, noise=NOISE, **common)
    if task == "GradCAM":
        return GradCAM(model, batch_size=BATCH)
    return {"saliency": Saliency, "DeconvNet": DeconvNet}[task](model, **common)


class Ours(Side):
    """onnxattr, and the model alone as "forward"."""

    tasks: ClassVar = ("forward", "gradient", "saliency", "IG", "SquareGrad", "DeconvNet", "GradCAM")

    def __init__(self, case: Case, threads: int):
        super().__init__(case, threads)
        with_threads(threads)
        self._held: dict[Any, Any] = {}
        graph = onnx.load(onnx_file(case), load_external_data=False).graph
        self.input, self.output = graph.input[0].name, graph.output[0].name

    def _once(self, key: Any, make: Any) -> Any:
        if key not in self._held:
            self._held[key] = make()
        return self._held[key]

    def prepare(self, task: str, rows: int, points: int = 50) -> dict[str, Run]:
        """See ``Side``; the gradient comes with the forward pass, which it is compared to."""
        path, x = onnx_file(self.case), self.samples(rows)
        if task in ("forward", "gradient"):
            forward = self._once("forward", lambda: Session(path))
            runs: dict[str, Run] = {"forward": lambda: forward.run({self.input: x})[0]}
            if task == "gradient":
                gradient = self._once("gradient", lambda: Session(vjp(path)))
                cotangent = np.zeros_like(forward.run({self.input: x})[0])
                cotangent[:, 0] = 1
                feeds = {self.input: x, f"{self.output}_cotangent": cotangent}
                at = gradient.outputs.index(f"{self.input}_gradient")
                runs["onnxattr"] = lambda: gradient.run(feeds)[at]
            return runs
        explainer = self._once((task, points), lambda: method(path, task, points))
        labels = np.zeros(rows, int)
        return {"onnxattr": lambda: np.asarray(explainer.explain(x, labels))}
