"""Converts traced TensorFlow functions with tf2onnx 1.17.0, patched and set for the while."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import onnx

from onnxattr.errors import ConversionError

from ..common import dependencies
from ..common.causes import cause
from ..common.patching import applied, patched
from .number_types.complex_parts import in_real_parts
from .number_types.widening import widen
from .patches.order import number_functions
from .patches.table import PATCHES
from .tf2onnx_taps import Taps
from .translations.handlers import BASIC_HANDLERS
from .translations.selects import Handler

# Above this size TensorFlow's grappler, which copies every constant several times, is left out. It would fold a
# few constants that tf2onnx leaves in the graph; the results are the same.
_GRAPPLER_LIMIT_BYTES = 64 * 2**20

#: By what tf2onnx says: what is said instead.
_KNOWN = {
    r"table shared name for node (\S+)": "Node {!r} looks values up in a table of TensorFlow, for which ONNX has no "
    "operator. Convert a model or function that takes what the table gives. Of a Keras model that begins with such "
    "layers, converted itself or from its .keras file, they are left out.",
    r"^tf\.(float8\w*)": "Layers compute in {}, as quantize('float8') makes them, for which tf2onnx has no type. "
    "Convert the model without it, with the same kernels and biases.",
    "couldn't find scan output index": "A loop of TensorFlow reads or changes a list of results beside adding one in "
    "each step, which a Loop of ONNX does not. In a SavedModel, tf.scan without a first state does; give it one. In a "
    "model, collect the results in a TensorArray that begins empty, written from the first step to the last.",
}


def convert_function(
    function: Any,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    taps: Mapping[str, str],
    opset: int,
    handlers: Mapping[str, Handler],
    weight_bytes: int,
    keep_padding: bool = False,
) -> onnx.ModelProto:
    """Convert a traced TensorFlow function.

    Args:
        function: The concrete function.
        inputs: TensorFlow name -> ONNX name of each input, without captured constants, which get frozen.
        outputs: TensorFlow name -> ONNX name of each output.
        taps: The same of the extra outputs, which must not change how the rest is converted.
        opset: ONNX opset to write.
        handlers: tf2onnx op handlers beside `BASIC_HANDLERS`.
        weight_bytes: Size of the model's weights; decides how much memory the conversion may spend.
        keep_padding: Whether a Pad stays a node of its own, instead of becoming pads of the convolution after it.

    Returns:
        The model as tf2onnx wrote it: unknown operators may be left in it.

    Raises:
        ConversionError: tf2onnx fails.
    """
    tf = dependencies.tensorflow()
    tf2onnx = dependencies.tf2onnx()
    large = weight_bytes > _GRAPPLER_LIMIT_BYTES
    fetched = [*outputs, *taps]
    groups = ["tf2onnx", "padding"] if keep_padding else ["tf2onnx"]
    patches = [patch for patch in PATCHES if patch.group in groups]
    with (
        applied(patches, Taps(taps.values())),
        _quiet_without_copies(),
        patched(tf2onnx.utils, "INTERNAL_NAME", 1),  # names are numbered anew
        tf.device("/cpu:0"),
        _failures_named(opset),
    ):
        model: onnx.ModelProto
        graph_def = tf2onnx.tf_loader.from_function(function, list(inputs), fetched, large_model=large)
        model, _ = tf2onnx.convert._convert_common(
            in_real_parts(widen(number_functions(graph_def))),
            name="keras model",
            opset=opset,
            input_names=list(inputs),
            output_names=fetched,
            tensors_to_rename={**inputs, **outputs, **taps},
            custom_op_handlers={**BASIC_HANDLERS, **handlers},
        )
    return model


@contextlib.contextmanager
def _failures_named(opset: int) -> Iterator[None]:
    try:
        yield
    except ConversionError:
        raise
    except Exception as error:
        for pattern, words in _KNOWN.items():
            if found := re.search(pattern, str(error)):
                raise ConversionError(words.format(*found.groups())) from error
        raise ConversionError(
            f"tf2onnx fails on the traced graph at opset {opset}: {cause(error)}. Another opset may "
            "work (13 to 18); otherwise write the operation that it names differently."
        ) from error


@contextlib.contextmanager
def _quiet_without_copies() -> Iterator[None]:
    """Settings of tf2onnx: no copy of the graph before each pass of its optimiser, and no log.

    It deep-copies the graph unless the environment has TF2ONNX_CATCH_ERRORS, whatever the value. It logs operators that
    it does not know as errors; the checks that follow raise them. TensorFlow logs tables that it cannot write down.
    """
    variable = os.environ.get("TF2ONNX_CATCH_ERRORS")
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow")]
    levels = [logger.level for logger in loggers]
    os.environ["TF2ONNX_CATCH_ERRORS"] = "off"
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if variable is None:
            del os.environ["TF2ONNX_CATCH_ERRORS"]
        else:
            os.environ["TF2ONNX_CATCH_ERRORS"] = variable
