"""How a module is run when it is converted: as its user calls it, on copies, and it stays as it was."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.torch import to_onnx  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

nn = torch.nn
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def linear(*shape):
    torch.manual_seed(0)
    return nn.Linear(*(shape or (4, 2)))


def by_autograd(module, x):
    leaf = torch.tensor(x, requires_grad=True)
    module.eval()(leaf.clone())[:, 1].sum().backward()
    return (leaf.grad * torch.tensor(x)).numpy()


def assert_explained(module, x=X):
    expected, sample = by_autograd(module, x), x.copy()
    found = GradientInput(module, sample=sample).explain(x, [1] * len(x))
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(sample, x)


class Keeping(nn.Module):
    """Computes the same each time, and keeps something."""

    def __init__(self, kept):
        super().__init__()
        self.line, self.kept, self.list, self.notes = linear(), kept, [], {}
        self.register_buffer("calls", torch.zeros(()))
        self.norm = nn.BatchNorm1d(4)
        self.table = nn.Embedding(5, 4, max_norm=0.5)

    def forward(self, x):
        self.kept(self, x)
        return torch.tanh(self.line(x))


def keep_output(module, x):
    module.last = module.line(x)


def keep_means(module, x):
    nn.functional.batch_norm(x, module.norm.running_mean, module.norm.running_var, training=True)


# What a module does with itself at each call.
KEPT = {
    "a buffer counts": lambda module, x: module.calls.add_(1),
    "a buffer is replaced": lambda module, x: setattr(module, "calls", module.calls + 1),
    "running means": keep_means,
    "rows of an embedding are scaled": lambda module, x: module.table(torch.tensor([0, 1])),
    "the last output": keep_output,
    "a list grows": lambda module, x: module.list.append(x.shape[1]),
    "a cache": lambda module, x: module.notes.update(line=module.line.weight * 2),
    "nothing": lambda module, x: None,
}


@pytest.mark.parametrize("name", KEPT)
def test_a_module_stays_as_it_was(name):
    module = Keeping(KEPT[name])
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The module keeps a state")
        to_onnx(module, X)
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert module.list == []
    assert module.notes == {}
    assert not hasattr(module, "last")
    assert_explained(module)


class Stateful(nn.Module):
    """What it computes depends on its earlier calls."""

    def __init__(self, state):
        super().__init__()
        self.line, self.state = linear(), state
        self.register_buffer("mean", torch.full((4,), 0.5))

    def forward(self, x):
        return torch.tanh(self.line(self.state(self, x)))


def averaged(module, x):
    module.mean.mul_(0.5).add_(x.sum(0) * 0.5)
    return x * module.mean


def summed(module, x):
    module.mean = module.mean + 1
    return x * module.mean


@pytest.mark.parametrize("state", [averaged, summed])
def test_a_state_is_that_of_the_moment_and_is_said(state):
    module = Stateful(state)
    with pytest.warns(UserWarning, match="keeps a state between its calls") as caught:
        converted = to_onnx(module, X)
    assert caught[0].filename == __file__
    expected = by_autograd(module, X)
    target = np.tile(np.float32([0, 1]), (3, 1))
    found = GradientInput(converted).explain(X, target)
    np.testing.assert_allclose(found, expected, atol=1e-6)


# Modules that write into their inputs.
WRITING = {
    "relu": lambda: nn.Sequential(nn.ReLU(inplace=True), linear()),
    "clamp": lambda: nn.Sequential(nn.Hardtanh(-0.5, 0.5, inplace=True), linear()),
    "product": lambda: nn.Sequential(Doubling(), linear(), nn.Tanh()),
}


class Doubling(nn.Module):
    def forward(self, x):
        return x.mul_(2)


@pytest.mark.parametrize("name", WRITING)
def test_examples_stay_as_they_were(name):
    assert_explained(WRITING[name]())


def with_hook(register, hook):
    module = nn.Sequential(linear(), nn.Tanh())
    getattr(module, register)(hook)
    return module


class Rest(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = linear()

    def forward(self, *parts):
        return torch.tanh(self.line(parts[0]))


# What is called with its inputs by position.
BY_POSITION = {
    "a hook of all inputs": lambda: with_hook(
        "register_forward_pre_hook", lambda module, inputs: tuple(x * 2 for x in inputs)
    ),
    "a hook of the first input": lambda: with_hook(
        "register_forward_pre_hook", lambda module, inputs: (inputs[0].sin(),)
    ),
    "a hook of input and output": lambda: with_hook(
        "register_forward_hook", lambda module, inputs, output: output * inputs[0][:, :2]
    ),
    "*args": Rest,
    "compiled": lambda: torch.compile(nn.Sequential(linear(), nn.Tanh()), backend="eager"),
    "parallel": lambda: nn.DataParallel(nn.Sequential(linear(), nn.Tanh())),
    "parallel and compiled": lambda: nn.DataParallel(torch.compile(linear(), backend="eager")),
}


@pytest.mark.parametrize("name", BY_POSITION)
def test_inputs_by_position(name):
    assert_explained(BY_POSITION[name]())


class Mapped(nn.Module):
    """Maps a layer over the rows: within, its output has no values."""

    def __init__(self):
        super().__init__()
        self.line = linear()

    def forward(self, x):
        return torch.vmap(lambda row: torch.tanh(self.line(row)) * row.sum())(x)


def test_layers_inside_of_vmap():
    assert_explained(Mapped())


class Named(nn.Module):
    def forward(self, x, **more):
        return x + more["y"]


@pytest.mark.parametrize(
    ("module", "inputs", "match"),
    [
        (linear(), ({"x": X},), r"Example input 0 is no tensor or array but a dict.*Wrap the module"),
        (linear(), ([X, X[:, :2]],), "Example input 0 is no tensor or array but a list"),
        (Named(), {"x": X, "y": X}, r"\['y'\] were given; forward takes \['x'\].*wrap the module"),
        (torch.jit.script(linear()), X, "compiled by torch.jit.*dynamo=False"),
        (torch.jit.trace(linear(), torch.tensor(X)), X, "compiled by torch.jit.*dynamo=False"),
    ],
)
def test_what_cannot_be_called(module, inputs, match):
    with pytest.raises(ConversionError, match=match):
        to_onnx(module, inputs)


class Within(nn.Module):
    """Float32 outside; within, a layer in another type."""

    def __init__(self, dtype):
        super().__init__()
        self.line, self.dtype = linear().to(dtype), dtype

    def forward(self, x):
        return self.line(x.to(self.dtype)).float().tanh()


class Autocast(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = linear()

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            y = self.line(x)
        return y.float().tanh()


#: Modules that compute in halves, the type of their inputs, and how far their gradients are from those of float32.
HALVES = {
    "float16 within": (lambda: Within(torch.float16), torch.float32, 2e-3),
    "bfloat16 within": (lambda: Within(torch.bfloat16), torch.float32, 2e-2),
    "autocast": (Autocast, torch.float32, 2e-2),
    "bfloat16": (lambda: nn.Sequential(linear(), nn.Tanh()).bfloat16(), torch.bfloat16, 2e-2),
}


@pytest.mark.parametrize("name", HALVES)
def test_halves_are_checked_as_finely_as_they_tell(name):
    """ONNX Runtime has hardly an operator of bfloat16 on CPUs; a method computes in float32 where it is asked to."""
    made, dtype, tolerance = HALVES[name]
    expected = by_autograd(nn.Sequential(linear(), nn.Tanh()), X)
    method = GradientInput(made(), sample=torch.tensor(X).to(dtype), precision="float32")
    np.testing.assert_allclose(method.explain(X, [1] * 3), expected, atol=tolerance * np.abs(expected).max())
