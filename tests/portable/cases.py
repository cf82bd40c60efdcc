"""The explainers that every runtime has to run, their inputs, and the numbers that the driven rendering gives."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from models import efficientnet_lite0, emotion, gunpoint, photos
from onnxattr import attributions
from onnxattr.attributions.definition import trapezoid
from onnxattr.noise import draw_noise

NOISY = ("SmoothGrad", "SquareGrad", "VarGrad")
REPEATED = ("IntegratedGradients", *NOISY)
NOISE = 0.2
#: Rows of a chunk: the loops have several chunks, the last of them shorter.
CHUNK = 4


@dataclass(frozen=True)
class Network:
    """A model and the rows that are explained, in generic position: see ``margins.py`` and ``decisions``.

    Attributes:
        model: The ONNX model.
        rows: (N, ...) float32.
        target: Labels, -1 for the predicted class.
        methods: The methods with their own parameters.
        seed: Of the noise.
        output_layer: Where the model is cut.
        kinks: Whether some of its millions of activations are at a kink whatever the picture, see ``run.py``.
    """

    model: onnx.ModelProto
    rows: np.ndarray
    target: tuple[int, ...]
    methods: dict[str, dict[str, Any]]
    seed: int = 0
    output_layer: Any = None
    kinks: bool = False


@dataclass
class Entry:
    """One explainer: what a runtime needs to run it, and what has to come out."""

    name: str
    network: str
    method: str
    rendering: str
    explainer: attributions.base.Attribution
    expected: dict[str, np.ndarray]


@cache
def networks() -> dict[str, Network]:
    """The models, by name."""
    face = emotion.preprocess(photos.face())[None]
    # The plain grey baseline has equal values under every max-pool; this one has none.
    baseline = np.random.default_rng(EMOTION_SEED).uniform(-0.5, 0.5, face.shape[1:]).astype(np.float32)
    photo = efficientnet_lite0.preprocess(photos.centre_crop("chelsea"))[None]
    lite0 = efficientnet_lite0.build()
    return {
        "emotion": Network(
            onnx.load(emotion.ONNX_FILE), face, (emotion.LABELS.index("happy"),),
            all_methods(steps=10, nb_samples=10, baseline_value=baseline), EMOTION_SEED, -2,
        ),
        "gunpoint": Network(
            onnx.load(gunpoint.ONNX_FILE), gunpoint.data()[2][6:9], (0, -1, 1),
            all_methods(steps=50, nb_samples=50), 0, -2,
        ),
        "efficientnet_lite0": Network(
            lite0, photo, (-1,),
            {"GradientInput": {}, "GuidedBackprop": {}, "IntegratedGradients": {"steps": 8}}, kinks=True,
        ),
        "efficientnet_lite0_head": Network(
            lite0, photo, (-1,), {"IntegratedGradients": {"steps": 8, "wrt": "head"}}
        ),
        "quadratic": Network(
            quadratic(), np.zeros((2, 30, 7), np.float32), (0, 0), {"SmoothGrad": {"nb_samples": 1}}, 2**31 - 2
        ),
    }  # fmt: skip


#: Chosen by the margins in float64, as the first ones that leave every decision clear.
EMOTION_SEED = 1


def all_methods(steps: int, nb_samples: int, **path: Any) -> dict[str, dict[str, Any]]:
    """All eight methods, with the number of points of those that have several."""
    own = {"IntegratedGradients": {"steps": steps, **path}}
    own |= {name: {"nb_samples": nb_samples, "noise": NOISE} for name in NOISY}
    return {name: own.get(name, {}) for name in attributions.__all__}


def quadratic() -> onnx.ModelProto:
    """y = the sum of x squared over 2: its gradient at x = 0 is the noise itself."""
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 30, 7])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 1])
    half = onnx.numpy_helper.from_array(np.float32(0.5), "half")
    shape = onnx.numpy_helper.from_array(np.array([-1, 1]), "shape")
    axes = onnx.numpy_helper.from_array(np.array([1, 2]), "axes")
    nodes = [
        onnx.helper.make_node("Mul", ["x", "x"], ["square"]),
        onnx.helper.make_node("ReduceSum", ["square", "axes"], ["sum"], keepdims=0),
        onnx.helper.make_node("Mul", ["sum", "half"], ["halved"]),
        onnx.helper.make_node("Reshape", ["halved", "shape"], ["y"]),
    ]
    graph = onnx.helper.make_graph(nodes, "quadratic", [x], [y], [half, shape, axes])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def decisions(name: str) -> Iterator[tuple[str, np.ndarray]]:
    """The points (R, ...) at which each kind of method takes gradients of a network."""
    network = networks()[name]
    x, shape = network.rows, network.rows.shape[1:]
    yield "the rows themselves", x
    if "IntegratedGradients" in network.methods:
        options = network.methods["IntegratedGradients"]
        alpha = trapezoid(options["steps"])[0].astype(np.float32).reshape(-1, *[1] * x.ndim)
        baseline = np.float32(options.get("baseline_value", 0.0))
        yield "the paths", ((1 - alpha) * baseline + alpha * x).reshape(-1, *shape)
    if "SmoothGrad" in network.methods:
        draws = draw_noise(network.seed, x.shape, network.methods["SmoothGrad"]["nb_samples"])
        yield "the noisy rows", (x + NOISE * draws).reshape(-1, *shape)


def write_cases(folder: Path) -> list[Entry]:
    """Exports every explainer into the folder, with ``manifest.json`` for the runtimes; returns what to expect."""
    folder.mkdir(parents=True, exist_ok=True)
    entries, manifest = [], []
    for name, network in networks().items():
        (folder / f"{name}.onnx").write_bytes(network.model.SerializeToString())
        feeds = _feeds(folder, name, network)
        for method, options in network.methods.items():
            for entry in _export(folder, name, network, method, options):
                entries.append(entry)
                files = {"file": f"{entry.name}.onnx", "plain": f"{name}.onnx"}
                manifest.append({"name": entry.name, **files, "feeds": feeds})
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return entries


def _feeds(folder: Path, name: str, network: Network) -> list[dict]:
    feeds = {
        network.model.graph.input[0].name: network.rows,
        "target": np.array(network.target),
        "seed": np.array(network.seed),
    }
    described = []
    for key, array in feeds.items():
        file = f"{name}.{key}"
        (folder / file).write_bytes(array.tobytes())
        described.append({"name": key, "type": str(array.dtype), "dims": list(array.shape), "file": file})
    return described


def _export(folder: Path, name: str, network: Network, method: str, options: dict) -> Iterator[Entry]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        explainer = getattr(attributions, method)(
            network.model,
            network.output_layer,
            batch_size=CHUNK,
            seed=network.seed,
            progress=False,
            **options,
        )
    expected = {"attribution": explainer.explain(network.rows, np.array(network.target))}
    expected["prediction"] = explainer.predict(network.rows)
    if method == "IntegratedGradients":
        expected["convergence_delta"] = explainer.convergence_delta(network.rows, np.array(network.target))
    for rendering in ("batch", "loop") if method in REPEATED else ("batch",):
        entry = Entry(f"{name}-{method}-{rendering}", name, method, rendering, explainer, expected)
        explainer.export(folder / f"{entry.name}.onnx", rendering)
        yield entry
