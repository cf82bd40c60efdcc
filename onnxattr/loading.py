"""Reads a model from whatever the caller has and brings it to the form that the rewriter works on.

Weights are set aside while ONNX's own tools check, upgrade and infer, so that large models are neither copied nor
bound by protobuf's 2 GiB.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from onnxattr.batchwise import put_time_first
from onnxattr.definitions import adopt, state_defaults, write_out
from onnxattr.errors import ModelError
from onnxattr.expansion import downgrade, expand
from onnxattr.layers import append_views
from onnxattr.loop_shapes import infer_shapes
from onnxattr.static_nodes import resolve
from onnxattr.subgraphs import graphs_in, hoist_initializers
from onnxattr.weights import digest, with_small_data

#: Models below this opset are upgraded to it; the rewriter emits nodes of the model's opset from here on.
OPSET = 18
#: The newest opset and IR version that ONNX Runtime 1.31 runs; newer models are brought back to it.
NEWEST_OPSET, NEWEST_IR = 26, 13
OLDEST_OPSET = 7
_SMALL = 4096

#: What ``load`` notes in a model's ``meta``: the folder of its external data, and the SHA-256 of its file.
FOLDER, DIGEST = "folder", "sha256"

ModelSource = Any


def read_proto(source: ModelSource) -> tuple[onnx.ModelProto, Path | None]:
    """Reads a model without its external data; returns it with the folder that holds that data.

    Args:
        source: A path, the bytes of a file, an ``onnx.ModelProto``, an ``onnx_ir.Model``, or a Keras model.

    Raises:
        ModelError: If the file is missing, damaged or not ONNX, or the object is none of the above.
    """
    if isinstance(source, onnx.ModelProto):
        return source, None
    if isinstance(source, ir.Model):
        return ir.serde.serialize_model(source), None
    if isinstance(source, bytes):
        return _parse(source, "the given bytes"), None
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.suffix in (".keras", ".h5", ".hdf5") or (
            path.is_dir() and (path / "saved_model.pb").exists()
        ):
            return _convert_keras(path), None
        if not path.is_file():
            raise ModelError(f"{path} does not exist or is not a file; expected the path of an ONNX model.")
        return _parse(path.read_bytes(), str(path)), path.parent
    if any(cls.__module__.split(".")[0] in ("keras", "tf_keras") for cls in type(source).__mro__):
        return _convert_keras(source), None
    raise ModelError(
        f"A model was given as {type(source).__name__}; expected a path, the bytes of an ONNX file, an "
        "onnx.ModelProto, an onnx_ir.Model or a Keras model."
    )


def _convert_keras(model: Any) -> onnx.ModelProto:
    from onnxattr.converters import keras

    return keras.to_onnx(model)


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{where} is not an ONNX model, or is damaged: {error}. Export it again.") from error
    if not proto.graph.node and not proto.graph.output:
        raise ModelError(f"{where} holds no ONNX graph ({len(data)} bytes read). Export the model again.")
    return proto


def load(source: ModelSource) -> ir.Model:
    """Loads a model and prepares a copy: checked, functions inlined, opset in the window, every value typed.

    Operators without a rule that ONNX defines by others are written out.

    Raises:
        ModelError: If the model cannot be read, is invalid, or is newer or older than what can be handled.
    """
    proto, folder = read_proto(source)
    slim, weights = _set_weights_aside(with_small_data(proto, folder))
    append_views(slim)
    if slim.opset_import and not _opset(slim):
        # Only other domains: the rules need the default one.
        slim.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    _check_versions(slim)
    adopt(slim, _opset(slim))
    try:
        onnx.checker.check_model(slim)
        if slim.functions:
            slim = onnx.inliner.inline_local_functions(slim)
        state_defaults(slim)
        put_time_first(slim.graph)
        if _opset(slim) < OPSET:
            slim = _upgrade(slim)
        if _opset(slim) > NEWEST_OPSET:
            slim = downgrade(slim, _opset(slim), NEWEST_OPSET)
        slim = write_out(slim, _opset(slim))
        slim = expand(slim, _opset(slim))
        slim = infer_shapes(resolve(slim, _opset(slim)))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError) as error:
        raise ModelError(
            f"The model is not valid ONNX of opset {_opset(proto)}: {_first_lines(error)}"
        ) from error
    slim.ir_version = min(max(slim.ir_version, 8), NEWEST_IR)
    model = ir.serde.deserialize_model(slim)
    _put_weights_back(model.graph, weights, folder)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    hoist_initializers(model)
    _name_everything(model.graph)
    model.meta[FOLDER], model.meta[DIGEST] = folder, digest(source, proto)
    return model


def _upgrade(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Brings a model to OPSET.

    Before opset 11 Resize and Upsample sampled at x / scale, rounded down (up where they shrink), which onnx's
    converter forgets.
    """
    if _opset(proto) < 9 and any(
        node.op_type == "Scan" for graph in graphs_in(proto.graph) for node in graph.node
    ):
        raise ModelError(
            "The model has a Scan of opset 8, which runs over rows apart and has no newer form; export the model with "
            "opset 9 or later."
        )
    upgraded = onnx.version_converter.convert_version(proto, OPSET)
    if _opset(proto) < 11:
        known: dict[str, onnx.TensorProto] = {}
        for graph in graphs_in(upgraded.graph):
            known |= {tensor.name: tensor for tensor in graph.initializer}
            known |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
            for node in graph.node:
                if node.op_type == "Resize":
                    _sample_as_before(node, known.get(node.input[2]))
    return upgraded


def _opset(proto: onnx.ModelProto) -> int:
    return next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _check_versions(proto: onnx.ModelProto) -> None:
    opset, newest = _opset(proto), onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ModelError(
            f"The model has ai.onnx opset {opset}; opsets {OLDEST_OPSET} to {newest} can be explained. "
            "Export it with an opset in that range (18 runs on the most runtimes)."
        )
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"The model has IR version {proto.ir_version}; the installed onnx reads up to {onnx.IR_VERSION}. "
            "Export it with an older one."
        )


def _sample_as_before(resize: onnx.NodeProto, scales: onnx.TensorProto | None) -> None:
    shrinks = scales is not None and onnx.numpy_helper.to_array(scales).min() < 1
    settings = {
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "ceil" if shrinks else "floor",
    }
    resize.attribute.extend(onnx.helper.make_attribute(*item) for item in settings.items())


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:600]


def _set_weights_aside(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, onnx.TensorProto]]:
    """A copy of the model in which large initializers are inputs, and those initializers by name."""
    slim = onnx.ModelProto()
    weights = {}
    kept = []
    for tensor in proto.graph.initializer:
        if tensor.ByteSize() > _SMALL or tensor.data_location == onnx.TensorProto.EXTERNAL:
            weights[tensor.name] = tensor
        else:
            kept.append(tensor)
    for field, value in proto.ListFields():
        if field.name == "graph":
            continue
        if field.is_repeated:
            getattr(slim, field.name).extend(value)
        else:
            setattr(slim, field.name, value)
    for field, value in proto.graph.ListFields():
        if field.name == "initializer":
            slim.graph.initializer.extend(kept)
        elif field.is_repeated:
            getattr(slim.graph, field.name).extend(value)
        else:
            setattr(slim.graph, field.name, value)
    if not slim.graph.name:
        slim.graph.name = "model"
    known = {value.name for value in slim.graph.input}
    for name, tensor in weights.items():
        if name not in known:
            slim.graph.input.append(
                onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
            )
    slim.ir_version = max(slim.ir_version, 4)
    return slim, weights


def _put_weights_back(graph: ir.Graph, weights: dict[str, onnx.TensorProto], folder: Path | None) -> None:
    """Makes the weights initializers again; initializers stop being inputs, as before IR version 4 they had to be."""
    for value in list(graph.inputs):
        if value.name in weights:
            tensor = ir.serde.deserialize_tensor(weights[value.name], base_path=str(folder or ""))
            if isinstance(tensor, ir.ExternalTensor):
                try:
                    tensor.numpy()
                except OSError as error:
                    raise ModelError(
                        f"The weights of {value.name!r} are not beside the model: {error}."
                    ) from error
            graph.inputs.remove(value)
            value.const_value = tensor
            graph.register_initializer(value)
        elif value.is_initializer():
            graph.inputs.remove(value)


def _name_everything(graph: ir.Graph) -> None:
    """Gives unnamed nodes a name, so that errors and tables can point at them."""
    taken = {node.name for node in graph.all_nodes() if node.name}
    for index, node in enumerate(graph.all_nodes()):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
