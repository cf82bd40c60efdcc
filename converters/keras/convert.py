"""Keras models to ONNX: `to_onnx` takes a Keras 3 or tf_keras model, or a file of one."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ConversionError
from onnxattr.files import check_output
from onnxattr.home import at_home
from onnxattr.loading.meaning.features import KEY as FEATURES_KEY
from onnxattr.loading.meaning.features import features_text
from onnxattr.loading.weights.files import write
from onnxattr.running.given.frames import column, columns_of, is_frame

from ..common import dependencies, onnx_model
from ..common.causes import cause
from ..common.labels import write_class_names
from ..common.layer_rows import detach_views, outputs_of, read_rows
from .checking import check as keras_check
from .layer_table.table import KerasLayerTable
from .meaning import describe
from .normalizations import join_normalizations
from .number_types.widening import widen_inputs
from .reading import load as keras_loading
from .reading.saved_models import SavedSignature
from .reading.steps import steps_within
from .recurrence.layers import RecurrentLayers
from .recurrence.operators import recurrent_handlers
from .tf2onnx_driver import convert_function
from .tracing.inputs import ModelInputs, model_inputs
from .tracing.state import variables_kept
from .tracing.trace import Trace, trace
from .tracing.training import warn_of_training
from .tracing.word_layers import check_tables
from .tracing.words import without_lookups
from .transposed_pads import fill_gaps

_OPSETS = range(13, 19)
_PROTOBUF_LIMIT_BYTES = 2**31


def to_onnx(
    model_or_path: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 17,
    verify: bool = True,
    sample: Any = None,
    input_signature: Any = None,
    keep_layers: str | Iterable[str] = (),
    trust: bool = False,
    signature: str | None = None,
) -> onnx.ModelProto:
    """Convert a Keras model to ONNX and check the result against it.

    The names of inputs, outputs and layers survive; the batch axis of every input is the symbol "N", or the size that
    the model declares, or `sample` has, where it computes batches of that size only. The metadata
    entry "onnxattr.layers" says which value of the graph holds the output of which layer: "name" for its only or
    first call, as `layer.output` does, "name#2" for the second; "name#1" means the first where there are others. What
    only lays such a value out as Keras does is kept in the metadata too, and put into the graph when onnxattr loads
    the file.

    Args:
        model_or_path: A Keras 3 or tf_keras model of any kind, or the path of a `.keras`, `.h5` or `.hdf5` file or of
            a SavedModel folder. A file is loaded if all that its configuration names (layers, functions), or its
            graphs hold (operators), is known to compute and do nothing else.
        path: Also write the model to this file.
        opset: ONNX opset, 13 to 18. At 17 the graphs are smallest.
        verify: Compare the outputs with the original's on random inputs in ONNX Runtime, batches of 2 and 5.
        sample: One batch of real inputs (an array, or a list or dict of them as the model takes it). Used for the
            check, and tells the inputs of a subclassed model. Of a table the names of the columns are kept as those of
            the model's features.
        input_signature: `tf.TensorSpec`, or a list or dict of them, for a subclassed model.
        keep_layers: Names of layers whose output must be a value of the graph even if that keeps the converter from
            folding batch normalisation into them, or them into a convolution; "all" for every layer.
        trust: Load a file whatever is in it: Lambda layers, classes that you registered, any TensorFlow function.
        signature: Which function of a SavedModel folder: the name of a signature. "serving_default" or the only one if
            None; the layers of a Keras model in the folder have names if that is what it computes.

    Returns:
        The ONNX model.

    Raises:
        ConversionError: The model cannot be loaded, traced or converted, or the outputs differ by more than 1e-4 of
            their largest value (1e-2 where layers compute in float16, 8e-2 in bfloat16, of which the file computes in
            float32); names the layer or operator.
        RuntimeMissingError: `verify` without ONNX Runtime.
    """
    _check_options(model_or_path, path, opset)
    whole = keras_loading.load(model_or_path, trust, signature)
    model, words = without_lookups(whole)
    sample, names = _with_columns(words.sample(sample))
    inputs = widen_inputs(model_inputs(model, input_signature, sample, words.names))
    sample = inputs.in_order(sample)
    _check_size(model)
    of_one_size = inputs.of_one_size(sample)
    try:
        if of_one_size is not None and of_one_size.is_no_batch:
            raise onnx_model.BatchSizeError
        converted = _checked(model, inputs, keep_layers, opset, verify, sample)
    except onnx_model.BatchSizeError:
        if of_one_size is None:
            raise
        converted = _checked(model, of_one_size, keep_layers, opset, verify, sample)
        if of_one_size.fixed_batch != 1:  # methods take single rows one by one
            _warn_of_one_size(of_one_size, model)
    _warn_of_loops(converted, model)
    describe(converted, whole, words)
    detach_views(converted)
    if names and len(inputs.names) == 1:
        onnx_model.set_property(converted, FEATURES_KEY, features_text({inputs.names[0]: names}))
    write_class_names(converted, model)
    if path is not None:
        write(converted, path)
    return converted


def _check_options(model_or_path: Any, path: str | os.PathLike[str] | None, opset: int) -> None:
    """Checks what can be checked before the model is loaded.

    Raises:
        ConversionError: The opset is not supported, or the file cannot be written.
    """
    if opset not in _OPSETS:
        raise ConversionError(
            f"unsupported opset={opset}; supported: {_OPSETS.start} to {_OPSETS.stop - 1}. Convert at 17 and "
            "raise the opset with onnx.version_converter if you need more."
        )
    if path is None:
        return
    if not Path(at_home(path)).absolute().parent.is_dir():
        raise ConversionError(
            f"The folder of {str(path)!r}, where the model is to be written, does not exist."
        )
    check_output(path, [model_or_path] if isinstance(model_or_path, (str, os.PathLike)) else [])


def _with_columns(sample: Any) -> tuple[Any, list[str]]:
    """A sample as an array where it is a table, and the names of the table's columns."""
    if not is_frame(sample):
        return sample, []
    names = columns_of(sample)
    array = np.stack([column(sample, name) for name in names], axis=1).astype(np.float32)
    return array, [str(name) for name in names]


def _checked(
    model: Any, inputs: ModelInputs, keep_layers: str | Iterable[str], opset: int, verify: bool, sample: Any
) -> onnx.ModelProto:
    """The model, traced, converted and compared with the original.

    Raises:
        BatchSizeError: The inputs have batches of any size, the model has not.
        ConversionError: It cannot be traced or converted, or differs.
    """
    table = KerasLayerTable(model, inputs, keep_layers)
    recurrent = RecurrentLayers()
    with recurrent.replaced(), steps_within():
        traced = trace(model, inputs, table.choose_taps)
    check_tables(traced.calls)
    if verify:
        keras_check.check_sizes(inputs, traced)
    converted = _convert(model, inputs, traced, table, recurrent, opset)
    if verify:
        with steps_within(run=True), variables_kept(model, traced):
            keras_check.check(converted, model, inputs, traced, sample)
    warn_of_training(model, traced.calls)
    return converted


def _convert(
    model: Any,
    inputs: ModelInputs,
    traced: Trace,
    table: KerasLayerTable,
    recurrent: RecurrentLayers,
    opset: int,
) -> onnx.ModelProto:
    converted = convert_function(
        traced.function,
        traced.inputs,
        traced.outputs,
        traced.taps,
        opset,
        handlers=recurrent_handlers(recurrent.specs),
        weight_bytes=_weight_bytes(model),
        keep_padding=table.keeps_padding(),
    )
    converted.ir_version = onnx_model.IR_VERSION
    converted.graph.name = model.name
    converted.doc_string = ""
    onnx_model.check_operators(converted, traced.layer_of)
    fill_gaps(converted)
    table.write(converted, traced)
    onnx_model.prune_initializers(converted)
    onnx_model.set_inputs(converted, inputs.specs)
    shapes = [tensor.shape.as_list() for tensor in traced.function.outputs]
    onnx_model.set_outputs(converted, shapes[: len(traced.outputs)])
    onnx_model.infer_shapes(converted)
    join_normalizations(converted, [name for row in read_rows(converted) for name in outputs_of(row)])
    onnx_model.prune_initializers(converted)
    onnx_model.check_model(converted, inputs.names)
    tensorflow = dependencies.tensorflow().__version__
    onnx_model.set_versions(converted, opset, ("tf2onnx", "keras"), tensorflow=tensorflow)
    return converted


def _warn_of_loops(converted: onnx.ModelProto, model: Any) -> None:
    """Names the loops of a SavedModel's function, in which recurrent layers can no longer be told."""
    loops = [node.name for node in converted.graph.node if node.op_type == "Loop"]
    if loops and isinstance(model, SavedSignature):
        warnings.warn(
            f"The SavedModel {model.name!r} holds loops, recurrent layers perhaps, which are written as Loop nodes "
            f"({', '.join(loops[:3])}{' ...' if len(loops) > 3 else ''}): their gradient takes longer than that of the "
            "ONNX operators. Convert the Keras model itself, or its .keras file, to get those.",
            stacklevel=3,
        )


def _warn_of_one_size(inputs: ModelInputs, model: Any) -> None:
    """Says that the batch is one sample, and how a model takes batches of any size."""
    if inputs.is_no_batch:
        sizes = {spec.name: spec.shape[0] for spec in inputs.specs if spec.shape.rank}
        warnings.warn(
            f"The inputs of the model {model.name!r} have first axes of different sizes, {sizes}, which are no batch: "
            "the file takes these sizes only, and all of it is explained as one sample.",
            stacklevel=3,
        )
        return
    warnings.warn(
        f"The model {model.name!r} computes batches of {inputs.fixed_batch} rows only: so does the file, and the whole "
        "batch is explained as one sample. If its rows are samples, build it with keras.Input(shape=...) instead of "
        "batch_shape, and reshape with -1 as first axis.",
        stacklevel=3,
    )


def _weight_bytes(model: Any) -> int:
    tf = dependencies.tensorflow()
    try:
        weights = model.weights
    except ValueError as error:
        raise ConversionError(
            f"The model {model.name!r} has no weights yet: {cause(error)}. Call it on a batch of its inputs, model(x), "
            "and load its weights, before it is converted."
        ) from error
    return sum(int(np.prod(weight.shape)) * tf.as_dtype(weight.dtype).size for weight in weights)


def _check_size(model: Any) -> None:
    size = _weight_bytes(model)
    if size >= _PROTOBUF_LIMIT_BYTES:
        raise ConversionError(
            f"The weights of model {model.name!r} take {size / 2**30:.1f} GiB; an ONNX file without external "
            "data holds less than 2 GiB. Convert the model in parts, or in float16."
        )
