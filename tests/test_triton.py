"""`onnxattr export --triton`: the configuration is read with Triton's own schema, the file is run in ONNX Runtime."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from support.small_models import build, mlp, node

from onnxattr import attributions
from onnxattr.attributions.triton import MAX_BATCH_SIZE, export_triton
from onnxattr.cli import main
from onnxattr.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def schema():
    """ModelConfig of the package tritonclient, without the rest of its gRPC client."""
    (package,) = importlib.util.find_spec("tritonclient").submodule_search_locations
    path = Path(package) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("triton_model_config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCHEMA = schema()


def described(values):
    """Name: (type, shape that a request has without Triton's own batch axis, reshaped or not)."""
    names = SCHEMA.DataType
    return {v.name: (names.Name(v.data_type), list(v.dims), v.HasField("reshape")) for v in values}


FLOAT, INT64 = "TYPE_FP32", "TYPE_INT64"
CASES = {
    "Saliency": (
        MAX_BATCH_SIZE,
        {"x": (FLOAT, [6], False), "target": (INT64, [1], True)},
        {"prediction": (FLOAT, [4], False), "attribution": (FLOAT, [6], False)},
    ),
    "IntegratedGradients": (
        MAX_BATCH_SIZE,
        {"x": (FLOAT, [6], False), "target": (INT64, [1], True)},
        {
            "prediction": (FLOAT, [4], False),
            "attribution": (FLOAT, [6], False),
            "convergence_delta": (FLOAT, [1], True),
            "relative_gap": (FLOAT, [1], True),
        },
    ),
    "VarGrad": (
        0,
        {"x": (FLOAT, [-1, 6], False), "target": (INT64, [-1], False), "seed": (INT64, [1], False)},
        {"prediction": (FLOAT, [-1, 4], False), "attribution": (FLOAT, [-1, 6], False)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("rendering", ["auto", "batch"])
@pytest.mark.parametrize("method", CASES)
def test_folder_is_a_model_of_triton(method, rendering, tmp_path):
    case = mlp()
    explainer = getattr(attributions, method)(case.model, batch_size=4)
    export_triton(explainer, tmp_path / "explained", rendering=rendering)
    config = text_format.Parse((tmp_path / "explained" / "config.pbtxt").read_text(), SCHEMA.ModelConfig())
    rows, inputs, outputs = CASES[method]
    assert (config.backend, config.max_batch_size) == ("onnxruntime", rows)
    assert config.HasField("dynamic_batching") == (rows > 0)
    assert described(config.input) == inputs
    assert described(config.output) == outputs
    file = tmp_path / "explained" / "1" / "model.onnx"
    onnx.checker.check_model(onnx.load(file), full_check=True)
    feeds = {**case.inputs, "target": np.array([0, 1, 2]), "seed": np.array([5])}
    session = onnxruntime.InferenceSession(file)
    found = session.run(["attribution"], {value.name: feeds[value.name] for value in session.get_inputs()})[0]
    expected = getattr(attributions, method)(case.model, seed=5).explain(case.given, [0, 1, 2])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_a_baseline_for_all_rows_keeps_requests_apart(tmp_path):
    method = attributions.IntegratedGradients(mlp().model)
    export_triton(method, tmp_path, baseline_input=True)
    config = text_format.Parse((tmp_path / "config.pbtxt").read_text(), SCHEMA.ModelConfig())
    assert config.max_batch_size == 0
    assert described(config.input)["baseline"] == (FLOAT, [-1, 6], False)


def test_a_scalar_input_is_named(tmp_path):
    model = build([node("Mul", ["x", "factor"], ["y"])], {"x": ["N", 2], "factor": []}, {"y": ["N", 2]})
    with pytest.raises(ModelError, match="'factor' is a scalar"):
        export_triton(attributions.Saliency(model, wrt="x"), tmp_path)
    assert not (tmp_path / "config.pbtxt").exists()


def test_command_line(tmp_path, capsys):
    onnx.save(mlp().model, tmp_path / "model.onnx")
    folder = tmp_path / "explained"
    arguments = [str(tmp_path / "model.onnx"), "--method", "Saliency", "--triton", str(folder)]
    assert main(["export", *arguments]) == 0
    assert str(folder) in capsys.readouterr().out
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"model.onnx", "config.pbtxt"}
