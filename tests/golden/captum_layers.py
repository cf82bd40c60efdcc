"""Layers explained by Captum: the arrays of two models, and the script that asks it.

`python tests/golden/captum_layers.py`, where PyTorch and Captum are installed, writes captum_layers.json beside it.
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".json")
STEPS, UNIT = 6, (1, 2, 0)

_RNG = np.random.default_rng(77)


def _normal(*shape: int) -> np.ndarray:
    return _RNG.normal(0, 0.6, shape).astype(np.float32)


#: logits = mean over space of tanh(conv(tanh(conv(x, k1)), k2)) w.
IMAGES = {"k1": _normal(3, 2, 3, 3), "k2": _normal(4, 3, 2, 2), "w": _normal(4, 3)}
X, X_BASELINE = _normal(2, 2, 5, 5), _normal(2, 5, 5)
#: logits = mean over words of tanh(table[words]) w.
WORDS = {"table": _normal(9, 3), "w": _normal(3, 3)}
TOKENS, PADDING = np.array([[1, 4, 8, 2], [7, 7, 3, 5]]), 6
LABELS = np.array([2, 0])


def _write() -> None:
    import captum
    import torch
    from captum.attr import (
        LayerActivation,
        LayerGradientXActivation,
        LayerIntegratedGradients,
        NeuronGradient,
    )

    w = {name: torch.tensor(array) for name, array in IMAGES.items()}

    class Images(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Tanh(), torch.nn.Tanh()

        def forward(self, x):
            hidden = self.first(torch.nn.functional.conv2d(x, w["k1"]))
            return self.second(torch.nn.functional.conv2d(hidden, w["k2"])).mean((2, 3)) @ w["w"]

    class Text(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding.from_pretrained(torch.tensor(WORDS["table"]))

        def forward(self, words):
            return torch.tanh(self.table(words)).mean(1) @ torch.tensor(WORDS["w"])

    images, text = Images(), Text()
    x, labels, tokens = torch.tensor(X), torch.tensor(LABELS), torch.tensor(TOKENS)
    path = {"n_steps": STEPS, "method": "gausslegendre", "target": labels}
    start = torch.tensor(np.broadcast_to(X_BASELINE, X.shape).copy())
    padding = torch.full_like(tokens, PADDING)
    found = {
        "activation": LayerActivation(images, images.first).attribute(x),
        "gradient x activation": LayerGradientXActivation(images, images.first).attribute(x, labels),
        "integrated gradients": LayerIntegratedGradients(images, images.first).attribute(x, start, **path),
        "neuron": NeuronGradient(images, images.first).attribute(x, UNIT),
        "embedding": LayerIntegratedGradients(text, text.table).attribute(tokens, padding, **path),
    }
    numbers = {
        name: np.round(array.detach().numpy().astype(float), 8).tolist() for name, array in found.items()
    }
    FILE.write_text(json.dumps({"captum": captum.__version__, "torch": torch.__version__} | numbers))


if __name__ == "__main__":
    _write()
