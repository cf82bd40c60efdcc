"""What the converter replaces in tf2onnx, Keras and TensorFlow: one table, applied by `common.patching.applied`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...common.patching import Patch
from ..translations.einsum import kept_as_it_is
from ..translations.selects import select_band
from .inlined_functions import written_in_python
from .loops import nested_conditions, scan_forwards, scan_of_keras
from .memory import (
    all_but_constants,
    frozen_without_copy,
    nodes_leading_to,
    on_one_processor,
    one_pass,
)
from .order import MODULES_WITH_SETS, OrderedSet, SortedSet, name_by_number, numbered_parts

_TF2ONNX, _KERAS, _TF_KERAS = "tf2onnx 1.17.0", "Keras 3.15.1", "tf_keras 2.20.1"

Replacement = Callable[[Any, Any], Any]


def _by_context(method: str) -> Replacement:
    """What a method of the context makes of the original."""
    return lambda original, context: getattr(context, method)(original)


def _called(original: Any, context: Any) -> Any:
    """What the context, a function, makes of the original."""
    return context(original)


def _never(original: Any, context: Any) -> Any:
    """A function that says no."""
    return lambda *args, **kwargs: False


#: Owner, attribute, replacement, why, version; by group: "tf2onnx" (context: the Taps) and "padding" while tf2onnx
#: converts, "calls" (a LayerRecorder) and "recurrent" (the RecurrentLayers) while a model is traced, "weights" and
#: "steps" (functions that bound the original) while a file is loaded.
PATCHES: tuple[Patch, ...] = (
    Patch(
        "tf2onnx",
        "tf2onnx.graph:Node",
        "update_proto",
        lambda original, _: all_but_constants(original),
        "After each pass it builds the proto of each node anew, weights included, and the old ones are never freed.",
        _TF2ONNX,
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.graph:Graph",
        "extract_sub_graph_nodes",
        lambda *_: nodes_leading_to,
        "It searches for unused nodes once for each output, and every tap is an output.",
        _TF2ONNX,
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.optimizer.optimizer_base:GraphOptimizerBase",
        "optimize",
        lambda *_: one_pass,
        "After each pass it builds the protos of all nodes, and counts the nodes twice.",
        _TF2ONNX,
    ),
    Patch(
        "tf2onnx",
        "tensorflow.python.framework.convert_to_constants",
        "_construct_concrete_function",
        lambda *_: frozen_without_copy,
        "It copies the graph, operator by operator, to make a function of it that tf2onnx does not call, and fails "
        "where TensorFlow holds the functions inside.",
        "TensorFlow 2.20",
    ),
    Patch(
        "tf2onnx",
        "tensorflow.python.grappler.tf_optimizer",
        "OptimizeGraph",
        lambda original, _: on_one_processor(original),
        "It opens a session on all devices of the machine, and logs that.",
        "TensorFlow 2.20",
    ),
    Patch(
        "tf2onnx",
        "numpy",
        "product",
        lambda *_: np.prod,
        "tf2onnx calls it for large models; NumPy 2 has it no longer.",
        "NumPy 2.4",
        added=True,
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.onnx_opset.nn:MatrixBandPart",
        "_apply_mask_and_transform",
        lambda *_: classmethod(select_band),
        "It multiplies by a mask, which makes NaN of what is infinite outside the band.",
        _TF2ONNX,
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.optimizer.back_to_back_optimizer:BackToBackOptimizer",
        "_optimize",
        _by_context("splitting"),
        "It leaves pairs such as Transpose-Transpose where a tap reads the value between them.",
        _TF2ONNX,
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.optimizer.merge_duplicated_nodes_optimizer:MergeDuplicatedNodesOptimizer",
        "_optimize",
        _by_context("quiet"),
        "It merges the copies made for taps again, and asks for another round each time.",
        _TF2ONNX,
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.optimizer.identity_optimizer:IdentityOptimizer",
        "_handle_graph_output_identity",
        _by_context("keeping"),
        "It removes the Identity before a tap: the producer counts as output then and nothing moves past it.",
        _TF2ONNX,
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.optimizer.einsum_optimizer:GraphEinsumSubOp",
        "to_onnx",
        lambda original, _: numbered_parts(original),
        "It does not tell the parts of an Einsum which one they are.",
        _TF2ONNX,
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.optimizer.einsum_optimizer:EinsumSubOp",
        "_onnx_name",
        lambda *_: name_by_number,
        "It names values after addresses in memory, which differ from run to run.",
        _TF2ONNX,
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.optimizer.einsum_optimizer:EinsumOptimizer",
        "_optimize_einsum",
        lambda original, _: kept_as_it_is(original),
        "It fails on '...' and on a letter that one operand has twice.",
        _TF2ONNX,
    ),
    *(
        Patch(
            "tf2onnx",
            module,
            "set",
            lambda *_: OrderedSet,
            "It walks over sets of names, whose order differs between processes.",
            _TF2ONNX,
            added=True,
        )
        for module in MODULES_WITH_SETS
    ),
    Patch(
        "tf2onnx",
        "tf2onnx.tf_loader",
        "set",
        lambda *_: SortedSet,
        "It walks over sets of functions, which TensorFlow keeps in no order.",
        _TF2ONNX,
        added=True,
    ),
    Patch(
        "padding",
        "tf2onnx.tfonnx",
        "rewrite_conv2d_with_pad",
        lambda *_: lambda graph, operations: operations,
        "It merges a Pad into the convolution after it, also where the Pad is a layer that must stay.",
        _TF2ONNX,
    ),
    *(
        Patch(
            "calls",
            f"{package}.layers:Layer",
            "__call__",
            _by_context("hook"),
            "It does not tell which layer made which tensors.",
            version,
        )
        for package, version in (("keras", _KERAS), ("tf_keras", _TF_KERAS))
    ),
    Patch(
        "calls",
        "tensorflow.python.eager.polymorphic_function.polymorphic_function:Function",
        "__call__",
        lambda original, _: written_in_python(original),
        "Where functions are inlined, it runs loops and conditions on tensors as those of Python, which fail.",
        "TensorFlow 2.20",
    ),
    Patch(
        "calls",
        "tensorflow.python.ops.cond_v2",
        "indexed_case",
        lambda *_: nested_conditions,
        "It makes a Case of several branches, which tf2onnx does not read.",
        "TensorFlow 2.20",
    ),
    Patch(
        "calls",
        "tensorflow.python.ops.functional_ops",
        "scan",
        lambda original, _: scan_forwards(original),
        "Without a first state it writes a result before its loop, and backwards it writes the last one first: tf2onnx "
        "reads neither.",
        "TensorFlow 2.20",
    ),
    Patch(
        "calls",
        "keras.src.backend.tensorflow.core",
        "scan",
        lambda *_: scan_of_keras,
        "It keeps the state in a list of one tensor, which tf2onnx does not read.",
        _KERAS,
    ),
    *(
        Patch(
            "recurrent",
            f"keras.layers:{layer}",
            "inner_loop",
            _by_context("inner_loop"),
            "It traces a loop over time, which ONNX has an operator for.",
            _KERAS,
        )
        for layer in ("RNN", "LSTM", "GRU")
    ),
    *(
        Patch(
            "recurrent",
            "keras.layers:Bidirectional",
            f"_can_attempt_fused_{cell}",
            _never,
            "The fused path exists for GPUs only, and passes the inner layers by.",
            _KERAS,
            optional=True,
        )
        for cell in ("lstm", "gru")
    ),
    *(
        Patch(
            "recurrent",
            f"tf_keras.layers:{layer}",
            "call",
            _by_context("legacy_call"),
            "It traces a loop over time, which ONNX has an operator for.",
            _TF_KERAS,
        )
        for layer in ("LSTM", "GRU", "SimpleRNN", "RNN")
    ),
    *(
        Patch(
            "weights",
            f"{package}.layers:Layer",
            "add_weight",
            _called,
            "It makes weights of any size that a file asks for.",
            version,
        )
        for package, version in (("keras", _KERAS), ("tf_keras", _TF_KERAS))
    ),
    *(
        Patch(
            "steps",
            f"{package}.src.backend",
            "rnn",
            _called,
            "It takes as many steps as a file asks for.",
            version,
        )
        for package, version in (("keras", _KERAS), ("tf_keras", _TF_KERAS))
    ),
)


def group(name: str) -> list[Patch]:
    """The patches of a group, in the order of the table."""
    return [patch for patch in PATCHES if patch.group == name]
