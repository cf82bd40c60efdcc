"""Every model of the zoo converts, is valid, equals Keras at two batch sizes, and says where its layers are."""

import numpy as np
import onnx
import pytest

keras = pytest.importorskip("keras")
import zoo  # noqa: E402
from onnxattr.converters.common.verify import difference  # noqa: E402
from support.converted import outputs_of, read_rows, run, values, with_outputs  # noqa: E402
from zoo import conversions  # noqa: E402

CASES = [pytest.param(name, marks=pytest.mark.slow if case.slow else ()) for name, case in zoo.CASES.items()]

# Resize interpolates 0..255 pixels with weights rounded differently in the two runtimes: 1e-6 of 255 per pixel.
LAYER_TOLERANCE = {"resizing and cropping": 1e-4, "float16": 2e-3, "mixed precision": 2e-3}


def named_run(model: onnx.ModelProto, arrays) -> dict[str, np.ndarray]:
    return dict(zip([value.name for value in model.graph.output], run(model, *arrays), strict=True))


def keras_outputs(model, arrays) -> list[np.ndarray]:
    """Flat outputs of the Keras model."""
    structure = getattr(model, "_inputs_struct", None)
    given = arrays[0] if structure is None else keras.tree.pack_sequence_as(structure, arrays)
    return [np.asarray(y) for y in keras.tree.flatten(model(given, training=False))]


def check_outputs(name, model, converted):
    case = zoo.CASES[name]
    for batch in (2, 5):
        arrays = case.inputs(model, batch)
        expected = keras_outputs(model, arrays)
        actual = list(named_run(converted, arrays).values())
        assert len(actual) == len(expected)
        for got, want in zip(actual, expected, strict=True):
            assert got.dtype == want.dtype
            assert difference(got, want) <= case.tolerance


def check_interface(converted):
    """Versions, dynamic batch under one symbol, known shapes, nothing unused."""
    graph = converted.graph
    assert converted.ir_version == 8
    assert {(entry.domain, entry.version) for entry in converted.opset_import} >= {("", 17)}
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N", value.name
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        assert used & set(node.output), f"{node.name} ({node.op_type}) is dead"
    assert used >= {tensor.name for tensor in graph.initializer}


def check_layers(name, model, converted):
    """Each value that the table names equals the output of a Keras sub-model that ends in that layer."""
    rows = {row["index"]: row for row in read_rows(converted) if row["index"] is not None}
    assert sorted(rows) == list(range(len(model.layers)))
    for index, layer in enumerate(model.layers):
        assert rows[index]["name"] == rows[index]["path"] == layer.name
        assert rows[index]["class"] == type(layer).__name__
        assert bool(outputs_of(rows[index])) != bool(rows[index]["folded"])
    if not hasattr(model, "_inputs_struct") and not isinstance(model, keras.Sequential):
        return  # subclassed: Keras itself has no sub-models of it
    arrays = zoo.CASES[name].inputs(model, 2)
    usable = [index for index in rows if outputs_of(rows[index])]
    outputs = [keras.tree.flatten(model.layers[index].output) for index in usable]
    sub_model = keras.Model(getattr(model, "_inputs_struct", model.inputs), outputs)
    expected = keras_outputs(sub_model, arrays)
    names = [name for index in usable for name in outputs_of(rows[index])]
    assert len(names) == len(expected)
    for value, got, want in zip(names, values(converted, names, arrays), expected, strict=True):
        assert difference(got, want) <= LAYER_TOLERANCE.get(name, 1e-5), value


def check_upgrade(name, converted, arrays):
    """onnx's version converter takes the file to opset 18 with the same values under the same names."""
    # Fusions differ between the opsets: float32 rounding, or that of the model's own lower precision.
    tolerance = max(
        1e-6, zoo.CASES[name].tolerance / 10 if name not in LAYER_TOLERANCE else LAYER_TOLERANCE[name]
    )
    upgraded = onnx.version_converter.convert_version(converted, 18)
    onnx.helper.set_model_props(upgraded, {entry.key: entry.value for entry in converted.metadata_props})
    names = [n for row in read_rows(converted) for n in outputs_of(row)]
    before, after = (named_run(with_outputs(m, names), arrays) for m in (converted, upgraded))
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert difference(after[key], value) <= tolerance, key


@pytest.mark.filterwarnings("ignore:Layer 'conv_lstm2d'")  # unrolled: ONNX has no such operator
@pytest.mark.parametrize("name", CASES)
def test_model_of_the_zoo(name):
    case = zoo.CASES[name]
    model = case.model()
    converted = conversions.converted(name, model)
    onnx.checker.check_model(converted, full_check=True)
    check_interface(converted)
    check_outputs(name, model, converted)
    check_layers(name, model, converted)
    check_upgrade(name, converted, case.inputs(model, 2))
