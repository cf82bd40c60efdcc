"""Max pools of volumes that TensorFlow differentiates in a way of its own where several elements are the largest."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.windows import SHARED_TIES

#: What writes TensorFlow's models, Keras' own export among them, puts in ``producer_name``.
_TENSORFLOW = "tf2onnx"


def note_shared_ties(model: ir.Model) -> None:
    """Notes in the MaxPools over three axes of a model of TensorFlow's that each winner gets the whole cotangent.

    So does its MaxPool3DGrad. The first winner alone gets it everywhere else: in PyTorch, and in TensorFlow's pools of
    signals and images. The model stays as it is.
    """
    if model.producer_name == _TENSORFLOW:
        for node in model.graph.all_nodes():
            if node.op_type == "MaxPool" and len(node.attributes.get_ints("kernel_shape", ())) == 3:
                node.meta[SHARED_TIES] = True
