"""PyTorch modules that change after a method was made of them: explained as they were, and said so."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from torch import nn  # noqa: E402

from onnxattr import IntegratedGradients  # noqa: E402

ROWS = np.random.default_rng(4).normal(size=(3, 5)).astype(np.float32)


class Counting(nn.Sequential):
    """Counts its calls and keeps its last input, as some modules do."""

    def __init__(self):
        super().__init__(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def one_step(module):
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.from_numpy(ROWS)).sum().backward()
    optimizer.step()


def loaded(module):
    module.load_state_dict(Counting().state_dict())


def averaged(module):
    with torch.no_grad():
        module.train()(torch.from_numpy(ROWS))
    module.eval()


def written(module):
    module[3].bias.data.add_(1)


@pytest.mark.parametrize("change", [one_step, loaded, written, averaged, lambda m: m.half().float()])
def test_a_change_is_said_once(change):
    torch.manual_seed(0)
    module = Counting().eval()
    method = IntegratedGradients(module, steps=3, sample=torch.from_numpy(ROWS))
    before = method.explain(ROWS)
    module(torch.from_numpy(ROWS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        IntegratedGradients(module, steps=3, sample=torch.from_numpy(ROWS))
        method.explain(ROWS)
    change(module)
    with pytest.warns(
        UserWarning, match="The Counting has changed since this IntegratedGradients was made of it"
    ):
        after = method.explain(ROWS)
    np.testing.assert_array_equal(before, after)
