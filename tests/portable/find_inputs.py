"""Looks for inputs in generic position, by the models' decisions alone; prints the seeds for ``networks.py``.

No gradient and none of the compared runtimes is looked at. EfficientNet-Lite0 makes 6 million decisions for each point,
so the crops of a photo, and then the colours that its path may start from, are tried in float32 first, and the few that
pass are measured in float64. It takes about ten minutes on one core.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from models import efficientnet_lite0, photos  # noqa: E402
from portable.margins import LEAST_MARGIN, decision_nodes, layer_roundings, smallest_margin  # noqa: E402
from portable.network import Network  # noqa: E402
from portable.networks import PHOTO, decisions, emotion_network, lite0_network, photo_crop  # noqa: E402
from portable.zoo_networks import digits_network, tabular_network  # noqa: E402

OTHERS = ("chelsea", "coffee", "motorcycle", "grace_hopper", "china")


def main() -> None:
    """Prints the first seed of each kind."""
    print("EMOTION_SEED =", next(seed for seed in itertools.count() if is_generic(emotion_network(seed))))
    print(
        "DIGITS_SEED =",
        next(seed for seed in itertools.count() if is_generic(digits_network(seed))),
        flush=True,
    )
    starts = (slice(start, start + 3) for start in itertools.count())
    print("TABLE_ROWS =", next(rows for rows in starts if is_generic(tabular_network(rows))), flush=True)
    quick = quick_margin(efficientnet_lite0.build())
    crop = next(crop_seeds(quick))
    print("CROP_SEED =", crop, flush=True)
    print("COLOUR_SEED =", next(colour_seeds(quick, crop)))


def is_generic(network: Network) -> bool:
    """Whether no decision of a network is close."""
    return all(smallest_margin(network.model, points) >= LEAST_MARGIN for _, points in decisions(network))


def crop_seeds(quick: Callable[[np.ndarray], float]) -> Iterator[int]:
    """The seeds of generic crops; all methods look at the photo itself, so its margin shall be larger."""
    model = efficientnet_lite0.build()
    for seed in itertools.count():
        photo = photo_crop(PHOTO, seed)
        if quick(photo) >= 2.5 and smallest_margin(model, photo) >= 3:
            yield seed


def colour_seeds(quick: Callable[[np.ndarray], float], crop: int) -> Iterator[int]:
    """The seeds of colours from which the path to a crop is generic."""
    for seed in itertools.count():
        network = lite0_network(crop, seed)
        middle = dict(decisions(network))["the paths"][1:2]
        if quick(middle) >= LEAST_MARGIN and is_generic(network):
            yield seed


def quick_margin(model: onnx.ModelProto) -> Callable[[np.ndarray], float]:
    """``smallest_margin`` of one point in float32, with the roundings that the layers have at other photos."""
    others = np.stack([photos.centre_crop(name) for name in OTHERS])
    roundings = layer_roundings(model, efficientnet_lite0.preprocess(others))
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(3), "three"))
    del shown.graph.output[:]
    for number, node in enumerate(decision_nodes(model)):  # the nearer of 0 and 6 is ||z - 3| - 3| away
        a, b, c, d, least = (f"{name}/{number}" for name in ("a", "b", "c", "d", "least"))
        steps = [
            ("Sub", [node.input[0], "three"], a),
            ("Abs", [a], b),
            ("Sub", [b, "three"], c),
            ("Abs", [c], d),
        ]
        shown.graph.node.extend(helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps)
        shown.graph.node.append(helper.make_node("ReduceMin", [d], [least], keepdims=0))
        shown.graph.output.append(helper.make_tensor_value_info(least, onnx.TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda point: float((np.array(session.run(None, {"image": point})) / roundings).min())


if __name__ == "__main__":
    main()
