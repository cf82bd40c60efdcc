"""Why an operator, an input or a case has no derivative: the mathematics, one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto

from node_cases.cases import FLOATS, NodeCase, float_names

STEP = "step function: constant between its jumps, so the derivative is 0 wherever it exists"
RANDOM = "random generator: the output is drawn anew, it is no function of the input's values"
EMPTY_INPUT = "the float inputs have no element: nothing to vary"
EMPTY_OUTPUT = "the outputs have no element: nothing varies"

#: Reasons that numbers can confirm: the differences and the gradient are both 0.
ZERO = frozenset({STEP, EMPTY_INPUT, EMPTY_OUTPUT})

#: Operators with float inputs and outputs whose derivative is 0 or does not exist.
OPERATORS = {
    "Ceil": STEP,
    "Floor": STEP,
    "Round": STEP,
    "Sign": STEP,
    "Hardmax": STEP,
    "MelWeightMatrix": STEP,
    "Bernoulli": RANDOM,
    "RandomNormalLike": RANDOM,
    "RandomUniformLike": RANDOM,
    "EyeLike": "the output depends on the shape of the input alone",
    "Shape": "the output depends on the shape of the input alone",
    "Size": "the output depends on the shape of the input alone",
    "ai.onnx.ml::Binarizer": STEP,
    "ai.onnx.ml::LabelEncoder": "look-up of single values: what is not among them has the default, in jumps",
    "ai.onnx.ml::TreeEnsemble": "decision trees are step functions: the derivative is 0 wherever it exists",
}

#: Inputs that are no variable of a differentiable function, by operator and name of the formal input.
INPUTS = {
    ("Resize", "scales"): "the shape of the output jumps with the scales",
    ("Upsample", "scales"): "the shape of the output jumps with the scales",
    ("Range", "limit"): "the length of the output jumps with the limit",
    ("OneHot", "depth"): "the shape of the output jumps with the depth",
    ("OneHot", "indices"): "a step function of the indices",
    ("Dropout", "ratio"): "which elements are drawn jumps with the ratio",
}

#: What is not differentiated or differs between runtimes, by operator, for the support table.
RESTRICTIONS = {
    "BatchNormalization": "in training mode with a warning: a sample's output depends on the others",
    "Conv": "the shape of the kernel must be static",
    "ConvTranspose": "`auto_pad` SAME with a kernel below the stride: as long as in ONNX Runtime and ONNX's shape "
    "inference, which is less than input times stride",
    "DFT": "inverse onesided of other than length / 2 + 1 frequencies: gradients of ONNX's definition, from which ONNX "
    "Runtime's forward pass differs (1.31)",
    "Dropout": "in training mode with a warning: the gradient is that of one random draw",
    "DynamicQuantizeLinear": "straight through; scale and zero point are constants where quantised values are used",
    "QuantizeLinear": "straight through: rounding counts as the identity, clipped at the range",
    "Resize": "no gradient for the region of interest in cubic mode",
} | dict.fromkeys(
    ("ConcatFromSequence", "SequenceAt", "SequenceErase", "SequenceInsert", "SequenceMap", "SplitToSequence"),
    "what the elements are must be known before the model runs",
)


def reason_of(case: NodeCase, sources: Sequence[str]) -> str | None:
    """Why a case has no derivative with respect to its ``sources``; None for a differentiable one."""
    graph = case.model.graph
    if case.op in OPERATORS:
        return OPERATORS[case.op]
    if not float_names(graph.output):
        return f"outputs of type {_types(graph.output)}: such values change in jumps"
    if not sources:
        return (
            f"no float input ({_types(graph.input)}): nothing to vary continuously"
            if graph.input
            else "no input"
        )
    if not any(case.inputs[name].size for name in sources):
        return EMPTY_INPUT
    if not any(case.expected[name].size for name in float_names(graph.output)):
        return EMPTY_OUTPUT
    return None


def _types(values: Sequence[onnx.ValueInfoProto]) -> str:
    kinds = {v.type.tensor_type.elem_type for v in values} - set(FLOATS)
    return ", ".join(sorted(TensorProto.DataType.Name(kind).lower() for kind in kinds)) or "none"


def fixed_inputs(case: NodeCase, one_node: NodeCase) -> dict[str, str]:
    """The float inputs of a case that have no derivative, with the reason.

    Args:
        case: The case.
        one_node: The case that it is an expansion of; itself if it is none.
    """
    node = one_node.model.graph.node[-1]
    if not any(op == case.op for op, _ in INPUTS):
        return {}
    schema = onnx.defs.get_schema(node.op_type, one_node.opset, node.domain)
    reasons = {
        name: INPUTS.get((case.op, schema.inputs[index].name))
        for index, name in enumerate(node.input)
        if name
    }
    return {name: reason for name, reason in reasons.items() if reason}
