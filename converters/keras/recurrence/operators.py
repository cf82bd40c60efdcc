"""Write the opaque recurrent operations of a traced model as ONNX LSTM, GRU and RNN operators (a tf2onnx handler).

ONNX knows sequence lengths only, that is right padding. A Keras mask may have holes anywhere, so the steps that count
are moved to the front, run with their number as length, and the outputs are fetched back to where they belong.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from ..translations.selects import Handler
from .cells import RecurrentSpec

# Keras gate order -> ONNX gate order.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,)}
_REVERSAL = "onnxattr_reversed"
_END = np.iinfo(np.int64).min


def recurrent_handlers(specs: Mapping[str, RecurrentSpec]) -> dict[str, Handler]:
    """tf2onnx op handlers for the opaque operations and for reversing an axis.

    Args:
        specs: Token of an opaque operation -> what it stands for.
    """

    def write(ctx: Any, node: Any, name: str, args: Any) -> None:
        spec = specs.get(node.get_attr_str("token"))
        if spec is not None:  # other functions of the model's own are reported as unknown operators
            _RecurrentWriter(ctx, node, spec).write()

    return {"PyFunc": (write, []), "ReverseV2": (_reverse, [])}


class _Emitter:
    """Adds nodes to a tf2onnx graph under a common name."""

    def __init__(self, ctx: Any, name: str) -> None:
        self._ctx = ctx
        self._name = name

    def constant(self, value: Any) -> str:
        """A constant; numpy arrays keep their dtype, other values become int64."""
        from tf2onnx import utils

        array = value if isinstance(value, (np.ndarray, np.generic)) else np.asarray(value, np.int64)
        return str(self._ctx.make_const(utils.make_name(self._name), np.asarray(array)).output[0])

    def __call__(self, op_type: str, *inputs: Any, name: str = "", **attributes: Any) -> str:
        """Add a node; returns the name of its only output."""
        return self.several(op_type, *inputs, outputs=1, name=name, **attributes)[0]

    def several(
        self, op_type: str, *inputs: Any, outputs: int, name: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node of several outputs; returns their names."""
        from tf2onnx import utils

        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        node = self._ctx.make_node(
            op_type,
            names,
            attr=attributes,
            output_count=outputs,
            name=utils.make_name(name or f"{self._name}/{op_type}"),
        )
        return list(node.output)

    def reverse(self, value: str, axis: int) -> str:
        """Reverse one axis."""
        return self("Slice", value, [-1], [_END], [axis], [-1], name=f"{self._name}/{_REVERSAL}")


class _RecurrentWriter:
    """Writes one opaque operation."""

    def __init__(self, ctx: Any, node: Any, spec: RecurrentSpec) -> None:
        self._ctx = ctx
        self._node = node
        self._spec = spec
        self._emit = _Emitter(ctx, node.name)
        self._dtype = ctx.get_dtype(node.input[0])

    def write(self) -> None:
        """Replace the operation."""
        ctx, node, spec = self._ctx, self._node, self._spec
        inputs = [self._as_float(name) for name in node.input]
        outputs = list(node.output)
        shapes = [ctx.get_shape(name) for name in outputs]
        used = [bool(ctx.find_output_consumers(name)) or name in ctx.outputs for name in outputs]
        sequences, *rest = inputs
        mask = rest.pop(0) if spec.masked else None
        states = rest if spec.has_state else []
        ctx.remove_node(node.name)
        results = self._unmasked(sequences, states) if mask is None else self._masked(sequences, mask, states)
        for name, result, shape, wanted in zip(outputs, results, shapes, used, strict=True):
            if wanted:
                if self._dtype != TensorProto.FLOAT:
                    result = self._emit("Cast", result, to=self._dtype)
                ctx.make_node("Identity", [result], outputs=[name], shapes=[shape], dtypes=[self._dtype])

    def _as_float(self, name: str) -> str:
        # The recurrent operators of ONNX Runtime compute in float32 only.
        if self._ctx.get_dtype(name) in (TensorProto.BOOL, TensorProto.FLOAT):
            return name
        return self._emit("Cast", name, to=TensorProto.FLOAT)

    def _unmasked(self, sequences: str, states: list[str]) -> list[str]:
        direction = "reverse" if self._spec.reverse else "forward"
        outputs, last, *cell = self._operator(sequences, "", states, direction)
        return [outputs, last, last, *cell]

    def _masked(self, sequences: str, mask: str, states: list[str]) -> list[str]:
        emit, spec = self._emit, self._spec
        if spec.reverse:
            sequences, mask = emit.reverse(sequences, 1), emit.reverse(mask, 1)
        valid = emit("Cast", mask, to=TensorProto.INT64)
        count = emit("ReduceSum", valid, [1], keepdims=0)
        # A length of zero is not portable: one garbage step is run, and thrown away below.
        lengths = emit("Cast", emit("Max", count, [1]), to=TensorProto.INT32)
        compact = self._gather_steps(sequences, self._order(mask))
        outputs, *final = self._operator(compact, lengths, states, "forward")
        latest = emit("Sub", emit("CumSum", valid, np.array(1, np.int64)), [1])
        repeated = self._gather_steps(outputs, emit("Max", latest, [0]))
        shown = mask if spec.zero_output_for_mask else emit("GreaterOrEqual", latest, [0])
        zero = np.array(0, np.float32)
        outputs = emit("Where", emit("Unsqueeze", shown, [2]), repeated, zero)
        if spec.reverse:
            outputs = emit.reverse(outputs, 1)
        any_valid = emit("Unsqueeze", emit("Greater", count, [0]), [1])
        shows_last = emit("Gather", mask, [-1], axis=1) if spec.zero_output_for_mask else any_valid
        last = emit("Where", shows_last, final[0], zero)
        before: list[Any] = list(states) or [zero] * spec.states
        kept = [emit("Where", any_valid, new, old) for new, old in zip(final, before, strict=True)]
        return [outputs, last, *kept]

    def _order(self, mask: str) -> str:
        """Indices of the steps, those that count first, both kinds in the order of time."""
        emit = self._emit
        time = emit("Gather", emit("Shape", mask), [1], axis=0)
        scalar = emit("Squeeze", time, [0])
        position = emit("Range", np.array(0, np.int64), scalar, np.array(1, np.int64))
        rank = emit("Where", mask, emit("Sub", time, position), emit("Neg", position))
        _, order = emit.several("TopK", emit("Cast", rank, to=TensorProto.FLOAT), time, outputs=2, axis=1)
        return order

    def _gather_steps(self, data: str, index: str) -> str:
        """data[b, index[b, t], :] for every b and t."""
        emit = self._emit
        index = emit("Expand", emit("Unsqueeze", index, [2]), emit("Shape", data))
        return emit("GatherElements", data, index, axis=1)

    def _operator(self, sequences: str, lengths: str, states: list[str], direction: str) -> list[str]:
        """Outputs (batch, time, units) and final states (batch, units) of the ONNX operator."""
        emit, spec = self._emit, self._spec
        names = [name for name, _, _ in spec.activations]
        attributes: dict[str, Any] = {
            "hidden_size": spec.units,
            "direction": direction,
            "activations": names,
        }
        alphas = [alpha for _, alpha, _ in spec.activations if alpha is not None]
        betas = [beta for _, _, beta in spec.activations if beta is not None]
        if alphas:
            attributes["activation_alpha"] = alphas
        if betas:
            attributes["activation_beta"] = betas
        if spec.operator == "GRU":
            attributes["linear_before_reset"] = int(spec.reset_after)
        by_time = emit("Transpose", sequences, perm=[1, 0, 2])
        initial = [emit("Unsqueeze", state, [0]) for state in states]
        weights = [emit.constant(array) if array is not None else "" for array in _onnx_weights(spec)]
        results = emit.several(
            spec.operator,
            by_time,
            *weights,
            *([lengths, *initial] if lengths or initial else []),
            outputs=1 + spec.states,
            name=self._node.name,
            **attributes,
        )
        outputs = emit("Transpose", emit("Squeeze", results[0], [1]), perm=[1, 0, 2])
        return [outputs, *(emit("Squeeze", state, [0]) for state in results[1:])]


def _onnx_weights(spec: RecurrentSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """W, R and B of the ONNX operator, one direction."""
    gates = _GATES[spec.operator]

    def reorder(array: np.ndarray) -> np.ndarray:
        parts = np.split(array.astype(np.float32), len(gates), axis=-1)
        return np.concatenate([parts[gate] for gate in gates], axis=-1)

    bias = None
    if spec.bias is not None:
        # Two rows where the layer has a bias of its own for the recurrent product (reset_after).
        rows = np.atleast_2d(reorder(spec.bias))
        second = rows[1] if len(rows) == 2 else np.zeros_like(rows[0])
        bias = np.concatenate([rows[0], second])[None]
    return reorder(spec.kernel).T[None].copy(), reorder(spec.recurrent_kernel).T[None].copy(), bias


def _reverse(ctx: Any, node: Any, name: str, args: Any) -> None:
    """ReverseV2 as a Slice with step -1; of two that undo each other nothing is left."""
    axes = [int(axis) for axis in np.atleast_1d(node.inputs[1].get_tensor_value(as_list=False))]
    source, output = node.input[0], node.output[0]
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    rank = len(shape) if shape is not None else 0
    axes = [axis % rank if rank else axis for axis in axes]
    ctx.remove_node(node.name)
    result = _undone(ctx, source, axes)
    if result is None:
        emit = _Emitter(ctx, name)
        ones = [-1] * len(axes)
        result = emit("Slice", source, ones, [_END] * len(axes), axes, ones, name=f"{name}/{_REVERSAL}")
        ctx.set_shape(result, shape)
        ctx.set_dtype(result, dtype)
    ctx.make_node("Identity", [result], outputs=[output], shapes=[shape], dtypes=[dtype])


def _undone(ctx: Any, source: str, axes: list[int]) -> str | None:
    """The value before `source` if that is the reversal of the same axes."""
    node = ctx.get_node_by_output(source)
    while node is not None and node.type == "Identity":
        node = node.inputs[0]
    if node is None or node.type != "Slice" or _REVERSAL not in node.name:
        return None
    same = node.inputs[3].get_tensor_value(as_list=True) == axes
    return str(node.input[0]) if same else None
