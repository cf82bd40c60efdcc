"""Operators as onnx's evaluator should have them: those in which it is wrong or incomplete, for checks in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_batch_normalization import BatchNormalization_14
from onnx.reference.ops.op_pad import Pad_18
from onnx.reference.ops.op_stft import STFT as STFT_17

from onnxattr.testing.evaluator_windows import WINDOW_OPS, Attributes, Corrected


class Pad(Pad_18):  # noqa: D101
    op_domain = ""

    def _run(
        self, data: Any, pads: Any, constant_value: Any = None, axes: Any = None, mode: Any = None
    ) -> Any:
        """Negative pads crop, which onnx's own evaluator does not know."""
        where = [axis % data.ndim for axis in axes] if axes is not None else [*range(data.ndim)]
        cut = [slice(None)] * data.ndim
        for index, axis in enumerate(where):
            begin, end = int(pads[index]), int(pads[index + len(where)])
            cut[axis] = slice(max(-begin, 0), data.shape[axis] - max(-end, 0))
        pads = np.maximum(pads, 0)
        return super()._run(data[tuple(cut)], pads, constant_value, axes, mode)  # type: ignore[no-untyped-call]


class BatchNormalization(BatchNormalization_14):
    """In inference at older opsets too, at which onnx's own evaluator takes the mean and variance of its operand."""

    op_domain = ""


class STFT(STFT_17):  # noqa: D101
    op_domain = ""

    def _run(
        self, x: Any, frame_step: Any, window: Any = None, frame_length: Any = None, onesided: Any = None
    ) -> Any:
        """Signals (N, length) are real, as in ONNX Runtime."""
        x = x[:, :, None] if x.ndim == 2 else x
        return super()._run(x, frame_step, window, frame_length, onesided)  # type: ignore[no-untyped-call]


class Erf(OpRun):  # noqa: D101
    op_domain = ""

    def _run(self, x: Any) -> Any:
        """In the precision of x; onnx's own evaluator rounds to float32."""
        return (np.vectorize(math.erf, otypes=[x.dtype])(x),)


class GlobalMaxPool(OpRun):  # noqa: D101
    op_domain = ""

    def _run(self, x: Any) -> Any:
        """For any rank; onnx's own evaluator reduces the right axes for images only."""
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class GatherElements(OpRun):  # noqa: D101
    op_domain = ""

    def _run(self, x: Any, indices: Any, axis: Any = 0) -> Any:
        """Where x is larger than the indices along other axes too, which onnx's own evaluator refuses."""
        axis %= x.ndim
        cut = [slice(None) if i == axis else slice(n) for i, n in enumerate(indices.shape)]
        return (np.take_along_axis(x[tuple(cut)], indices, axis),)


class LRN(Corrected):  # noqa: D101
    def compute(self, attributes: Attributes, x: Any) -> Any:
        """Of all channels; onnx's own evaluator sums for as many of them as there are samples."""
        size, total = attributes["size"], np.zeros(x.shape)
        for channel in range(x.shape[1]):
            first = max(channel - (size - 1) // 2, 0)
            total[:, channel] = (x[:, first : channel + size // 2 + 1] ** 2).sum(axis=1)
        scale = attributes.get("bias", 1.0) + attributes.get("alpha", 1e-4) / size * total
        return x / scale ** attributes.get("beta", 0.75)


class _Rows(Corrected):
    """Operators that below opset 13 saw a matrix: all axes from ``axis`` on as one; onnx's own evaluator does not."""

    def compute(self, attributes: Attributes, x: Any) -> Any:
        whole = self.run_params["opsets"][""] < 13
        axis = attributes.get("axis", 1 if whole else -1) % max(x.ndim, 1)
        if whole:
            return self.along(x.reshape(math.prod(x.shape[:axis]), -1), 1).reshape(x.shape) if x.size else x
        return self.along(x, axis) if x.size else x

    def along(self, x: np.ndarray, axis: int) -> np.ndarray:
        """The result along one axis."""
        raise NotImplementedError


class LogSoftmax(_Rows):  # noqa: D101
    def along(self, x: np.ndarray, axis: int) -> np.ndarray:
        """x - log(sum(exp(x)))."""
        x = x - x.max(axis, keepdims=True)
        return np.asarray(x - np.log(np.exp(x).sum(axis, keepdims=True)))


class Softmax(_Rows):  # noqa: D101
    def along(self, x: np.ndarray, axis: int) -> np.ndarray:
        """exp(x) / sum(exp(x))."""
        powers = np.exp(x - x.max(axis, keepdims=True))
        return np.asarray(powers / powers.sum(axis, keepdims=True))


class Hardmax(_Rows):  # noqa: D101
    def along(self, x: np.ndarray, axis: int) -> np.ndarray:
        """One where x is largest for the first time."""
        y = np.zeros_like(x)
        np.put_along_axis(y, x.argmax(axis, keepdims=True), 1, axis)
        return y


class _Steps(OpRun):
    """What Loop and Scan share: a body that reads values of the enclosing graphs."""

    op_domain = ""
    #: Set by onnx from the node's attributes.
    body: Any
    num_scan_inputs: int
    _run_body: Any

    def need_context(self) -> bool:
        return True

    def step(self, inputs: Any, context: Any, bindings: Any) -> Any:
        """The outputs of the body."""
        feeds = dict(context or {}) | dict(zip(self.body.input_names, inputs, strict=True))
        return self._run_body(feeds, bindings=bindings)


class Loop(_Steps):  # noqa: D101
    def _run(
        self, trips: Any, condition: Any, *states: Any, context: Any = None, bindings: Any = None, **_: Any
    ) -> Any:
        """Without a condition too, without steps, and with results of any rank stacked: onnx's own does neither."""
        go, count, step = condition is None or bool(condition), len(states), 0
        declared = self.body.proto_.output[1 + count :]
        stacks: list[list[Any]] = [[] for _ in declared]
        while go and (trips is None or step < trips):
            go, *results = self.step([np.array(step), np.array(go), *states], context, bindings)
            states = results[:count]
            for stack, part in zip(stacks, results[count:], strict=True):
                stack.append(part)
            step += 1
        ys = [np.stack(s) if s else _empty(y.type.tensor_type) for s, y in zip(stacks, declared, strict=True)]
        return self._check_and_fix_outputs((*states, *ys))


class Scan(_Steps):  # noqa: D101
    def _run(self, *args: Any, context: Any = None, bindings: Any = None, **_: Any) -> Any:
        """Along any axis and backwards, which onnx's own evaluator refuses."""
        count = len(args) - self.num_scan_inputs
        states = args[:count]
        stacks: list[list[Any]] = [[] for _ in self.body.output_names[count:]]
        layout = self._layout("input", len(args) - count)
        slices = [_slices(x, *where) for x, where in zip(args[count:], layout, strict=True)]
        for inputs in zip(*slices, strict=True):
            results = self.step([*states, *inputs], context, bindings)
            states = results[:count]
            for stack, part in zip(stacks, results[count:], strict=True):
                stack.append(part)
        layout = self._layout("output", len(stacks))
        ys = [np.stack(s[:: -1 if back else 1], axis) for s, (axis, back) in zip(stacks, layout, strict=True)]
        return self._check_and_fix_outputs((*states, *ys))

    def _layout(self, side: Any, count: Any) -> Any:
        """The axis of each scanned operand, and whether it runs backwards."""
        axes = getattr(self, f"scan_{side}_axes") or [0] * count
        return list(zip(axes, getattr(self, f"scan_{side}_directions") or [0] * count, strict=True))


def _slices(x: np.ndarray, axis: int, backwards: int) -> np.ndarray:
    return np.moveaxis(x, axis, 0)[:: -1 if backwards else 1]


def _empty(declared: onnx.TypeProto.Tensor) -> np.ndarray:
    """No step's worth of a result; unknown dimensions are 0, as in ONNX Runtime."""
    dims = [dim.dim_value for dim in declared.shape.dim]
    return np.zeros([0, *dims], onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type))


class Optional(OpRun):  # noqa: D101
    op_domain = ""

    def _run(self, x: Any = None, type: Any = None) -> Any:
        """What is there, or None; onnx's own evaluator never takes it out of a list again."""
        return (x,)


#: Operators of onnx's evaluator that stand in the way of a float64 check.
CORRECTED = (
    Pad,
    BatchNormalization,
    STFT,
    Erf,
    GlobalMaxPool,
    GatherElements,
    LRN,
    Softmax,
    LogSoftmax,
    Hardmax,
    Loop,
    Scan,
    Optional,
    *WINDOW_OPS,
)
