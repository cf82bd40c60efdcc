"""Which operators are affine, y = A x + c, in which of their inputs: the table that every decision about it reads."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from onnxattr.graph.subgraphs import is_standard

#: Stands for all inputs of an operator.
_ALL = None
#: By operator the sets of inputs that it is affine in together, the others being given.
_AFFINE: dict[str, tuple[tuple[int, ...] | None, ...]] = {
    **dict.fromkeys("Concat Mean Sum".split(), (_ALL,)),
    **dict.fromkeys("Add Sub".split(), ((0, 1),)),
    **dict.fromkeys("Mul MatMul".split(), ((0,), (1,))),
    "Gemm": ((0, 2), (1, 2)),
    "Where": ((1, 2),),
    **dict.fromkeys(
        """
        AveragePool BatchNormalization CenterCropPad Col2Im Compress Conv ConvTranspose CumSum DepthToSpace Div Dropout
        Expand Flatten Gather GatherElements GatherND GlobalAveragePool GridSample Identity Neg Pad ReduceMean ReduceSum
        Reshape Resize ReverseSequence Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze
        """.split(),
        ((0,),),
    ),
}
#: Operators of these whose further outputs, or another mode, are not affine.
_ONE_OUTPUT = ("BatchNormalization", "Dropout")


def is_affine(node: ir.Node, varying: Collection[int]) -> bool:
    """Whether all outputs of a node are affine in some of its inputs together.

    Args:
        node: The node.
        varying: The numbers of these inputs; the others are given.
    """
    if not is_standard(node, *_AFFINE) or (node.op_type in _ONE_OUTPUT and not _in_inference(node)):
        return False
    return any(together is _ALL or set(varying) <= set(together) for together in _AFFINE[node.op_type])


def _in_inference(node: ir.Node) -> bool:
    training = node.attributes.get_int("training_mode", 0) or (
        node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2] is not None
    )
    return not training and not any(value.uses() for value in node.outputs[1:])
