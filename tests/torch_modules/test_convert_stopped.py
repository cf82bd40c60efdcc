"""Modules whose own gradient is not that of what they compute: the converter compares, and says so."""

import re
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.torch import to_onnx  # noqa: E402

from onnxattr import GradientInput  # noqa: E402


class Straight(torch.autograd.Function):
    """Rounds; its backward pass does not."""

    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, ct):
        return ct


class Reversed(torch.autograd.Function):
    """Changes nothing but the sign of the gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, ct):
        return -ct


class Net(torch.nn.Module):
    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.between = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3), between

    def forward(self, x):
        return self.last(self.between(self, self.first(x)))


def gated(_, x):
    with torch.no_grad():
        gate = torch.sigmoid(x)
    return x * gate


def noted(module, x):
    module.seen = x.detach()
    return x.relu()


def hooked(_, x):
    y = x.relu()
    if y.requires_grad:
        y.register_hook(lambda ct: 2 * ct)
    return y


def watched(module, x):
    y = x.relu()
    if y.requires_grad:
        y.register_hook(lambda ct: setattr(module, "ct", ct.clone()))
    return y


#: What happens between two layers, by name, and what is said of it; None where the gradients are the same.
CASES = {
    "detached": (lambda _, x: x.detach() + x.tanh(), r"detach \(test_convert_stopped.py, line \d+\)"),
    "detached, complex": (
        lambda _, x: torch.fft.rfft(x, n=x.shape[-1] * 2 - 2).detach().real + x.tanh(),
        r"detach \(test_convert_stopped.py, line \d+\)",
    ),
    "item": (lambda _, x: x * x.sum().item(), r"item \(test_convert_stopped.py, line \d+\)"),
    "float": (lambda _, x: x * float(x.max()), "__float__"),
    "tolist": (lambda _, x: x * sum(x[0].tolist()), "tolist"),
    "straight through": (lambda _, x: x + (x.round() - x).detach(), "by 1 of the largest"),
    "its own backward": (lambda _, x: x + Straight.apply(x), "Straight.*by 0.5 of the largest"),
    "reversed": (lambda _, x: Reversed.apply(x), "at Reversed.*by 2 of the largest"),
    "no_grad": (gated, "sigmoid"),
    "hooked": (hooked, "register_hook.*by 0.5 of the largest"),
    "hooked without effect": (watched, None),
    "nothing": (lambda _, x: x.relu(), None),
    "noted beside": (noted, None),
    "zeros": (lambda _, x: x + torch.zeros_like(x) + x.new_ones(x.shape), None),
    "rounded": (lambda _, x: x + x.round(), None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_the_file_is_compared(case):
    between, said = CASES[case]
    module, x = Net(between), torch.randn(2, 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        converted = to_onnx(module, x)
    caught = [w for w in caught if "ONNX has no sign" in str(w.message)]
    told = [str(w.message) for w in caught]
    assert {w.filename for w in caught} <= {__file__}  # the line that called the converter
    assert len(told) == (said is not None)
    leaf = x.clone().requires_grad_()
    module.eval()(leaf)[:, 1].sum().backward()
    theirs, ours = (leaf.grad * x).numpy(), GradientInput(converted).explain(x.numpy(), np.eye(3)[[1, 1]])
    same = np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
    assert same == (said is None)
    assert said is None or re.search(said, told[0])
