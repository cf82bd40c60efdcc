"""More models for every runtime: digits, a table, a transformer and an LSTM, in generic position.

The last two have no decisions, and Keras' own layers: they are converted when they are asked for.
"""

import numpy as np
import onnx
from onnxattr.converters.keras import to_onnx

from models import digits, tabular
from portable.network import Network, all_methods

DIGITS_SEED = 0
TABLE_ROWS = slice(0, 3)
#: Points of a path, and noisy copies.
POINTS = 6


def zoo_networks() -> dict[str, Network]:
    """The models, by name."""
    return {
        "digits": digits_network(DIGITS_SEED),
        "tabular": tabular_network(TABLE_ROWS),
        "transformer": keras_network("transformer block"),
        "lstm": keras_network("lstm"),
    }


def digits_network(seed: int) -> Network:
    """Two textured images: the flat background of a digit has equal values under the max-pools."""
    rng = np.random.default_rng(seed)
    rows, baseline = rng.random((2, 28, 28, 1), np.float32), rng.random((28, 28, 1), np.float32)
    methods = all_methods(steps=POINTS, nb_samples=POINTS, baseline_value=baseline)
    return Network(onnx.load(digits.ONNX_FILE), rows, (3, -1), methods, seed, "logits")


def tabular_network(rows: slice) -> Network:
    """Three rows of measurements, which the model standardises itself."""
    held_out = tabular.data()[2]
    methods = all_methods(steps=POINTS, nb_samples=POINTS, baseline_value=held_out.mean(axis=0))
    return Network(onnx.load(tabular.ONNX_FILE), held_out[rows], (0, 1, -1), methods, 0, -2)


def keras_network(name: str) -> Network:
    """A model of the converter's tests, with rows of its own."""
    from zoo import CASES  # imports Keras

    case = CASES[name]
    model = case.model()
    (rows,) = case.inputs(model, 2)
    return Network(to_onnx(model), rows.astype(np.float32), (0, -1), all_methods(POINTS, POINTS), 0)
