"""A case on which Captum's infidelity and sensitivity are known: its arrays, and the script that asks Captum.

`python tests/golden/captum_metrics.py`, where PyTorch and Captum are installed, writes captum_metrics.json
beside it. All random numbers come from here, Captum's perturbations included.
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".json")
DRAWS, RADIUS = 12, 0.3
NORMS = {"l1": 1, "l2": 2, "linf": np.inf}

_RNG = np.random.default_rng(2019)
#: y = tanh(x w1 + b1) w2 + b2.
WEIGHTS = {
    "w1": _RNG.normal(0, 0.7, (6, 9)).astype(np.float32),
    "b1": _RNG.normal(0, 0.3, 9).astype(np.float32),
    "w2": _RNG.normal(0, 0.7, (9, 4)).astype(np.float32),
    "b2": _RNG.normal(0, 0.3, 4).astype(np.float32),
}
X = _RNG.normal(size=(5, 6)).astype(np.float32)
LABELS = np.array([2, 0, 3, 1, 1])
MAPS = _RNG.normal(size=(5, 6)).astype(np.float32)
#: (samples, draws, features): noise, subsets, steps in a ball.
NOISE = _RNG.normal(0, 0.4, (5, DRAWS, 6)).astype(np.float32)
SUBSETS = (_RNG.random((5, DRAWS, 6)) < 0.4).astype(np.float32)
STEPS = _RNG.uniform(-RADIUS, RADIUS, (5, DRAWS, 6)).astype(np.float32)


def _write() -> None:
    import captum
    import torch
    from captum.attr import Saliency
    from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max

    w = {name: torch.tensor(array) for name, array in WEIGHTS.items()}
    x, maps, labels = torch.tensor(X), torch.tensor(MAPS), torch.tensor(LABELS)

    def model(given):
        return torch.tanh(given @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"]

    def noise(_):
        return torch.tensor(NOISE.reshape(-1, 6)), x.repeat_interleave(DRAWS, 0) - torch.tensor(
            NOISE.reshape(-1, 6)
        )

    @infidelity_perturb_func_decorator(True)
    def to_zero(given):
        return given * (1 - torch.tensor(SUBSETS.reshape(-1, 6)))

    def moved(given):
        return given + torch.tensor(STEPS.reshape(-1, 6))

    found = {"captum": captum.__version__, "torch": torch.__version__}
    for name, perturb in (("noise", noise), ("subsets", to_zero)):
        for normalize in (False, True):
            numbers = infidelity(
                model, perturb, x, maps, target=labels, n_perturb_samples=DRAWS, normalize=normalize
            )
            found[f"infidelity, {name}{', normalized' if normalize else ''}"] = numbers.tolist()
    saliency = Saliency(model)
    for name, order in NORMS.items():
        numbers = sensitivity_max(
            lambda given, target: saliency.attribute(given, target=target, abs=False),
            x, moved, RADIUS, DRAWS, order, target=labels,
        )  # fmt: skip
        found[f"sensitivity, {name}"] = numbers.tolist()
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    _write()
