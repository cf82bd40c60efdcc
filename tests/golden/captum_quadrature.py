"""Writes captum_quadrature.json: Integrated Gradients of Captum on a small network, by rule and number of steps.

Run it where PyTorch and Captum are installed; the tests compare with the numbers alone.
"""

import json
from pathlib import Path

import numpy as np

RULES = ("riemann_left", "riemann_right", "riemann_middle", "gausslegendre")
STEPS = (2, 5, 12)
TARGETS = [0, 2, 1]
FILE = Path(__file__).with_suffix(".json")


def arrays() -> dict[str, np.ndarray]:
    """A network of 4 inputs, 6 hidden units and 3 scores, three rows and a baseline."""
    rng = np.random.default_rng(11)
    shapes = {"w": (4, 6), "b": (6,), "v": (6, 3), "x": (3, 4), "baseline": (4,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def main() -> None:
    """Computes in float64."""
    import torch
    from captum.attr import IntegratedGradients

    own = {name: torch.tensor(array, dtype=torch.float64) for name, array in arrays().items()}

    def network(x):
        return torch.tanh(x @ own["w"] + own["b"]) @ own["v"]

    method, found = IntegratedGradients(network), {}
    for rule in RULES:
        for steps in STEPS:
            maps, delta = method.attribute(
                own["x"],
                own["baseline"].expand(3, 4),
                target=torch.tensor(TARGETS),
                n_steps=steps,
                method=rule,
                return_convergence_delta=True,
            )
            found[f"{rule} {steps}"] = {"maps": maps.tolist(), "delta": delta.tolist()}
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
