"""What ONNX Runtime computes together with a convolution or a product, and which operands it reads on the host."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

import onnx

from onnxattr.graph.subgraphs import inside_out, is_standard, read_by

#: What it folds into the weights of a convolution, where the other operands are constants, or leaves out.
_FOLDED = ("Add", "BatchNormalization", "Dropout", "Identity", "Mul")
#: Float arguments that runtimes read on the host while the data lie on the device, by operator: positions of inputs.
ARGUMENTS = {"Clip": (1, 2), "Pad": (2,), "Resize": (1, 2)}
#: The readers of values, by name, equal nodes once: their operator and inputs, "" for the outputs of the graph.
Readers = Mapping[str, set[tuple[str, ...]]]


def readers_in(graph: onnx.GraphProto) -> Readers:
    """The readers of the values of a graph; the bodies of nodes read too."""
    found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for node in graph.node:
        for name in read_by(node):
            found[name].add((node.op_type, *node.input))
    for value in graph.output:
        found[value.name].add(("", value.name))
    return found


def is_fused(
    node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], readers: Readers, constant: Collection[str]
) -> bool:
    """Whether an activation becomes part of the Conv before it: nothing else reads what is between them.

    Args:
        node: The activation.
        makers: By the name of a value, the node that makes it.
        readers: See ``readers_in``.
        constant: The names of values that are constants.
    """
    name = node.input[0]
    while len(readers.get(name, ())) == 1 and name in makers:
        maker = makers[name]
        if is_standard(maker, "Conv"):
            return True
        computed = [one for one in maker.input if one and one not in constant]
        if not is_standard(maker, *_FOLDED) or len(computed) != 1:
            return False
        name = computed[0]
    return False


def takes_first_axis_back(perm: Sequence[int]) -> bool:
    """Whether a Transpose of three axes or more takes the first to one of the last two places and moves no other."""
    moved = [axis for axis in perm if axis]
    return len(perm) > 2 and moved == sorted(moved) and 0 in perm[-2:]


def ends_the_process(graph: onnx.GraphProto) -> bool:
    """Whether ONNX Runtime may crash when it loads a graph: a MatMul reads a Cast that alone reads such a Transpose.

    On the CPU it puts such a Cast in front of each MatMul of float16. ONNX Runtime 1.32 crashes with all optimisations,
    and not with those of ORT_ENABLE_EXTENDED alone.
    """
    parts = inside_out(graph, "MatMul")
    # Most graphs have no such product: of what types their values are is then not asked.
    half = functools.cache(lambda: any(map(_has_halves, parts)))
    return any(_multiplies_turned(one, half) for one in parts)


def _has_halves(graph: onnx.GraphProto) -> bool:
    """Whether values of a graph may be of half precision, as far as what it is given and its Casts tell."""
    kinds = {tensor.data_type for tensor in graph.initializer}
    kinds.update(value.type.tensor_type.elem_type for value in graph.input)
    kinds.update(
        a.i for node in graph.node if is_standard(node, "Cast") for a in node.attribute if a.name == "to"
    )
    kinds.update(
        a.t.data_type for node in graph.node if is_standard(node, "Constant") for a in node.attribute
    )
    return onnx.TensorProto.FLOAT16 in kinds


def _multiplies_turned(graph: onnx.GraphProto, half: Callable[[], bool]) -> bool:
    turned, cast = set[str](), set[str]()
    for node in graph.node:
        first = node.input[0] if node.input else ""
        if is_standard(node, "Transpose"):
            perm = next((attribute.ints for attribute in node.attribute if attribute.name == "perm"), ())
            if takes_first_axis_back(perm):
                turned.add(node.output[0])
        elif is_standard(node, "Cast") and first in turned | cast:
            cast.add(node.output[0])
        elif is_standard(node, "Identity") and first in turned | cast:
            (turned if first in turned else cast).add(node.output[0])
        elif is_standard(node, "MatMul") and (
            not cast.isdisjoint(node.input) or (not turned.isdisjoint(node.input) and half())
        ):
            return True
    return False
