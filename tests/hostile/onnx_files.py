"""Crafted ONNX files: each is wrong, deep, large or odd in one way, and says what should become of it."""

import base64
import gzip
import pickle

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper
from support.small_models import build, mlp, node

from hostile.onnx_crafting import (
    VECTOR,
    changed,
    deep_graphs,
    deep_type,
    described,
    field,
    initializer,
    layer,
    metadata,
    nested_branches,
    of,
    one,
    sliced,
    sparse,
    untyped,
    untyped_attribute,
    views,
    with_bytes,
    without_attributes,
)
from hostile.onnx_mutants import CONTROL, FUNCTIONS

DEEP_JSON = "[" * 100_000
MLP_BYTES = mlp().model.SerializeToString()
SEQUENCE = helper.make_value_info(
    "x", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, ["N", 4]))
)

#: A Slice in front of others.
FIRST = node("Slice", ["x", "a", "b", "d"], ["g"])
#: What every file holds, and a part of the error that it gives; "" for files that are explained.
FILES: dict[str, tuple[bytes, str]] = {
    "as it should be": (MLP_BYTES, ""),
    "of size zero": (b"", "holds no ONNX graph"),
    "text": (b"hello, world\n", "is not an ONNX model"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "is not an ONNX model"),
    "zeros": (bytes(1000), "is not an ONNX model"),
    "compressed": (gzip.compress(MLP_BYTES), "is not an ONNX model"),
    "a pickle": (pickle.dumps(MLP_BYTES), "is not an ONNX model"),
    "length of 1 GiB": (b"\x3a\xff\xff\xff\xff\x03" + b"a" * 100, "is not an ONNX model"),
    "length of 2**63": (b"\x3a" + b"\xff" * 9 + b"\x7f" + b"a" * 100, "is not an ONNX model"),
    "unknown fields alone": (field(15, b"abc") * 3, "holds no ONNX graph"),
    "trailing bytes": (MLP_BYTES + b"\xff\xff\xff", "is not an ONNX model"),
    "twice": (MLP_BYTES + MLP_BYTES, "prepared|not valid|unique|SSA"),
    "graphs 25 deep": (nested_branches(25), ""),
    "graphs 200 deep": (deep_graphs(200), "nested too deeply"),
    "graphs 5000 deep": (deep_graphs(5000), "nested too deeply"),
    "types 20 deep": (deep_type(20), "opset 0"),
    "types 5000 deep": (deep_type(5000), "nested too deeply"),
    # Names
    "value name of no UTF-8": (with_bytes(b"active", b"\xff\xfe\xff\xfeab"), "not UTF-8"),
    "operator of no UTF-8": (with_bytes(b"Gemm", b"\xff\xfe\xc0\xaf"), "not UTF-8"),
    "graph name of no UTF-8": (with_bytes(b"small", b"\xff\xfe\xc0\xaf1"), "not UTF-8"),
    "axis name of no UTF-8": (
        with_bytes(
            b"QQQQ", b"\xff\xfe\xff\xfe", build([node("Tanh", ["x"], ["y"])], {"x": ["QQQQ", 4]}, VECTOR[1])
        ),
        "not UTF-8",
    ),
    "metadata of no UTF-8": (
        with_bytes(b"QQQQ", b"\xff\xfe\xff\xfe", onnx.ModelProto.FromString(metadata("a", "QQQQ"))),
        "not UTF-8",
    ),
    "no name of a value": (changed(lambda m: m.graph.input.add()), "not valid"),
    "duplicate nodes": (changed(lambda m: m.graph.node.append(m.graph.node[0])), "not valid"),
    "duplicate weights": (changed(lambda m: m.graph.initializer.append(m.graph.initializer[0])), "unique"),
    "duplicate inputs": (changed(lambda m: m.graph.input.append(m.graph.input[0])), "not valid"),
    # ONNX Runtime runs it: one value, and one output to explain (test_several_outputs.py).
    "duplicate outputs": (changed(lambda m: m.graph.output.append(m.graph.output[0])), ""),
    "a cycle": (
        build(
            [node("Add", ["x", "b"], ["a"]), node("Tanh", ["a"], ["b"]), node("Neg", ["b"], ["y"])], *VECTOR
        ).SerializeToString(),
        "topologically sorted",
    ),
    "a node that reads itself": (one("Add", ["x", "y"]), "topologically sorted"),
    "a value from nowhere": (one("Add", ["x", "nowhere"]), "topologically sorted"),
    "an output from nowhere": (
        build([node("Tanh", ["x"], ["h"])], *VECTOR).SerializeToString(),
        "not an output",
    ),
    "no outputs": (build([node("Tanh", ["x"], ["h"])], VECTOR[0], {}).SerializeToString(), "float"),
    "an input of no type": (
        changed(lambda m: m.graph.input[0].type.tensor_type.ClearField("elem_type")),
        "Input 'x' is declared as a tensor of no type",
    ),
    "no inputs": (
        build(
            [node("Tanh", ["w"], ["y"])], {}, VECTOR[1], {"w": np.ones((1, 4), np.float32)}
        ).SerializeToString(),
        "No float input|no float value",
    ),
    "no nodes": (build([], VECTOR[0], {"x": ["N", 4]}).SerializeToString(), ""),
    "nothing in the graph": (build([], {}, {}).SerializeToString(), "holds no ONNX graph"),
    # Weights
    "shape of 2**60": (initializer(dims=[2**60]), "takes 4611686018427387904"),
    "shape beyond 64 bits": (initializer(dims=[2**62, 2**62]), "takes 8507"),
    "negative shape": (initializer(dims=[-6, -8]), "[Nn]egative"),
    "fewer bytes than the shape": (initializer(raw_data=b"\0" * 7), "7 bytes; its shape .* takes"),
    "more bytes than the shape": (initializer(raw_data=b"\0" * 5000), "5000 bytes; its shape .* takes"),
    "no bytes": (initializer(raw_data=b""), "0 bytes; its shape"),
    "unknown type": (initializer(data_type=99), "unknown type 99"),
    "no type": (initializer(data_type=0), "unknown type 0"),
    "text for numbers": (initializer(data_type=TensorProto.STRING), "has no size"),
    "more elements than the shape": (
        changed(
            lambda m: (
                m.graph.initializer.append(helper.make_tensor("k", 1, [2], [1.0, 2.0])),
                m.graph.initializer[-1].dims.pop(),
            )
        ),
        "2 elements; its shape .* takes 1",
    ),
    "two kinds of data": (initializer(float_data=[1.0] * 48), "not valid|one"),
    "strings": (
        changed(
            lambda m: m.graph.initializer.append(
                helper.make_tensor("words", TensorProto.STRING, [2], [b"\xff", b"b"])
            )
        ),
        "",
    ),
    "part of a tensor": (
        changed(lambda m: m.graph.initializer[0].segment.MergeFrom(TensorProto.Segment(begin=0, end=2**62))),
        "a segment of a larger one",
    ),
    "sparse weights of 2**60": (sparse([0, 5], [2**30, 2**30]), "too many for a file of this size"),
    "sparse weights of negative size": (sparse([0, 5], [-4, -4]), "a size is negative"),
    "sparse weights out of place": (sparse([0, 50], [4, 4]), "an index lies outside"),
    "sparse weights before their place": (sparse([-1, 5], [4, 4]), "an index lies outside"),
    "sparse weights, too few indices": (sparse([0], [4, 4]), "indices are int64 of"),
    # Graphs and functions
    "negative opset": (changed(lambda m: setattr(m.opset_import[0], "version", -1)), "opset -1"),
    "opset of 2**62": (changed(lambda m: setattr(m.opset_import[0], "version", 2**62)), "opset"),
    "opset of 2**62 of functions": (
        changed(lambda m: setattr(m.opset_import[-1], "version", 2**62), of(FUNCTIONS)),
        "opset 4611686018427387904 of the domain 'own'; opsets are numbers of 32 bits",
    ),
    "opset of -2**63 of functions": (
        changed(lambda m: setattr(m.opset_import[-1], "version", -(2**63)), of(FUNCTIONS)),
        "opset -9223372036854775808 of the domain 'own'",
    ),
    "opset of 2**62 of another domain": (
        changed(lambda m: m.opset_import.add(domain="com.microsoft", version=2**62)),
        "of the domain 'com.microsoft'",
    ),
    "opset of 2**62 in a function": (
        changed(lambda m: setattr(m.functions[0].opset_import[0], "version", 2**62), of(FUNCTIONS)),
        "opset 4611686018427387904 of the domain",
    ),
    "no opset": (changed(lambda m: m.ClearField("opset_import")), "opset"),
    "negative IR version": (changed(lambda m: setattr(m, "ir_version", -1)), ""),
    "If without branches": (without_attributes("If"), "not valid|branch"),
    "Loop without a body": (without_attributes("Loop"), "not valid|body"),
    "If whose branch is a number": (
        changed(lambda m: setattr(m.graph.node[2].attribute[0], "type", AttributeProto.INT), of(CONTROL)),
        "not valid",
    ),
    "attribute without a value": (untyped_attribute(AttributeProto.GRAPH), "not valid"),
    "attribute of no type": (untyped_attribute(0), "not valid"),
    "attribute of an unknown function's": (
        changed(lambda m: m.graph.node[0].attribute.add(name="alpha", ref_attr_name="no", type=1)),
        "",
    ),
    "attribute twice": (
        changed(lambda m: m.graph.node[0].attribute.extend([helper.make_attribute("alpha", 1.0)] * 2)),
        "not valid|twice|Attribute",
    ),
    "function that calls itself": (
        changed(
            lambda m: (
                m.functions[0].node[0].MergeFrom(onnx.NodeProto(domain="own", op_type=""))
                or setattr(m.functions[0].node[0], "op_type", "twice")
            ),
            of(FUNCTIONS),
        ),
        "[Cc]ycle|recursive|itself|not valid|call",
    ),
    "function twice": (
        changed(lambda m: m.functions.append(m.functions[0]), of(FUNCTIONS)),
        "not valid|multiple|twice|[Dd]uplicate",
    ),
    "function that is not there": (
        changed(lambda m: m.ClearField("functions"), of(FUNCTIONS)),
        "not valid|No VJP rule",
    ),
    "a sequence for an input": (changed(lambda m: m.graph.input[0].CopyFrom(SEQUENCE)), "not valid|float"),
    "an input without a type": (changed(lambda m: m.graph.input[0].ClearField("type")), "not valid|type"),
    "an input of 2**62 columns": (
        changed(lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 2**62)),
        "not valid|[Ss]hape|[Ii]ncompatible",
    ),
    "an input of -5 columns": (
        changed(lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", -5)),
        "the size -5",
    ),
    "a node of 100 inputs": (one("Sum", ["x"] * 100), ""),
    "Scan of 10**9 inputs": (
        one("Scan", num_scan_inputs=10**9, body=helper.make_graph([], "b", [], [])),
        "not valid",
    ),
    "axis 2**62": (one("Softmax", axis=2**62), "axis"),
    "perm of nonsense": (one("Transpose", perm=[0, -(2**63)]), "not valid"),
    "equation of nonsense": (one("Einsum", equation="->->,,..."), "not valid"),
    "kernel of 2**40": (one("MaxPool", kernel_shape=[2**40, 2**40]), "not valid"),
    "Reshape to minus ones": (one("Reshape", ["x", "s"], {"s": np.array([-1, -1])}), "not valid"),
    "a Cast to type 99": (one("Cast", to=99), "not valid|type|prepared"),
    # Sizes below zero end the process in ONNX's inference of Slice.
    **{
        f"negative size of {name}, sliced": (sliced(*nodes), "negative|would have the size -|the size -")
        for name, nodes in {
            "an input": ([-5, 4], []),
            "a Pad": (["N", 4], [node("Pad", ["x", "p"], ["h"])]),
            "a Conv": (["N", 1, 1, 1], [node("Conv", ["x", "k"], ["h"])]),
            "a ConvTranspose": (["N", 1, 4, 4], [node("ConvTranspose", ["x", "k"], ["h"], pads=[9] * 4)]),
            "a pool": (["N", 1, 1, 1], [node("MaxPool", ["x"], ["h"], kernel_shape=[9, 9])]),
            "a Pad of a Slice": (["N", 4], [FIRST, node("Pad", ["g", "p"], ["h"])]),
            "a Conv behind a Slice": (
                ["N", 1, 4, 9],
                [
                    FIRST,
                    node("Relu", ["g"], ["r"]),
                    node("Conv", ["r", "k"], ["c"]),
                    node("Tanh", ["c"], ["h"]),
                ],
            ),
            "a pool behind Slices": (
                ["N", 1, 9, 9],
                [
                    FIRST,
                    node("Slice", ["g", "a", "b", "d"], ["s"]),
                    node("AveragePool", ["s"], ["h"], kernel_shape=[9, 9]),
                ],
            ),
        }.items()
    },
    # Metadata
    **{
        f"explainer entry {text[:12]!r}": (
            metadata("onnxattr.explainer", text),
            "'onnxattr.explainer'.* is damaged",
        )
        for text in (
            "",
            "{}",
            "[1,2]",
            "3",
            "null",
            '"text"',
            "{",
            "NaN",
            DEEP_JSON,
            '{"method": 1}',
            "9" * 5000,
        )
    },
    **{
        f"layer table {text[:12]!r}": (
            metadata("onnxattr.layers", text),
            "'onnxattr.layers' is damaged",
        )
        for text in (
            "{}",
            "[1,2]",
            "3",
            "null",
            '"text"',
            "{",
            DEEP_JSON,
            '{"layers": 3}',
            '{"layers": [3]}',
            '{"layers": {"a": 1}}',
            "9" * 5000,
        )
    },
    **{
        f"layer views {text[:12]!r}": (metadata("onnxattr.layer_views", text), "layer_views' is damaged")
        for text in ("{}", "[1,2]", "\N{SNOWMAN}", "////", "AAAA" * 5)
    },
    "views 200 deep": (
        metadata("onnxattr.layer_views", base64.b64encode(deep_graphs(200)[4:]).decode()),
        "damaged|not valid",
    ),
    "views of no known operator": (
        views(helper.make_graph([node("Nonsense", ["x"], ["v"])], "v", [], [])),
        "not valid",
    ),
    "explainer of no input": (described(inputs=[]), "input|damaged|'x'"),
    "explainer of another input": (
        described(inputs=["nowhere"]),
        "names .'nowhere'., which the file does not have",
    ),
    "explainer of another output": (described(prediction="nowhere"), "does not have"),
    "explainer of another target": (described(target="nowhere"), "does not have"),
    "explainer of nothing explained": (described(explained={}), "damaged"),
    "explainer of explained text": (described(explained="x"), "damaged"),
    "explainer of an attribution 3": (
        described(explained={"x": {"attribution": 3, "baseline": None}}),
        "damaged",
    ),
    "explainer of no target kind": (described(target_kind="all"), "damaged"),
    "explainer of limits that are no list": (described(limits="text"), "damaged"),
    "explainer without a seed": (described(seed="removed"), "damaged"),
    "explainer of an untyped input": (untyped("input", 0, "tensor_type"), "not valid|elements"),
    "explainer of an untyped target": (untyped("input", 1, "type"), "not valid|elements"),
    "explainer of an untyped prediction": (
        untyped("output", 0, "tensor_type"),
        r"what elements \['prediction'\]",
    ),
    "explainer of a prediction without a type": (
        untyped("output", 0, "type"),
        r"what elements \['prediction'\]",
    ),
    "explainer of an untyped attribution": (untyped("output", 1, "type"), "what elements"),
    "layer of number 'a'": (layer(index="a"), "'onnxattr.layers' is damaged"),
    "layer named 3": (layer(name=3), "'onnxattr.layers' is damaged"),
    "layer of output 3": (layer(output=3), "'onnxattr.layers' is damaged"),
    "layer of outputs 3": (layer(output=[3]), "'onnxattr.layers' is damaged"),
    "layer of relu 3": (layer(relu=3), "'onnxattr.layers' is damaged"),
    "layer of relu nodes 3": (
        layer(relu={"kind": "relu", "input": "x", "output": "y", "nodes": 3, "xplique": 1}),
        "'onnxattr.layers' is damaged",
    ),
    "layer of an output that is not there": (layer(output="nowhere"), ""),
}
