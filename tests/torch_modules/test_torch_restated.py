"""Functions of PyTorch that its exporter writes without a part of them, or that are written in other functions."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from support.torch_modules import Computed, assert_outputs_and_gradient  # noqa: E402
from torch import nn  # noqa: E402

CLASS_WEIGHTS = torch.tensor([1.0, 2, 3])
LABELS = torch.arange(90).view(3, 30) % 3


def loss(x, target=None, **settings):
    target = LABELS[:1, :10].expand(len(x), -1) if target is None else target
    return nn.functional.cross_entropy(x.view(-1, 3, 10), target, reduction="none", **settings)


def shares(x):
    return torch.linspace(0, 1, 30).view(1, 3, 10).to(x).expand(len(x), -1, -1)


def bag(x, table=False, **settings):
    """Bags of one length with weights of the input, or bags one after the other, of which one is empty."""
    if not table:
        weights = {"per_sample_weights": x[:, :3]} if settings["mode"] == "sum" else {}
        places = torch.arange(3).expand(len(x), -1)
        return nn.functional.embedding_bag(places, x[:4, :5].repeat(5, 1), **weights, **settings)
    places, starts = torch.tensor([1, 2, 3, 4, 5, 2]), torch.tensor([0, 2, 2, 4])
    return x[:, :4] * nn.functional.embedding_bag(places, x[0].view(6, 5), starts, **settings).sum(1)


RESTATED = {
    "smoothed labels": lambda x: loss(x, label_smoothing=0.1),
    "smoothed labels, weighted, one ignored": lambda x: loss(
        x, label_smoothing=0.2, weight=CLASS_WEIGHTS.to(x), ignore_index=1
    ),
    "shares": lambda x: loss(x, shares(x), weight=CLASS_WEIGHTS.to(x)),
    "smoothed shares": lambda x: loss(x, shares(x), label_smoothing=0.1),
    "mean of smoothed labels": lambda x: x * nn.functional.cross_entropy(
        x[:1, :3], LABELS[0, 1:2], weight=CLASS_WEIGHTS.to(x), label_smoothing=0.1
    ),
    "covariances": lambda x: torch.cov(x[:2], correction=0).sum() * x,
    "covariances, weighted": lambda x: torch.cov(
        x[:2, :3], fweights=torch.tensor([1, 2, 3]), aweights=CLASS_WEIGHTS.to(x)
    ).sum() * x,
    "correlations": lambda x: torch.corrcoef(x[:2])[0, 1] * x,
    "places in 32 bits": lambda x: x.index_put(
        (torch.arange(len(x), dtype=torch.int32)[:, None], torch.tensor([3, 1, 3], dtype=torch.int32)),
        x[:, :3].square(), accumulate=True,
    ),
    **{
        f"bags{after}, {mode}{padded}": lambda x, mode=mode, padded=padded, after=after: bag(
            x, bool(after), mode=mode, padding_idx=2 if padded else None
        )
        for mode in ("sum", "mean", "max") for padded in ("", ", padded") for after in ("", " in a row")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RESTATED)
def test_restated(name):
    """What PyTorch's exporter writes without a part of it, in types that are not valid, or without a gradient."""
    x = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)
    assert_outputs_and_gradient(Computed(RESTATED[name]), x, torch.float64, atol=1e-6)
