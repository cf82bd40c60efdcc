"""Operators that have no rule on purpose, and the sentences that say why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from onnxattr.autodiff.registry import op_name
from onnxattr.graph.subgraphs import nodes_of, subgraphs_of

#: The metadata entry of a node that its definition cannot write out.
WHY = "onnxattr.why"
#: Operators whose integer outputs stand for real numbers.
_QUANTIZED = re.compile(
    r"(com\.microsoft::)?(QuantizeLinear|DynamicQuantize\w+|QLinear\w+|QGemm|QAttention|QEmbedLayerNormalization"
    r"|ConvInteger|MatMulInteger\w*|MulInteger|QOrdered\w+|NhwcMaxPool)"
)

#: Why trees have none, behind the word for their kind; without the full stop.
TREES = (
    "trees are piecewise constant, so their gradient is zero almost everywhere and says nothing: explain them with a "
    "method that needs no gradient, or explain a differentiable model"
)

REFUSED = (
    (
        r"Sequence\w+|ConcatFromSequence|SplitToSequence",
        "Sequences are supported if it follows from the file which elements are read, or if a Loop appends elements of "
        "one shape to them. Stack the elements into a tensor instead.",
    ),
    (
        r"Optional\w*",
        "Optional values are supported if it follows from the file what they hold. Give the value itself to the model "
        "instead.",
    ),
    (
        r"(com\.microsoft::)?(DynamicQuantize(?!Linear)\w+|QLinear\w+|QGemm|QAttention|QEmbedLayerNormalization"
        r"|MatMulInteger\w+|MulInteger|QOrdered\w+)",
        "There is no gradient of this operator on integers: quantise the model in the QDQ form instead "
        "(onnxruntime.quantization with quant_format=QuantFormat.QDQ), which is differentiated straight through.",
    ),
    (
        r"com\.microsoft::(SparseAttention|GatedDeltaNet|Varlen\w+)",
        "GroupQueryAttention and LinearAttention have a gradient, this form has none: export the model with "
        "these, or with operators of ai.onnx.",
    ),
    (
        r"com\.microsoft::MaxpoolWithMask",
        "There is no gradient of a max-pool with a mask: export it as MaxPool of Where(mask, x, the lowest number).",
    ),
    (
        r"com\.microsoft::(DecoderMasked\w+|BeamSearch|GreedySearch|Sampling|Packed\w+|RemovePadding|RestorePadding)",
        "ONNX Runtime fused the model for generating text or for batches packed on a GPU: take it as it was exported, "
        "before onnxruntime.transformers, or save it with a lower level of graph optimisation.",
    ),
    (
        r"com\.microsoft\.nchwc::.*|com\.ms\.internal\..*|com\.microsoft::Nhwc\w+",
        "The model was saved by ONNX Runtime in a memory layout for one kind of processor: save it with "
        "SessionOptions.graph_optimization_level at ORT_ENABLE_EXTENDED or below, or take the original.",
    ),
    (
        r"ai\.onnx\.ml::TreeEnsemble\w*",
        f"Decision {TREES}.",
    ),
)


def stands_for_reals(operator: str) -> bool:
    """Whether the integer outputs of an operator stand for real numbers, so that gradient flows through them."""
    return _QUANTIZED.fullmatch(operator) is not None


def reasons(operators: Iterable[str], nodes: Sequence[Any] = ()) -> list[str]:
    """Why operators without a rule have none, and what is noted on nodes and inside them; one sentence for each."""
    names = list(operators)
    known = [why for pattern, why in REFUSED if any(re.fullmatch(pattern, name) for name in names)]
    inner = [node for outer in nodes for graph in subgraphs_of(outer) for node in nodes_of(graph)]
    inner = [node for node in inner if op_name(node) in names]
    notes = [getattr(node, "metadata_props", {}).get(WHY, "") for node in (*nodes, *inner)]
    return known + list(dict.fromkeys(filter(None, notes)))[:3]
