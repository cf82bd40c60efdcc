"""A case on which Captum's methods from baselines are known: its arrays, and the script that asks Captum.

`python tests/golden/captum_baselines.py`, where PyTorch and Captum are installed, writes captum_baselines.json
beside it. All random numbers come from here: Captum is given them in the place of those it would draw.
"""

import json
from pathlib import Path
from unittest import mock

import numpy as np

FILE = Path(__file__).with_suffix(".json")
ROWS, FEATURES, MEMBERS, DRAWS, NOISE = 4, 6, 5, 7, 0.3

_RNG = np.random.default_rng(1703)
#: y = tanh(x w1 + b1) w2 + b2.
WEIGHTS = {
    "w1": _RNG.normal(0, 0.7, (FEATURES, 9)).astype(np.float32),
    "b1": _RNG.normal(0, 0.3, 9).astype(np.float32),
    "w2": _RNG.normal(0, 0.7, (9, 3)).astype(np.float32),
    "b2": _RNG.normal(0, 0.3, 3).astype(np.float32),
}
X = _RNG.normal(size=(ROWS, FEATURES)).astype(np.float32)
LABELS = np.array([2, 0, 1, 1])
BASELINES = _RNG.normal(size=(ROWS, FEATURES)).astype(np.float32)
BACKGROUND = _RNG.normal(size=(MEMBERS, FEATURES)).astype(np.float32)
#: (draws, rows): positions, members; (draws, rows, features): noise.
ALPHAS = _RNG.random((DRAWS, ROWS))
CHOSEN = _RNG.integers(0, MEMBERS, (DRAWS, ROWS))
NORMAL = _RNG.normal(size=(DRAWS, ROWS, FEATURES)).astype(np.float32)


def _by_row(array):
    """Captum has the draws of a row one after the other."""
    return np.ascontiguousarray(np.swapaxes(array, 0, 1)).reshape(-1, *array.shape[2:])


def _write() -> None:
    import captum
    import torch
    from captum.attr import GradientShap, IntegratedGradients

    w = {name: torch.tensor(array) for name, array in WEIGHTS.items()}
    x, labels = torch.tensor(X), torch.tensor(LABELS)

    def model(given):
        return torch.tanh(given @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"]

    found = {"captum": captum.__version__, "torch": torch.__version__}
    maps = IntegratedGradients(model).attribute(x, torch.tensor(BASELINES), labels, n_steps=20)
    found["rows"] = maps.tolist()
    for noise in (0.0, NOISE):
        shap, normal = GradientShap(model), torch.tensor(noise * _by_row(NORMAL))
        with (
            mock.patch.object(np.random, "uniform", return_value=_by_row(ALPHAS)),
            mock.patch.object(np.random, "choice", return_value=_by_row(CHOSEN)),
            mock.patch.object(torch, "normal", return_value=normal),
        ):
            maps = shap.attribute(x, torch.tensor(BACKGROUND), DRAWS, noise, labels)
        found[f"shap, {noise}"] = maps.tolist()
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    _write()
