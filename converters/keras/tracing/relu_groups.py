"""Find the ReLU-like parts of a traced Keras model: which tensors are their inputs and outputs, whose they are.

A single ReLU-like function can be several nodes (PReLU is two Relu), and a Relu or Clip node need not be a ReLU
(hard_sigmoid clips at 0 and 6). Only the trace knows, so the groups are found in the TensorFlow graph.
"""

from dataclasses import dataclass
from typing import Any

from ...common import dependencies
from .trace import LayerCall


@dataclass
class ReluGroup:
    """One ReLU-like function of the traced graph.

    Attributes:
        call: The layer call it belongs to; None if it stands outside every layer.
        kind: "relu", "relu6", "relu_max", "relu_threshold", "leaky_relu", "prelu", or what only looks like one:
            "hard_sigmoid", "celu".
        input: Tensor before it.
        output: Tensor after it.
        xplique: Whether Xplique 2.0.2 overrides it in DeconvNet and GuidedBackprop: a ReLU layer of the model
            itself, or a layer of the model itself whose `activation` is the plain relu function.
        max_value: Upper limit, None without one.
        threshold: Inputs up to this are cut off.
        negative_slope: Slope below the threshold; None where it is learnt (prelu) or not constant (celu).
    """

    call: LayerCall | None
    kind: str
    input: Any
    output: Any
    xplique: bool = False
    max_value: float | None = None
    threshold: float = 0.0
    negative_slope: float | None = 0.0

    def parameters(self) -> dict[str, Any]:
        """The entries of the layer table that do not depend on the converted graph."""
        return {
            "kind": self.kind,
            "xplique": self.xplique,
            "max_value": self.max_value,
            "threshold": self.threshold,
            "negative_slope": self.negative_slope,
        }


def find_relu_groups(calls: list[LayerCall], graph: Any) -> list[ReluGroup]:
    """All ReLU-like functions of a traced model, in the order of the graph.

    Args:
        calls: The layer calls, inner ones before outer ones.
        graph: The graph they were traced in.
    """
    operations = graph.get_operations()
    owner: dict[int, LayerCall] = {}
    for call in calls:
        for index in call.operations:
            owner.setdefault(index, call)
    groups = [group for call in calls if (group := _layer_group(call, graph)) is not None]
    covered = {index for group in groups if group.call for index in group.call.operations}
    for index, operation in enumerate(operations):
        if index not in covered:
            group = _operation_group(operation, owner.get(index))
            groups += [group] if group is not None else []
    position = {operation.name: index for index, operation in enumerate(operations)}
    return sorted(groups, key=lambda group: position[group.output.op.name])


def _layer_group(call: LayerCall, graph: Any) -> ReluGroup | None:
    """The group that a ReLU, LeakyReLU, PReLU or ThresholdedReLU layer is as a whole."""
    if len(call.inputs) != 1 or len(call.outputs) != 1 or call.outputs[0].graph is not graph:
        return None
    layer, source, result = call.layer, call.inputs[0], call.outputs[0]
    if _is_layer(layer, "ReLU"):
        slope = _number(layer.negative_slope)
        threshold = _number(layer.threshold)
        limit = None if layer.max_value is None else _number(layer.max_value)
        kind = _relu_kind(slope, threshold, limit)
        return ReluGroup(call, kind, source, result, call.depth == 1, limit, threshold, slope)
    if _is_layer(layer, "LeakyReLU"):
        slope = _number(layer.negative_slope if hasattr(layer, "negative_slope") else layer.alpha)
        return ReluGroup(call, "leaky_relu", source, result, negative_slope=slope)
    if _is_layer(layer, "PReLU"):
        return ReluGroup(call, "prelu", source, result, negative_slope=None)
    if _is_layer(layer, "ThresholdedReLU"):
        return ReluGroup(call, "relu_threshold", source, result, threshold=_number(layer.theta))
    return None


def _relu_kind(slope: float, threshold: float, limit: float | None) -> str:
    if threshold:
        return "relu_threshold"
    if slope:
        return "leaky_relu"
    if limit is None:
        return "relu"
    return "relu6" if limit == 6 else "relu_max"


def _operation_group(operation: Any, call: LayerCall | None) -> ReluGroup | None:
    """The group around an operation inside another layer that is ReLU-like, or could be taken for it."""
    if operation.type == "Maximum":
        return _maximum_group(operation, call)
    if operation.type not in ("Relu", "Relu6", "LeakyRelu"):
        return None
    source, result = operation.inputs[0], operation.outputs[0]
    if operation.type == "LeakyRelu":
        slope = float(operation.get_attr("alpha"))
        return ReluGroup(call, "leaky_relu", source, result, negative_slope=slope)
    if operation.type == "Relu":
        own = call is not None and call.depth == 1 and _is_plain_relu(getattr(call.layer, "activation", None))
        return ReluGroup(call, "relu", source, result, xplique=own)
    # hard_sigmoid(x) = relu6(x + 3) / 6, also inside hard_silu (hard_swish).
    consumers = result.consumers()
    shifted = source.op.type in ("Add", "AddV2") and _constant(source.op.inputs[1]) == 3.0
    if shifted and len(consumers) == 1 and consumers[0].type in ("Mul", "RealDiv"):
        return ReluGroup(call, "hard_sigmoid", source.op.inputs[0], consumers[0].outputs[0], max_value=6.0)
    return ReluGroup(call, "relu6", source, result, max_value=6.0)


def _maximum_group(operation: Any, call: LayerCall | None) -> ReluGroup | None:
    """Maximum(x, 0) as a part of CELU, or as the end of tf_keras' hard_sigmoid clip(0.2 x + 0.5, 0, 1)."""
    if call is None or _constant(operation.inputs[1]) != 0:
        return None
    activation = getattr(getattr(call.layer, "activation", None), "__name__", "")
    source, result = operation.inputs[0], operation.outputs[0]
    if activation == "celu":
        return ReluGroup(call, "celu", source, result, negative_slope=None)
    if (
        activation == "hard_sigmoid"
        and source.op.type == "Minimum"
        and source.op.inputs[0].op.type == "AddV2"
    ):
        scaled = source.op.inputs[0].op.inputs[0].op
        return ReluGroup(call, "hard_sigmoid", scaled.inputs[0], result, max_value=1.0)
    return None


def _is_plain_relu(activation: Any) -> bool:
    functions = [dependencies.tensorflow().nn.relu]
    functions += [package.activations.relu for package in dependencies.keras_packages()]
    return any(activation is function for function in functions)


def _is_layer(layer: Any, class_name: str) -> bool:
    classes = [getattr(package.layers, class_name, ()) for package in dependencies.keras_packages()]
    return any(isinstance(layer, layer_class) for layer_class in classes)


def _constant(tensor: Any) -> float | None:
    value = dependencies.tensorflow().get_static_value(tensor)
    return float(value) if value is not None and value.size == 1 else None


def _number(value: Any) -> float:
    return 0.0 if value is None else float(value)
