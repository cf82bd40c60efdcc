"""Max pools that TensorFlow differentiates in a way of its own where several elements are the largest."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.windows import SHARED_TIES

#: What writes TensorFlow's models, Keras' own export among them, puts in ``producer_name``.
_TENSORFLOW = "tf2onnx"


def note_shared_ties(model: ir.Model) -> None:
    """Notes in max pools of a model of TensorFlow's that all winners have a gradient: over three axes, and global ones.

    Its MaxPool3DGrad gives each the whole cotangent, and its reduce_max, which tf2onnx writes as GlobalMaxPool at older
    opsets, an equal share. The first winner alone has it everywhere else: in PyTorch, and in TensorFlow's pools of
    signals and images. The model stays as it is.
    """
    if model.producer_name == _TENSORFLOW:
        for node in model.graph.all_nodes():
            volume = len(node.attributes.get_ints("kernel_shape", ())) == 3
            if node.op_type == "GlobalMaxPool" or (node.op_type == "MaxPool" and volume):
                node.meta[SHARED_TIES] = True
