"""What gradients do not contain, because some runtime has no kernel for it or computes it wrongly.

CUDA: ReduceProd of int64, ConvTranspose with uneven pads. OpenVINO: HardSigmoid with beta 0 (read as 1/2), a sum over
computed axes, a kernel of as many inputs as outputs that is read as it is and transposed. NonZero makes a GPU wait.
OpenCV refuses a Reshape that copies two sizes of what a convolution gives.
"""

from collections import Counter

import numpy as np
import onnx
import pytest
from support.rule_cases.tables import CASES

from models import digits, emotion, gunpoint, tabular
from onnxattr.attributions import GuidedBackprop, IntegratedGradients, Saliency, VarGrad
from onnxattr.compile.gradient import vjp
from onnxattr.graph.subgraphs import graphs_in
from onnxattr.session import Session


def findings(model: onnx.ModelProto) -> Counter[str]:
    """How often each of them is in a model, its bodies included."""
    found: Counter[str] = Counter()
    graphs = list(graphs_in(model.graph))
    types = {t.name: t.data_type for graph in graphs for t in graph.initializer}
    if any(node.op_type == "ReduceProd" for graph in graphs for node in graph.node):
        inferred = onnx.shape_inference.infer_shapes(model)
        for graph in graphs_in(inferred.graph):
            for value in (*graph.input, *graph.value_info, *graph.output):
                types.setdefault(value.name, value.type.tensor_type.elem_type)
    for node in (node for graph in graphs for node in graph.node):
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        pads = list(given.get("pads", []))
        wide = node.op_type == "ReduceProd" and types.get(node.input[0]) == onnx.TensorProto.INT64
        uneven = node.op_type == "ConvTranspose" and pads[: len(pads) // 2] != pads[len(pads) // 2 :]
        found["HardSigmoid beta 0"] += node.op_type == "HardSigmoid" and given.get("beta", 0.5) == 0
        found["NonZero"] += node.op_type == "NonZero"
        found["ReduceProd of int64"] += wide
        found["uneven pads"] += uneven
    found["sizes copied behind a Conv"] += sum(map(sizes_copied_behind_convolutions, graphs))
    found["shared square kernel"] += sum(map(shared_square_kernels, graphs))
    return +found


def sizes_copied_behind_convolutions(graph: onnx.GraphProto) -> int:
    """How many Reshapes with two zeros read a convolution, or several joined."""
    sizes = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in graph.initializer
        if t.data_type == onnx.TensorProto.INT64
    }
    makers = {name: node for node in graph.node for name in node.output}

    def convolved(name: str) -> bool:
        maker = makers.get(name)
        joined = maker is not None and maker.op_type in ("Concat", "Add")
        return maker is not None and (
            maker.op_type == "Conv" or (joined and any(map(convolved, maker.input)))
        )

    reshapes = [node for node in graph.node if node.op_type == "Reshape" and node.input[1] in sizes]
    return sum((sizes[node.input[1]] == 0).sum() > 1 and convolved(node.input[0]) for node in reshapes)


def shared_square_kernels(graph: onnx.GraphProto) -> int:
    """How many constants with as many rows as columns are read both as they are and transposed."""
    ways: dict[str, set[bool]] = {}
    turned = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose"}
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm", "Conv", "ConvTranspose"):
            kernel = turned.get(node.input[1], node.input[1])
            flag = any(a.name == "transB" and a.i for a in node.attribute)
            plain = node.op_type in ("MatMul", "Gemm") and node.input[1] in turned
            if node.op_type != "Conv" or kernel == node.input[1]:
                ways.setdefault(kernel, set()).add(flag or plain or node.op_type == "ConvTranspose")
    square = [t.name for t in graph.initializer if len(t.dims) > 1 and is_square(t)]
    return sum(len(ways.get(name, ())) > 1 for name in square)


def is_square(tensor: onnx.TensorProto) -> bool:
    return tensor.dims[0] == tensor.dims[1] if len(tensor.dims) > 2 else tensor.dims[-1] == tensor.dims[-2]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_rules_write_none(row):
    for variant in ("static", "dynamic") if row.dynamic else ("static", "batch"):
        own, gradient = findings(row.model(variant)), findings(row.gradient(variant))
        more = gradient - own - own  # a copy of a node of the model is the model's
        if row.op == "ConvTranspose":
            more.pop("uneven pads", None)  # those of the model's own node, which loading states
        if variant == "dynamic":
            more.pop("NonZero", None)  # inference does not know the rank of every value
        assert not more, f"{variant}: {dict(more)}"


FILES = {
    "digits": (digits.ONNX_FILE, None),
    "emotion": (emotion.ONNX_FILE, -2),
    "gunpoint": (gunpoint.ONNX_FILE, -2),
    "tabular": (tabular.ONNX_FILE, None),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("method", "options", "rendering"),
    [
        (Saliency, {}, "batch"),
        (GuidedBackprop, {}, "batch"),
        (IntegratedGradients, {"steps": 4}, "loop"),
        (VarGrad, {"nb_samples": 3}, "batch"),
        (VarGrad, {"nb_samples": 3}, "loop"),
    ],
)
def test_exported_files_have_none(name, method, options, rendering, tmp_path):
    path, layer = FILES[name]
    method(path, layer, batch_size=2, **options).export(tmp_path / "e.onnx", rendering, check=False)
    assert not findings(onnx.load(tmp_path / "e.onnx"))


def test_a_mask_is_0_below_and_at_the_bound():
    """The smallest HardSigmoid beta changes no bit: 1 above 0, however near."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[N,9] x) => (float[N,9] y) { y = Relu(x) }'
    )
    tiny = np.float32(2.0**-126)
    x = np.array([[-np.inf, -3, -tiny, -0.0, 0, tiny, 1e-30, 2, np.inf]], np.float32)
    gradient = vjp(model)
    feeds = {gradient.graph.input[0].name: x, gradient.graph.input[1].name: np.ones_like(x)}
    (found,) = Session(gradient).run(feeds)[-1:]
    np.testing.assert_array_equal(found, [[0, 0, 0, 0, 0, 1, 1, 1, 1]])
