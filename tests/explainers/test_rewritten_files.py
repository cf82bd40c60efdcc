"""What other tools make of an exported file: what changes no number is silent, what changes one is said by name."""

import json
import re
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime import quantization
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers import float16
from support.small_models import build, cnn_nchw, node, random

import onnxattr
from onnxattr import IntegratedGradients, Saliency, SmoothGrad, cli
from onnxattr.errors import ModelError
from onnxattr.inspection import inspect

METHODS = {
    "batch": (IntegratedGradients, {"steps": 3}, "batch"),
    "loop": (IntegratedGradients, {"steps": 3, "batch_size": 2}, "loop"),
    "noise": (SmoothGrad, {"nb_samples": 3, "batch_size": 2}, "loop"),
}
IMAGES = cnn_nchw().given


def wide() -> onnx.ModelProto:
    """A dense network whose matrix product tools quantise."""
    nodes = [
        node("MatMul", ["image", "w1"], ["h"]),
        node("Tanh", ["h"], ["a"]),
        node("MatMul", ["a", "w2"], ["logits"]),
    ]
    return build(
        nodes, {"image": ["N", 32]}, {"logits": ["N", 4]}, {"w1": random(1, 32, 32), "w2": random(2, 32, 4)}
    )


def rows_of(model):
    return IMAGES if model == "images" else np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)


def exported(model, kind, path, **options):
    method, parameters, rendering = METHODS[kind]
    source = cnn_nchw().model if model == "images" else wide() if model == "dense" else model
    made = method(source, progress=False, **parameters)
    made.export(path, rendering, **options)
    return made


def changed(edit):
    """A rewrite that edits the model."""

    def rewrite(source, to):
        model = onnx.load(source)
        edit(model)
        onnx.save(model, to)

    return rewrite


def optimised(source, to):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(to), 4
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def upgraded(source, to):
    onnx.save(onnx.version_converter.convert_version(onnx.load(source), 21), to)


def outside(source, to):
    onnx.save(onnx.load(source), to, save_as_external_data=True, location="weights.bin")


def inferred(source, to):
    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(source)), to)


def fixed(count):
    def edit(model):
        for value in [*model.graph.input, *model.graph.output]:
            dims = value.type.tensor_type.shape.dim
            if len(dims) and dims[0].HasField("dim_param"):
                dims[0].dim_value = count

    return changed(edit)


def more_outputs(model):
    model.graph.node.append(node("ReduceSum", ["attribution"], ["total"], keepdims=0))
    model.graph.output.insert(0, onnx.helper.make_tensor_value_info("total", 1, []))


def reordered(model):
    outputs = list(model.graph.output)[::-1]
    del model.graph.output[:]
    model.graph.output.extend(outputs)


SAME = {
    "nothing": changed(lambda model: None),
    "optimised by ONNX Runtime": optimised,
    "brought to opset 21": upgraded,
    "weights moved outside": outside,
    "shapes inferred": inferred,
    "a fixed batch, of as many": fixed(len(IMAGES)),
    "one more output": changed(more_outputs),
    "outputs in another order": changed(reordered),
}


#: ONNX Runtime cannot read the loops that it writes.
CASES = [
    (kind, rewrite)
    for kind in METHODS
    for rewrite in SAME
    if kind == "batch" or SAME[rewrite] is not optimised
]


@pytest.mark.parametrize(("kind", "rewrite"), CASES)
@pytest.mark.filterwarnings("error")
def test_what_changes_no_number_is_silent(kind, rewrite, tmp_path):
    method = exported("images", kind, tmp_path / "e.onnx")
    SAME[rewrite](tmp_path / "e.onnx", tmp_path / "r.onnx")
    loaded = onnxattr.load(tmp_path / "r.onnx")
    expected = method.explain(IMAGES)
    np.testing.assert_allclose(loaded.explain(IMAGES), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert CHANGED not in inspect(tmp_path / "r.onnx")


@pytest.mark.filterwarnings("error")
def test_rows_of_a_file_with_a_fixed_batch_of_one_are_run_one_by_one(tmp_path):
    method = exported("images", "batch", tmp_path / "e.onnx")
    fixed(1)(tmp_path / "e.onnx", tmp_path / "r.onnx")
    expected = method.explain(IMAGES)
    found = onnxattr.load(tmp_path / "r.onnx").explain(IMAGES)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


class Rows(quantization.CalibrationDataReader):
    def __init__(self, source):
        feeds = {"image": rows_of("dense"), "target": np.full(3, -1)}
        self.left = [{value.name: feeds[value.name] for value in onnx.load(source).graph.input}]

    def get_next(self):
        return self.left.pop() if self.left else None


def dynamic(source, to):
    quantization.quantize_dynamic(source, to)


def qdq(source, to):
    quantization.quantize_static(source, to, Rows(source), quant_format=quantization.QuantFormat.QDQ)


def four_bits(source, to):
    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=16, is_symmetric=True)
    quantizer.process()
    quantizer.model.save_model_to_file(str(to))


def half(keep):
    def rewrite(source, to):
        onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=keep), to)

    return rewrite


def weights(change):
    def edit(model):
        for tensor in model.graph.initializer:
            array = onnx.numpy_helper.to_array(tensor)
            if tensor.data_type == onnx.TensorProto.FLOAT and array.size > 64:
                tensor.CopyFrom(onnx.numpy_helper.from_array(change(array).astype(np.float32), tensor.name))

    return changed(edit)


def in_front(model):
    """Another scale of the input, under the old name."""
    for one in model.graph.node:
        one.input[:] = ["scaled" if name == "image" else name for name in one.input]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.5), "scale_in_front"))
    model.graph.node.insert(0, node("Mul", ["image", "scale_in_front"], ["scaled"]))


#: Tools, what is said when a file is opened, and what when it runs first.
OTHER = {
    "quantize_dynamic": (dynamic, r"MatMulInteger \(node '", "'attribution' by"),
    "quantize_static": (qdq, r"QuantizeLinear \(node '", "'attribution' by"),
    "weights of 4 bits": (four_bits, r"MatMulNBits \(node '", "'attribution' by"),
    "half precision": (half(True), r"FLOAT16 \(node '", None),
    "half precision, inputs too": (half(False), r"FLOAT16 \(weight '", None),
    "other weights": (weights(lambda w: w[::-1]), "weights were replaced: 'w", "'attribution' by"),
    "pruned": (
        weights(lambda w: np.where(abs(w) < 0.2, 0, w)),
        "weights were replaced: 'w",
        "'attribution' by",
    ),
    "weights changed in the last digits": (
        weights(lambda w: w * np.float32(1 + 1e-6)),
        "weights were replaced: 'w",
        None,
    ),
    "a node in front": (changed(in_front), None, "'attribution' by"),
}
CHANGED = "The file was changed after the export"


def warnings_of(function, *arguments):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = function(*arguments)
    return [text for one in found if (text := str(one.message)).startswith(CHANGED)], result


@pytest.mark.parametrize("rewrite", OTHER)
def test_what_changes_numbers_is_said(rewrite, tmp_path, capsys):
    tool, cause, off = OTHER[rewrite]
    exported("dense", "batch", tmp_path / "e.onnx")
    tool(tmp_path / "e.onnx", tmp_path / "r.onnx")
    opened, loaded = warnings_of(onnxattr.load, tmp_path / "r.onnx")
    first, _ = warnings_of(loaded.explain, rows_of("dense"))
    again, _ = warnings_of(loaded.explain, rows_of("dense"))
    for expected, found in ((cause, opened), (off, first), (None, again)):
        assert len(found) == (expected is not None)
        for text in found:
            assert re.search(rf"{expected}.*export the explainer from the result", text)
    assert cli.main(["inspect", str(tmp_path / "r.onnx")]) == 0
    told = CHANGED if cause else "Its nodes are others. The first explanation compares"
    assert f"Changed since the export\n  {told}" in capsys.readouterr().out
    np.save(tmp_path / "rows.npy", rows_of("dense"))
    paths = [str(tmp_path / name) for name in ("r.onnx", "rows.npy", "maps.npy")]
    assert cli.main(["explain", *paths[:2], "-o", paths[2]]) == 0
    assert "changed after the export" in capsys.readouterr().err


@pytest.mark.parametrize("rewrite", ["a node in front", "quantize_dynamic"])
def test_opening_a_changed_file_runs_nothing(rewrite, tmp_path, request):
    exported("dense", "batch", tmp_path / "e.onnx")
    OTHER[rewrite][0](tmp_path / "e.onnx", tmp_path / "r.onnx")
    request.getfixturevalue("nothing_runs")
    warnings_of(onnxattr.load, tmp_path / "r.onnx")
    warnings_of(inspect, tmp_path / "r.onnx")


def test_a_file_that_was_not_run_tells_operators_and_weights(tmp_path):
    exported("dense", "batch", tmp_path / "e.onnx", check=False)
    dynamic(tmp_path / "e.onnx", tmp_path / "r.onnx")
    with pytest.warns(UserWarning, match="its maps may be wrong. Since then it has DynamicQuantizeLinear"):
        onnxattr.load(tmp_path / "r.onnx")
    OTHER["other weights"][0](tmp_path / "e.onnx", tmp_path / "r.onnx")
    with pytest.warns(UserWarning, match="its maps may be wrong. These weights were replaced: 'w"):
        onnxattr.load(tmp_path / "r.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        upgraded(tmp_path / "e.onnx", tmp_path / "r.onnx")
        onnxattr.load(tmp_path / "r.onnx")


def test_other_weights_in_the_data_of_the_model(tmp_path):
    """ONNX Runtime reads them by their place in the file, which belongs to the model and has no checksum."""
    product = node("MatMul", ["image", "w1"], ["y"])
    model = build([product], {"image": ["N", 512]}, {"y": ["N", 64]}, {"w1": random(1, 512, 64)})
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=64)
    exported(tmp_path / "m.onnx", "batch", tmp_path / "e.onnx", weights="shared")
    data = bytearray((tmp_path / "m.bin").read_bytes())
    data[:512] = np.ones(128, np.float32).tobytes()
    (tmp_path / "m.bin").write_bytes(data)
    with pytest.warns(UserWarning, match="weights were replaced: 'w1'"):
        onnxattr.load(tmp_path / "e.onnx")


@pytest.mark.parametrize("tool", [dynamic, qdq, four_bits, half(True)])
@pytest.mark.filterwarnings("error:The file was changed")
def test_what_rounds_coarsely_before_the_export_is_silent(tool, tmp_path):
    onnx.save(wide(), tmp_path / "m.onnx")
    tool(tmp_path / "m.onnx", tmp_path / "q.onnx")
    Saliency(tmp_path / "q.onnx").export(tmp_path / "e.onnx")
    optimised(tmp_path / "e.onnx", tmp_path / "r.onnx")
    for name in ("e", "r"):
        onnxattr.load(tmp_path / f"{name}.onnx")


def without_metadata(model):
    del model.metadata_props[:]


def prefixed(source, to):
    onnx.save(onnx.compose.add_prefix(onnx.load(source), "p_"), to)


REFUSED = {
    "no metadata": (changed(without_metadata), "is not an explainer, though it has outputs of one"),
    "other names": (
        prefixed,
        "names .*'image'.*, which the file does not have: it was changed after the export",
    ),
    "a broken node": (
        changed(lambda model: model.graph.node[0].input.append("nowhere")),
        "It was changed after the",
    ),
}


@pytest.mark.parametrize("rewrite", REFUSED)
def test_what_no_longer_fits_is_refused(rewrite, tmp_path):
    tool, said = REFUSED[rewrite]
    exported("images", "batch", tmp_path / "e.onnx")
    tool(tmp_path / "e.onnx", tmp_path / "r.onnx")
    with pytest.raises(ModelError, match=said):
        onnxattr.load(tmp_path / "r.onnx")


DAMAGED = {
    "a row of a terabyte": {"row": [["image", 1, [1 << 20, 1 << 20], "uniform"]]},
    "a row of a terabyte beside fewer than none": {
        "row": [["image", 1, [1 << 20, 1 << 20], 0], ["target", 1, [-1, 1 << 41], 0]]
    },
    "no row": {"row": 7},
    "an unknown type": {"row": [["image", 999, [1, 32], 0]]},
    "places beyond the output": {
        "gave": {"attribution": {"shape": [1, 32], "at": [99], "values": [1], "sum": 1}}
    },
    "outputs without numbers": {"gave": {"attribution": {}}},
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_record_is_said(damage, tmp_path):
    exported("dense", "batch", tmp_path / "e.onnx")
    model = onnx.load(tmp_path / "e.onnx")
    (entry,) = (entry for entry in model.metadata_props if entry.key == "onnxattr.record")
    entry.value = json.dumps(json.loads(entry.value) | DAMAGED[damage] | {"content": "other"})
    onnx.save(model, tmp_path / "r.onnx")
    with pytest.warns(UserWarning, match="whether its maps are right is not known"):
        onnxattr.load(tmp_path / "r.onnx").explain(rows_of("dense"))
