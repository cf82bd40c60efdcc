"""onnx-ad, whose gradients run in ONNX Runtime too."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import onnx

from benchmarks.bench.cases import Case
from benchmarks.bench.files import onnx_file
from benchmarks.bench.sides.base import Run, Side, UnavailableError
from benchmarks.bench.sides.ours import with_threads
from onnxattr.session import Session


class OnnxAd(Side):
    """Gradients alone; a graph is for one number of rows."""

    tasks: ClassVar = ("gradient",)

    def __init__(self, case: Case, threads: int):
        super().__init__(case, threads)
        with_threads(threads)
        self.model = onnx.load(onnx_file(case))

    def prepare(self, task: str, rows: int, points: int = 50) -> dict[str, Run]:
        """See ``Side``."""
        from onnx_ad import reverse

        if task != "gradient":
            raise UnavailableError("onnx-ad makes gradients alone")
        name, output = self.model.graph.input[0].name, self.model.graph.output[0].name
        x, model = self.samples(rows), with_rows(self.model, rows)
        try:
            options: Any = {"prefix": "adj_", "dim": "nadj", "layout": "onnx"}
            session = Session(reverse(model, [name], [output], **options))
        except Exception as error:
            raise UnavailableError(str(error).splitlines()[0][:160]) from error
        at = session.outputs.index(f"adj_{name}")
        classes = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
        cotangent = np.zeros((rows, classes, 1), np.float32)
        cotangent[:, 0] = 1
        feeds = {name: x, f"adj_{output}": cotangent}
        return {"onnx-ad": lambda: session.run(feeds)[at][..., 0]}


def with_rows(model: onnx.ModelProto, rows: int) -> onnx.ModelProto:
    """The model for so many rows, with the shapes that onnx-ad asks for."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = rows
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)
