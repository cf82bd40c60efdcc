"""Finish a converted model: dimension names, shapes, versions, and the checks that need no other framework."""

import json
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto

from onnxattr.errors import ConversionError
from onnxattr.graph.subgraphs import names_read_in, nodes_in
from onnxattr.loading.reading.detached_weights import detach_weights
from onnxattr.loading.shapes.missing_ranks import infer_once

BATCH = "N"
CONVERTER_KEY = "onnxattr.converter"
IR_VERSION = 8
_HIGHEST = 18  # the highest opset of tf2onnx


class BatchSizeError(ConversionError):
    """A model does not compute batches of every size."""


def set_inputs(model: ModelProto, specs: list[Any]) -> None:
    """Declare the inputs in order, the batch axis as "N", every other dynamic axis under a symbol of its own.

    Args:
        model: Changed in place. Inputs that nothing uses, which tf2onnx drops, come back.
        specs: One `tf.TensorSpec` per input.
    """
    names = {spec.name for spec in specs}
    others = [_copy(value) for value in model.graph.input if value.name not in names]
    declared = []
    for spec in specs:
        element_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype.as_numpy_dtype))
        sizes: list[int | str] = [
            size if size is not None else f"{spec.name}_dim{axis}" if axis else BATCH
            for axis, size in enumerate(spec.shape)
        ]
        declared.append(onnx.helper.make_tensor_value_info(spec.name, element_type, sizes))
    del model.graph.input[:]
    model.graph.input.extend([*declared, *others])


def set_outputs(model: ModelProto, shapes: list[list[int | None]]) -> None:
    """Declare the shapes of the outputs.

    Args:
        model: Changed in place.
        shapes: Shape of each output as the other framework knows it, None for unknown.
    """
    for value, shape in zip(model.graph.output, shapes, strict=True):
        dims = value.type.tensor_type.shape.dim
        del dims[:]
        for size in shape:
            dim = dims.add()
            if size is not None:
                dim.dim_value = size


def infer_shapes(model: ModelProto) -> None:
    """Fill `value_info` and unknown output dimensions, without copying the weights.

    The shapes are inferred for two prime batch sizes: a dimension that equals the batch size in both is "N", also
    behind a reshape to (-1, ...), where inference on symbols gives up; one that changes otherwise is left open.
    The first axis of an output is taken as the batch where nothing is known about it.

    Args:
        model: Changed in place.

    Raises:
        BatchSizeError: Shapes of neighbouring nodes contradict each other in a model that takes batches of any size.
        ConversionError: They do in another model; names the node.
    """
    light = _without_weights(model)
    primes = (7919, 7927)
    graphs = [_infer_for_batch(light, prime).graph for prime in primes]
    second = {value.name: value for value in (*graphs[1].value_info, *graphs[1].output)}
    outputs = {value.name for value in graphs[0].output}
    for value in (*graphs[0].value_info, *graphs[0].output):
        other = second[value.name].type.tensor_type.shape.dim
        dims = value.type.tensor_type.shape.dim
        for axis, (dim, other_dim) in enumerate(zip(dims, other, strict=True)):
            sizes = (dim.dim_value, other_dim.dim_value)
            unknown = not dim.HasField("dim_value")
            if sizes == primes or (unknown and axis == 0 and value.name in outputs):
                dim.dim_param = BATCH
            elif sizes[0] != sizes[1] or dim.dim_param.startswith("unk__"):
                dim.Clear()
    for mine, found in (
        (model.graph.value_info, graphs[0].value_info),
        (model.graph.output, graphs[0].output),
    ):
        del mine[:]
        mine.extend(found)


def _without_weights(model: ModelProto) -> ModelProto:
    """The model with its large initializers as inputs, and without what it declares of inner values."""
    light, _ = detach_weights(model)
    light.ir_version = IR_VERSION
    del light.graph.value_info[:]
    return light


def _infer_for_batch(light: ModelProto, batch: int) -> ModelProto:
    fixed = ModelProto()
    fixed.CopyFrom(light)
    any_size = False
    for value in (*fixed.graph.input, *fixed.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == BATCH:
                dim.dim_value, any_size = batch, True
    try:
        return infer_once(fixed, strict=True)
    except onnx.shape_inference.InferenceError as error:
        if any_size:
            said = " ".join(str(error).replace(str(batch), BATCH).split())
            raise BatchSizeError(
                f"The converted graph has contradicting shapes where batches have any size N: {said}. If the model "
                "computes batches of one size only, say which: keras.Input(..., batch_size=4), "
                "input_signature=tf.TensorSpec((4, 8)) for a subclassed model, or sample=<one batch>."
            ) from error
        raise ConversionError(
            f"The converted graph has contradicting shapes: {error}. Give the model fixed input sizes or another opset."
        ) from error


def check_operators(model: ModelProto, layer_of: Callable[[str], str | None]) -> None:
    """Refuse operators that the declared opsets do not have.

    Args:
        model: The converted model.
        layer_of: Node name -> name of the layer that made it, or None.

    Raises:
        ConversionError: Lists operators, nodes, layers and what to do.
    """
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    unknown = [node for node in nodes_in(model.graph) if not _has_schema(node, opsets)]
    if not unknown:
        return
    places = []
    for node in unknown[:8]:
        layer = layer_of(node.name)
        places.append(f"{node.op_type} (node {node.name!r}" + (f", layer {layer!r})" if layer else ")"))
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    raise ConversionError(
        f"No ONNX operator of opset {opsets.get('')} computes: {', '.join(places)}{more}. Write the layer with other "
        f"operations{_way_out(unknown)}."
    )


def _way_out(unknown: Sequence[onnx.NodeProto]) -> str:
    """A model without draws, a higher opset, if it has the operators, or the outputs of the layer before."""
    if any("Random" in node.op_type for node in unknown):
        return (
            ". Random numbers are drawn there, with which no file can match: convert a model of the outputs that need "
            "none, such as the mean of what is drawn, keras.Model(model.inputs, model.get_layer(name).output)"
        )
    if all(_has_schema(node, {"": _HIGHEST, "ai.onnx": _HIGHEST}) for node in unknown):
        return f", or try a higher opset (tf2onnx goes up to {_HIGHEST})"
    return ", or convert the model up to the layer before it and explain that"


def check_model(model: ModelProto, inputs: list[str]) -> None:
    """Run the ONNX checker and refuse inputs that the original model does not have.

    Raises:
        ConversionError: Says what the checker found, or names the unexpected inputs.
    """
    unexpected = [value.name for value in model.graph.input if value.name not in inputs]
    if unexpected:
        raise ConversionError(
            f"The converted graph asks for inputs {unexpected} that the model does not have: tensors that the model "
            "captures could not be turned into constants. Make them weights of a layer."
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(
            f"The converted graph is not valid ONNX: {error}. Try another opset."
        ) from error


def set_property(model: ModelProto, key: str, value: str) -> None:
    """Set one entry of `metadata_props` and leave the others."""
    for entry in model.metadata_props:
        if entry.key == key:
            entry.value = value
            return
    model.metadata_props.add(key=key, value=value)


def set_versions(model: ModelProto, opset: int, packages: Iterable[str], **others: str) -> None:
    """Store what the model was converted with: the versions of onnxattr and `packages`, `others`, and the opset."""
    versions = {name: metadata.version(name) for name in ("onnxattr", *packages)}
    set_property(model, CONVERTER_KEY, json.dumps({**versions, **others, "opset": opset}))


def prune_initializers(model: ModelProto) -> None:
    """Remove initializers that no node reads and that are no output."""
    used = names_read_in(model.graph)
    unused = [index for index, tensor in enumerate(model.graph.initializer) if tensor.name not in used]
    for index in reversed(unused):
        del model.graph.initializer[index]


def _has_schema(node: NodeProto, opsets: dict[str, int]) -> bool:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if domain not in opsets:
        return False
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
    except onnx.defs.SchemaError:
        return False
    return not schema.deprecated


def _copy(value: ValueInfoProto) -> ValueInfoProto:
    copied = ValueInfoProto()
    copied.CopyFrom(value)
    return copied
