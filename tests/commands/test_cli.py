"""The command line: what each command writes and prints, and one line and status 2 for bad input."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from support.command_line import IMAGES, MLP, TWO, run
from support.methods import NEEDED
from support.small_models import build, node

import onnxattr.attributions as attributions
from models import tabular
from onnxattr import load

EXPLAIN = {
    "default": ("mlp", [], "IntegratedGradients", {}, None),
    "label for all": ("mlp", ["--targets", 1], "IntegratedGradients", {}, np.full(3, 1)),
    "predicted class": ("mlp", ["--targets", -1], "IntegratedGradients", {}, None),
    "labels of a file": ("mlp", ["--targets", "labels.npy"], "IntegratedGradients", {}, [2, 0, -1]),
    "weights of a file": ("mlp", ["--targets", "weights.npy"], "IntegratedGradients", {}, np.eye(4)[:3]),
    "path": (
        "images", ["--steps", 7, "--baseline-value", -0.5, "--reducer", "none", "--batch-size", 4],
        "IntegratedGradients", {"steps": 7, "baseline_value": -0.5, "reducer": None, "batch_size": 4}, None,
    ),
    "noise": (
        "images", ["--method", "VarGrad", "--nb-samples", 5, "--noise", 0.5, "--seed", 8, "--reducer", "max"],
        "VarGrad", {"nb_samples": 5, "noise": 0.5, "seed": 8, "reducer": "max"}, None,
    ),
    "class activation map": (
        "images", ["--method", "GradCAM", "--conv-layer", "c1", "--upsampling", "bilinear"],
        "GradCAM", {"conv_layer": "c1", "upsampling": "bilinear"}, None,
    ),
    "map of the layer's size": (
        "images", ["--method", "GradCAMPP", "--variant", "paper", "--upsampling", "none"],
        "GradCAMPP", {"variant": "paper", "upsampling": None}, None,
    ),
    "layer": (
        "probabilities", ["--method", "Saliency", "--output-layer", "logits"],
        "Saliency", {"output_layer": "logits"}, None,
    ),
    "channels": (
        "images", ["--method", "Saliency", "--channel-axis", 3], "Saliency", {"channel_axis": 3}, None,
    ),
    "policy": ("images", ["--method", "DeconvNet", "--relu-policy", "all"], "DeconvNet", {}, None),
    "wrt": ("tokens", ["--method", "Saliency", "--wrt", "embedded"], "Saliency", {"wrt": "embedded"}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", EXPLAIN)
def test_explain(case, cli_folder, capsys):
    name, options, method, parameters, targets = EXPLAIN[case]
    status, out, err = run(capsys, "explain", f"{name}.onnx", f"{name}.npy", "-o", "maps.npy", *options)
    first, *measured = out.splitlines()
    assert (status, first, err) == (0, "wrote maps.npy", "")
    assert [line.split(":")[0] for line in measured] == ["gap"] * (method == "IntegratedGradients")
    expected = getattr(attributions, method)(f"{name}.onnx", **parameters).explain(
        np.load(f"{name}.npy"), targets
    )
    np.testing.assert_array_equal(np.load("maps.npy"), expected)


@pytest.mark.parametrize("wrt", [["image", "features"], ["features", "image"]])
def test_explain_two_inputs(wrt, cli_folder, capsys):
    options = [part for name in wrt for part in ("--wrt", name)]
    assert run(capsys, "explain", "two.onnx", "two.npz", "-o", "maps.npz", "--targets", 2, *options)[0] == 0
    expected = attributions.IntegratedGradients(TWO.model).explain(TWO.inputs, [2, 2, 2])
    found = np.load("maps.npz")
    assert found.files == wrt
    for name in wrt:
        np.testing.assert_array_equal(found[name], expected[name])


def test_explain_one_input_from_npz(cli_folder, capsys):
    np.savez("x.npz", x=MLP.given)
    assert run(capsys, "explain", "mlp.onnx", "x.npz", "-o", "maps.npy")[0] == 0
    np.testing.assert_array_equal(
        np.load("maps.npy"), attributions.IntegratedGradients(MLP.model).explain(MLP.given)
    )


def test_export_options(cli_folder, capsys):
    options = ["--rendering", "loop", "--baseline-input", "--target", "weights", "--weights", "beside"]
    assert run(capsys, "export", "images.onnx", "--batch-size", "4", *options, "-o", "e.onnx")[0] == 0
    names = [value.name for value in onnxruntime.InferenceSession("e.onnx").get_inputs()]
    assert names == ["image", "target", "baseline"]
    assert "rendering: loop" in run(capsys, "inspect", "e.onnx")[1]


BASELINES = {
    "blur": (["--baseline-value", "blur", "--sigma", 2], {"baseline_value": "blur", "sigma": 2}),
    "a file": (["--baseline-value", "rows.npy"], {"baseline_value": IMAGES.given[::-1]}),
    "a file for several inputs": (["--baseline-value", "rows.npz"], {"baseline_value": {"image": IMAGES.given[0]}}),
    "background": (["--background", "rows.npy", "--method", "ExpectedGradients", "--nb-samples", 3],
                   {"background": IMAGES.given[::-1], "nb_samples": 3}),
}  # fmt: skip


@pytest.mark.parametrize("case", BASELINES)
def test_baselines(case, cli_folder, capsys):
    options, given = BASELINES[case]
    np.save("rows.npy", IMAGES.given[::-1])
    np.savez("rows.npz", image=IMAGES.given[0])
    assert run(capsys, "explain", "images.onnx", "images.npy", *options, "-o", "maps.npy")[0] == 0
    method = attributions.ExpectedGradients if "background" in given else attributions.IntegratedGradients
    expected = method(IMAGES.model, **given).explain(IMAGES.given)
    np.testing.assert_allclose(np.load("maps.npy"), expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    code, _, err = run(
        capsys, "explain", "images.onnx", "images.npy", "--baseline-value", "gray", "-o", "maps.npy"
    )
    assert code != 0
    assert "'gray'" in err
    assert "'blur'" in err


@pytest.mark.parametrize("method", attributions.METHODS)
def test_export(method, cli_folder, capsys):
    needed = {"background": IMAGES.given} if method in NEEDED else {}
    np.save("set.npy", IMAGES.given)
    options = ["--background", "set.npy"] if needed else []
    assert run(capsys, "export", "images.onnx", "--method", method, *options, "-o", "e.onnx") == (
        0,
        "wrote e.onnx\n",
        "",
    )
    session = onnxruntime.InferenceSession("e.onnx")
    feeds = {"image": IMAGES.given, "target": np.array([1, -1, 0]), "seed": np.array(0)}
    names = {value.name for value in session.get_inputs()}
    prediction, attribution, *_ = session.run(
        None, {name: array for name, array in feeds.items() if name in names}
    )
    explainer = getattr(attributions, method)(IMAGES.model, **needed)
    np.testing.assert_allclose(prediction, explainer.predict(IMAGES.given), rtol=1e-5, atol=1e-6)
    expected = explainer.explain(IMAGES.given, [1, -1, 0])
    np.testing.assert_allclose(attribution, expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())


INSPECT = {
    "images.onnx": [
        "opset 18",
        "image: float (N, 8, 9, 3)",
        "logits: float (N, 5)",
        "No layer table",
        "MaxPool",
        "Conv",
    ],
    "probabilities.onnx": ["probabilities: float (N, 4)   probabilities; logits: logits", "Softmax"],
    "tokens.onnx": ["tokens: int64 (N, 7)", "wrt=", "  embedded"],
    "two.onnx": ["image: float (N, 3, 6, 6)", "features: float (N, 4)", "Concat"],
}


@pytest.mark.parametrize("name", INSPECT)
def test_inspect(name, cli_folder, capsys):
    status, out, err = run(capsys, "inspect", name, "--verbose")
    assert (status, err) == (0, "")
    assert [part for part in INSPECT[name] if part not in out] == []


def test_inspect_lists_layers_of_a_converted_model(capsys):
    status, out, _ = run(capsys, "inspect", tabular.ONNX_FILE)
    assert status == 0
    layers = [
        line.split()
        for line in out.split("Layers usable as output_layer")[1].split("\n\n")[0].splitlines()[1:]
    ]
    for index, path, _ in (line[:3] for line in layers):
        for layer in (int(index), path):
            attributions.GradientInput(str(tabular.ONNX_FILE), output_layer=layer, operator="classification")


def test_inspect_says_which_operator_has_no_rule(cli_folder, capsys):
    model = onnx.load("mlp.onnx")
    model.graph.node[1].op_type, model.graph.node[1].domain = "Fancy", "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, "fancy.onnx")
    status, out, _ = run(capsys, "inspect", "fancy.onnx", "--verbose")
    assert status == 0
    assert any("com.example::Fancy" in line and "NO RULE" in line for line in out.splitlines())
    status, out, _ = run(capsys, "inspect", "fancy.onnx")
    assert "NO RULE for these operators on the way" in out
    assert "  com.example::Fancy\n" in out + "\n"


@pytest.mark.parametrize(
    ("verify", "status", "said"),
    [
        ([], 0, ""),
        (["--verify", "never"], 0, ""),
        (["--verify", "auto"], 0, ""),
        (["--verify", "always"], 2, "could not be compared"),
    ],
)
def test_verify(cli_folder, capsys, verify, status, said):
    """The rows of the table end at 0, so that the index which is drawn to compare predictions is none."""
    table = np.ones((1, 6), np.float32)
    model = build(
        [node("Gather", ["t", "i"], ["e"]), node("Mul", ["e", "x"], ["y"])],
        {"i": (["N"], onnx.TensorProto.INT64), "x": ["N", 6]},
        {"y": ["N", 6]},
        {"t": table},
    )
    onnx.save(model, "gather.onnx")
    np.savez("both.npz", i=np.zeros(3, np.int64), x=np.ones((3, 6), np.float32))
    commands = (
        ["inspect", "gather.onnx"],
        ["explain", "gather.onnx", "both.npz", "--method", "Saliency", "--wrt", "x", "-o", "maps.npy"],
        ["export", "gather.onnx", "--method", "Saliency", "--wrt", "x", "-o", "e.onnx", "--no-check"],
        [
            "evaluate",
            "gather.onnx",
            "both.npz",
            "--wrt",
            "x",
            "--methods",
            "Saliency",
            "--metrics",
            "Sparseness",
            "--no-controls",
        ],
    )
    for command in commands:
        found, _, err = run(capsys, *command, *verify)
        assert (found, said in err) == (status, True), err


def test_ops(capsys):
    status, out, err = run(capsys, "ops")
    assert (status, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    for name in ("Conv", "MaxPool", "LSTM", "Softmax", "Gemm"):
        assert "bar" in lines[name]
    assert "ArgMax" in out.split("No gradient by nature:")[1]


@pytest.mark.parametrize("quick", [["--no-verify"], ["--verify", "never"]], ids=" ".join)
def test_convert(cli_folder, capfd, quick):
    pytest.importorskip("keras")
    (cli_folder / "tabular.keras").write_bytes(tabular.KERAS_FILE.read_bytes())
    status, out, err = run(capfd, "convert", "tabular.keras")
    assert (status, out) == (0, "wrote tabular.onnx\n")
    assert "session" not in err  # what TensorFlow logs by itself
    status, out, _ = run(capfd, "convert", "tabular.keras", "-o", "other.onnx", *quick, "--opset", 18)
    assert (status, out) == (0, "wrote other.onnx\n")
    x = tabular.data()[2][:5]
    predictions = []
    for name in ("tabular.onnx", "other.onnx", str(tabular.ONNX_FILE)):
        session = onnxruntime.InferenceSession(name)
        predictions.append(session.run(None, {session.get_inputs()[0].name: x})[0])
    np.testing.assert_allclose(predictions[0], predictions[2], rtol=1e-5)
    np.testing.assert_allclose(predictions[1], predictions[2], rtol=1e-5)
    assert onnx.load("other.onnx").opset_import[0].version == 18


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -c 'from onnxattr.cli import main; exit(main([\"ops\"]))' | head -n 1"
    found = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("Abs")


@pytest.mark.parametrize("own", [["--method", "GradCAM"], ["--wrt", "stage"]])
def test_files_of_a_layer_that_has_a_name_of_its_own(own, cli_folder, capsys):
    """The name of a layer, which converters write, is no name of a value of the graph."""
    model = onnx.load("images.onnx")
    convolution = [n for n in model.graph.node if n.op_type == "Conv"][-1]
    layer = {"name": "stage", "path": "stage", "class": "Conv2D", "index": 0, "output": convolution.output[0]}
    model.metadata_props.add(key="onnxattr.layers", value=json.dumps({"layers": [layer]}))
    onnx.save(model, "layers.onnx")
    assert run(capsys, "explain", "layers.onnx", "images.npy", *own, "-o", "maps.npy")[0] == 0
    assert run(capsys, "export", "layers.onnx", *own, "-o", "e.onnx")[0] == 0
    assert run(capsys, "explain", "e.onnx", "images.npy", "-o", "again.npy")[0] == 0
    np.testing.assert_allclose(np.load("again.npy"), np.load("maps.npy"), rtol=1e-4, atol=1e-7)
    assert load("e.onnx").per_sample is None


def test_noise_tunnel(cli_folder, capsys):
    """Draws and noise are those of the tunnel; a file of it needs nothing else."""
    own = [
        "--method",
        "GradCAM",
        "--noise-tunnel",
        "variance",
        "--noise-kind",
        "relative",
        "--nb-samples",
        4,
        "--noise",
        0.1,
    ]
    assert run(capsys, "explain", "images.onnx", "images.npy", *own, "--seed", 3, "-o", "maps.npy")[0] == 0
    tunnel = attributions.NoiseTunnel(
        attributions.GradCAM(IMAGES.model, seed=3), 4, 0.1, "variance", noise_kind="relative"
    )
    np.testing.assert_array_equal(np.load("maps.npy"), tunnel.explain(IMAGES.given))
    assert run(capsys, "export", "images.onnx", *own, "-o", "e.onnx")[0] == 0
    assert run(capsys, "explain", "e.onnx", "images.npy", "--seed", 3, "-o", "again.npy")[0] == 0
    np.testing.assert_allclose(np.load("again.npy"), np.load("maps.npy"), rtol=1e-4, atol=1e-7)
    status, _, error = run(
        capsys, "explain", "e.onnx", "images.npy", "--noise-tunnel", "mean", "-o", "again.npy"
    )
    assert (status, "--noise-tunnel" in error) == (2, True)
    status, _, error = run(
        capsys, "explain", "images.onnx", "images.npy", "--noise-kind", "relative", "-o", "again.npy"
    )
    assert (status, "--noise-kind needs --noise-tunnel" in error) == (2, True)
