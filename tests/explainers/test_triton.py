"""`onnxattr export --triton`: the configuration is read with Triton's own schema, the file is run in ONNX Runtime."""

import http.server
import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from PIL import Image
from support.small_models import build, mlp, node, random

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


@pytest.mark.parametrize(
    "name",
    [
        'x" data_type: TYPE_BOOL } ] parameters { key: "a',
        "x\\",
        "x\n#",
        "x\x07\x7f",
        "\N{GREEK SMALL LETTER ALPHA}'",
    ],
)
def test_a_name_adds_no_settings(name, tmp_path):
    model = build([node("Sin", [name], ["y"])], {name: ["N", 2]}, {"y": ["N", 2]})
    export_triton(attributions.Saliency(model), tmp_path)
    config = text_format.Parse((tmp_path / "config.pbtxt").read_text(encoding="utf-8"), SCHEMA.ModelConfig())
    assert described(config.input) == {name: (FLOAT, [2], False), "target": (INT64, [1], True)}
    assert not config.parameters


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


class Backend:
    """A folder as Triton's ONNX Runtime backend takes it: its checks at load, batches joined of requests of one shape.

    The rules are those of the server's documentation of model configurations and of the backend's checks: with
    ``max_batch_size`` the first axis of every tensor is the batch, which the file has to leave free, and ``dims`` are
    the others; a request has the ``dims`` behind its own batch, and the file the ``reshape`` of them.
    """

    def __init__(self, folder):
        self.config = text_format.Parse((folder / "config.pbtxt").read_text(), SCHEMA.ModelConfig())
        self.session = onnxruntime.InferenceSession(folder / "1" / "model.onnx")
        self.batched = self.config.max_batch_size > 0
        self.labels = {
            one.name: (folder / one.label_filename).read_text().splitlines()
            for one in self.config.output
            if one.label_filename
        }
        for given, there in (
            (self.config.input, self.session.get_inputs()),
            (self.config.output, self.session.get_outputs()),
        ):
            assert [one.name for one in given] == [value.name for value in there]
            for one, value in zip(given, there, strict=True):
                kind = (
                    SCHEMA.DataType.Name(one.data_type).removeprefix("TYPE_").lower().replace("fp32", "float")
                )
                assert value.type == f"tensor({kind})"
                dims = list(one.reshape.shape if one.HasField("reshape") else one.dims)
                shape = list(value.shape)
                if self.batched:
                    assert not isinstance(shape.pop(0), int), value.name
                assert len(dims) == len(shape), value.name
                assert all(
                    d == s if isinstance(s, int) else d == -1 for d, s in zip(dims, shape, strict=True)
                )

    def _fed(self, one, array):
        dims = list(one.dims)
        own = array.shape[1:] if self.batched else array.shape
        assert len(own) == len(dims), (one.name, array.shape)
        assert all(d in (-1, s) for d, s in zip(dims, own, strict=True)), (one.name, array.shape)
        assert not self.batched or len(array) <= self.config.max_batch_size
        shape = list(one.reshape.shape) if one.HasField("reshape") else None
        return array if shape is None else array.reshape(array.shape[:1] + tuple(shape))

    def infer(self, *requests):
        """The outputs of each request; those of one shape are one run."""
        shapes = {tuple(array.shape[1:] for array in request.values()) for request in requests}
        assert len(shapes) == 1, "the server's batcher joins requests of one shape alone"
        assert self.batched or len(requests) == 1
        feeds = {
            one.name: np.concatenate([self._fed(one, request[one.name]) for request in requests])
            if self.batched
            else self._fed(one, requests[0][one.name])
            for one in self.config.input
        }
        found = self.session.run(None, feeds)
        answers, start = [], 0
        for request in requests:
            rows = len(next(iter(request.values()))) if self.batched else None
            own = {}
            for one, array in zip(self.config.output, found, strict=True):
                part = array[start : start + rows] if self.batched else array
                own[one.name] = part.reshape((*part.shape, 1)) if one.HasField("reshape") else part
            answers.append(own)
            start += rows or 0
        return answers


def photo_network():
    nodes = [node("Conv", ["image", "k"], ["c"]), node("Sigmoid", ["c"], ["s"])]
    nodes += [node("GlobalAveragePool", ["s"], ["mean"]), node("Flatten", ["mean"], ["logits"])]
    return build(nodes, {"image": ["N", 3, 8, 8]}, {"logits": ["N", 3]}, {"k": 3 * random(1, 3, 3, 3, 3)})


NAMES = ["tabby cat", "Egyptian\ncat", "owl"]


def photo(seed, *size):
    return np.random.default_rng(seed).integers(0, 256, (1, *size, 3), np.uint8)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    ("name", "options"), [("Saliency", {}), ("IntegratedGradients", {"steps": 5}), ("GradCAM", {})]
)
def test_photos_of_any_size(name, options, layout, tmp_path):
    """Two requests of one size are one run, another size another; each gets its own numbers."""
    options = {"preprocess": {"preset": "imagenet", "layout": layout}, "labels": NAMES, **options}
    method = getattr(attributions, name)(photo_network(), **options)
    export_triton(method, tmp_path / "photos")
    served = Backend(tmp_path / "photos")
    pixels = served.config.input[0]
    dims = [-1, -1, 3] if layout == "NHWC" else [3, -1, -1]
    assert described([pixels]) == {"pixels": ("TYPE_UINT8", dims, False)}
    assert served.config.max_batch_size == MAX_BATCH_SIZE
    assert served.labels == {"prediction": ["tabby cat", "Egyptian cat", "owl"]}
    for size, seeds in (((20, 30), (1, 2)), ((13, 9), (3,))):
        given = [photo(seed, *size) for seed in seeds]
        given = given if layout == "NHWC" else [np.moveaxis(one, 3, 1) for one in given]
        targets = [np.array([[seed % 3 - 1]]) for seed in seeds]
        answers = served.infer(*({"pixels": x, "target": t} for x, t in zip(given, targets, strict=True)))
        for x, target, answer in zip(given, targets, answers, strict=True):
            expected = method.explain(x, target[0])
            assert answer["attribution"].shape == expected.shape
            np.testing.assert_allclose(
                answer["attribution"], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
            )
            np.testing.assert_allclose(answer["prediction"], method.predict(x), rtol=1e-5)


def test_noise_on_photos_keeps_requests_apart(tmp_path):
    method = attributions.SmoothGrad(photo_network(), preprocess="imagenet", noise=20, nb_samples=3)
    export_triton(method, tmp_path / "photos")
    served = Backend(tmp_path / "photos")
    assert (served.config.max_batch_size, served.labels) == (0, {})
    x = photo(1, 20, 30)
    (answer,) = served.infer({"pixels": x, "target": np.array([-1]), "seed": np.array([0])})
    expected = method.explain(x)
    np.testing.assert_allclose(answer["attribution"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_maps_of_the_network_s_input(tmp_path):
    options = {"preprocess": "imagenet", "attributions_at": "input"}
    method = attributions.GradientInput(photo_network(), **options)
    export_triton(method, tmp_path / "photos")
    served = Backend(tmp_path / "photos")
    assert described(served.config.output)["attribution"] == (FLOAT, [3, 8, 8], False)
    (answer,) = served.infer({"pixels": photo(1, 20, 30), "target": np.array([[2]])})
    np.testing.assert_allclose(
        answer["attribution"], method.explain(photo(1, 20, 30), [2]), rtol=1e-4, atol=1e-6
    )


def test_labels_of_other_classes_are_left_out(tmp_path):
    """Where the model is cut at a layer of other units, names of classes are none of its."""
    method = attributions.Saliency(photo_network(), preprocess="imagenet", labels=NAMES, output_layer="s")
    export_triton(method, tmp_path / "photos", target="weights")
    assert not (tmp_path / "photos" / "labels.txt").exists()


def test_the_example_asks_a_server(tmp_path):
    """The client's request in Triton's protocol, answered by the folder in ONNX Runtime."""
    method = attributions.Saliency(photo_network(), preprocess="imagenet", labels=NAMES)
    export_triton(method, tmp_path / "explained")
    served = Backend(tmp_path / "explained")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v2/models/explained/infer"
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kinds = {"UINT8": np.uint8, "INT64": np.int64}
            (found,) = served.infer(
                {
                    i["name"]: np.reshape(i["data"], i["shape"]).astype(kinds[i["datatype"]])
                    for i in asked["inputs"]
                }
            )
            outputs = []
            for output in asked["outputs"]:
                array, name = found[output["name"]], output["name"]
                if count := output.get("parameters", {}).get("classification"):
                    order = np.argsort(-array[0])[:count]
                    data = [f"{array[0, k]:f}:{k}:{served.labels[name][k]}" for k in order]
                    outputs.append({"name": name, "datatype": "BYTES", "shape": [1, len(data)], "data": data})
                else:
                    outputs.append(
                        {
                            "name": name,
                            "datatype": "FP32",
                            "shape": array.shape,
                            "data": array.ravel().tolist(),
                        }
                    )
            body = json.dumps({"outputs": outputs}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        Image.fromarray(photo(1, 20, 30)[0]).save(tmp_path / "photo.png")
        ran = subprocess.run(
            [sys.executable, Path(__file__).parents[2] / "examples/triton/client.py", "photo.png", address],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        server.shutdown()
    assert ran.returncode == 0, ran.stderr
    scores = method.predict(photo(1, 20, 30))[0]
    lines = ran.stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines[:3]] == [
        ["tabby cat", "Egyptian cat", "owl"][k] for k in np.argsort(-scores)
    ]
    assert float(lines[0].split()[0]) == pytest.approx(scores.max(), rel=1e-3)
    assert Image.open(tmp_path / "why.png").size == (30, 20)
