"""tf2onnx 1.17.0 driven through scoped patches: less memory, captured constants, missing operators.

Every change to tf2onnx, numpy or the environment lasts for one `with` block and is undone after it.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ConversionError

from ..common import dependencies
from ..common.patching import patched
from .tf2onnx_resizes import RESIZES
from .tf2onnx_selects import SELECTS, Handler, bands_selected
from .tf2onnx_taps import optimizers_for_taps

# Above this size TensorFlow's grappler, which copies every constant several times, is left out. It would fold a
# few constants that tf2onnx leaves in the graph; the results are the same.
_GRAPPLER_LIMIT_BYTES = 64 * 2**20


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
    merging: Any = contextlib.nullcontext()
    if keep_padding:  # the step that merges a Pad into a convolution is left out
        leave = lambda graph, operations: operations  # noqa: E731
        merging = patched(tf2onnx.tfonnx, "rewrite_conv2d_with_pad", leave)
    with lean_tf2onnx(), bands_selected(), merging, tf.device("/cpu:0"), _failures_named(opset):
        graph_def = tf2onnx.tf_loader.from_function(function, list(inputs), fetched, large_model=large)
        model, _ = tf2onnx.convert._convert_common(
            graph_def,
            name="keras model",
            opset=opset,
            input_names=list(inputs),
            output_names=fetched,
            tensors_to_rename={**inputs, **outputs, **taps},
            optimizers=optimizers_for_taps(set(taps.values())),
            custom_op_handlers={**BASIC_HANDLERS, **handlers},
        )
    return model


@contextlib.contextmanager
def _failures_named(opset: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ConversionError(
            f"tf2onnx fails on the traced graph at opset {opset}: {type(error).__name__}: {error}. Another opset may "
            "work (13 to 18); otherwise write the operation that it names differently."
        ) from error


@contextlib.contextmanager
def lean_tf2onnx() -> Iterator[None]:
    """Keep tf2onnx from copying every weight in every optimiser pass; restores it afterwards.

    - `Node.update_proto` rebuilds the proto of each node, weights included, after each pass, and protobuf never
      frees the old ones. The final graph reads constants elsewhere, so they are skipped.
    - The optimiser deep-copies the graph before each pass unless the variable TF2ONNX_CATCH_ERRORS exists.
    - Unused nodes are searched for once per output, and every tap is an output; one search does.
    - `np.product`, gone in numpy 2, is called for large models.
    """
    from tf2onnx.graph import Graph, Node

    update_proto = Node.update_proto
    variable = os.environ.get("TF2ONNX_CATCH_ERRORS")
    logger = logging.getLogger("tf2onnx")
    level = logger.level

    def update_all_but_constants(node: Any, *args: Any, **kwargs: Any) -> None:
        if node.type != "Const":
            update_proto(node, *args, **kwargs)

    os.environ["TF2ONNX_CATCH_ERRORS"] = "off"
    # What it logs as errors (operators it does not know) is raised by the checks that follow.
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            patched(Node, "update_proto", update_all_but_constants),
            patched(Graph, "extract_sub_graph_nodes", _nodes_leading_to),
            patched(np, "product", np.prod),
        ):
            yield
    finally:
        logger.setLevel(level)
        if variable is None:
            del os.environ["TF2ONNX_CATCH_ERRORS"]
        else:
            os.environ["TF2ONNX_CATCH_ERRORS"] = variable


def _nodes_leading_to(
    graph: Any, outputs_name: Any, input_checker: Any = None, remove_unused_inputs: bool = True
) -> list[Any]:
    """All nodes that the named outputs need: `Graph.extract_sub_graph_nodes` in one search."""
    names = list(outputs_name)
    if not remove_unused_inputs:
        names += [node.output[0] for node in graph.inputs]
    found: dict[Any, None] = {}
    while names:
        node = graph.get_node_by_output(names.pop(), search_in_parent_graphs=False)
        if not node or node in found or (input_checker is not None and input_checker(node) is False):
            continue
        found[node] = None
        names.extend(node.input)
        names.extend(node.get_implicit_inputs())
    return list(found)


def replace_node(ctx: Any, node: Any, build: Callable[[Any, np.dtype], str]) -> None:
    """Replace a one-output node of a tf2onnx graph.

    Args:
        ctx: The tf2onnx graph.
        node: The node that goes away.
        build: Called with `emit(op_type, inputs, **attributes) -> value name` and the numpy dtype of the output;
            returns the name of the value that replaces the output. Every emitted value has the output's shape.
    """
    from tf2onnx import utils

    output = node.output[0]
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    ctx.remove_node(node.name)

    def emit(op_type: str, inputs: list[Any], **attributes: Any) -> str:
        names = [
            value if isinstance(value, str) else ctx.make_const(utils.make_name(node.name), value).output[0]
            for value in inputs
        ]
        made = ctx.make_node(
            op_type, names, attr=attributes, shapes=[shape], dtypes=[dtype], name=utils.make_name(node.name)
        )
        return str(made.output[0])

    result = build(emit, utils.map_onnx_to_numpy_type(dtype))
    ctx.make_node("Identity", [result], outputs=[output], shapes=[shape], dtypes=[dtype])


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Erfc(x) = 1 - erf(x), the exact GELU of Keras."""
    (x,) = node.input
    replace_node(ctx, node, lambda emit, dtype: emit("Sub", [np.array(1, dtype), emit("Erf", [x])]))


def _expm1(ctx: Any, node: Any, name: str, args: Any) -> None:
    """expm1(x) = exp(x) - 1, as in CELU."""
    (x,) = node.input
    replace_node(ctx, node, lambda emit, dtype: emit("Sub", [emit("Exp", [x]), np.array(1, dtype)]))


def _log1p(ctx: Any, node: Any, name: str, args: Any) -> None:
    """log1p(x) = log(1 + x)."""
    (x,) = node.input
    replace_node(ctx, node, lambda emit, dtype: emit("Log", [emit("Add", [x, np.array(1, dtype)])]))


def _sign_bit(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Bitcast(x) & sign bit, by which Keras' argmax tells -0.0 from 0.0: 1 / x is below 0."""
    source, mask = node.inputs
    if source.type != "Bitcast" or not mask.is_const() or mask.get_tensor_value() != np.iinfo(np.int32).min:
        return  # reported as an unknown operator
    x, output = source.input[0], node.output[0]
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    floating = ctx.get_dtype(x)
    zero = ctx.make_const(name + "/zero", np.array(0, np.float32)).output[0]
    none = ctx.make_const(name + "/none", np.array(0, np.int32)).output[0]
    ctx.remove_node(node.name)
    inverse = ctx.make_node("Reciprocal", [x], shapes=[shape], dtypes=[floating]).output[0]
    negative = ctx.make_node("Less", [inverse, zero], shapes=[shape], dtypes=[onnx.TensorProto.BOOL]).output[
        0
    ]
    ctx.make_node("Where", [negative, mask.output[0], none], outputs=[output], shapes=[shape], dtypes=[dtype])


BASIC_HANDLERS: Mapping[str, Handler] = {
    "Erfc": (_erfc, []),
    "Expm1": (_expm1, []),
    "Log1p": (_log1p, []),
    "BitwiseAnd": (_sign_bit, []),
    **RESIZES,
    **SELECTS,
}
