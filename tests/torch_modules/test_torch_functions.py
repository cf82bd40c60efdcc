"""Functions that PyTorch's exporter writes with other numbers or gradients, and those that it does not write."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.common.verify import values  # noqa: E402
from onnxattr.converters.torch import to_onnx  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402
from support.torch_modules import Computed, assert_outputs_and_gradient, table_of  # noqa: E402
from torch import nn  # noqa: E402

from onnxattr.attributions import GuidedBackprop  # noqa: E402
from onnxattr.compile.gradient import vjp  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402


class LogSigmoid(nn.Module):
    def forward(self, x):
        return nn.functional.logsigmoid(x)


class CrossEntropy(nn.Module):
    def forward(self, x):
        return nn.functional.binary_cross_entropy_with_logits(x, x.sign(), reduction="none")


@pytest.mark.parametrize("kind", [LogSigmoid, CrossEntropy])
def test_logarithms_of_sigmoids_stay_finite(kind):
    """The converter is shown small numbers; ONNX Runtime's Sigmoid is 0 below -18, PyTorch's where float32 ends."""
    x = np.array([[-120, -60, -19, -1, 2, 30]], np.float32)
    model = to_onnx(kind(), np.ones_like(x))
    tensor = torch.tensor(x, requires_grad=True)
    expected = kind()(tensor)
    expected.sum().backward()
    name, output = model.graph.input[0].name, model.graph.output[0].name
    ct = {f"{output}_cotangent": np.ones_like(x)}
    found = values(vjp(model), [output, f"{name}_gradient"], {name: x} | ct)
    np.testing.assert_allclose(found[output], expected.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(found[f"{name}_gradient"], tensor.grad.numpy(), rtol=1e-5, atol=1e-12)


# Numbers that the exporter's optimiser takes for 0 and 1.
NEAR_ZERO_OR_ONE = {
    "log": lambda x: torch.log(x + 1e-15),
    "root": lambda x: torch.sqrt(1e-12 + x),
    "norm": lambda x: x / (x.abs().sum(1, keepdim=True) + 1e-9),
    "entropy": lambda x: x * torch.log(x + 1e-10),
    "difference": lambda x: torch.relu(x - 1e-9) * 1e9,
    "factor": lambda x: (x * 1.000005 - x) * 1e5,
    "quotient": lambda x: (x / 0.999995 - x) * 1e5,
}
# What the exporter makes one Clip of, in which another gradient holds at 0.
BOUNDED = {
    "relu, clamp": lambda x: torch.clamp(torch.relu(x), max=1.0),
    "clamp, relu": lambda x: torch.relu(torch.clamp(x, -1.0, 1.0)),
    "clamp, clamp": lambda x: torch.clamp(torch.clamp(x, -1.0, 1.0), 0.0, 2.0),
}


@pytest.mark.parametrize("name", NEAR_ZERO_OR_ONE | BOUNDED)
def test_what_the_exporter_changes(name):
    """The converter is shown ones, as it may be by users, and finds nothing that differs elsewhere."""
    x = np.array([[0, 0, 0], [0, 2e-9, 1], [3, 0.25, 7e-9], [-1, -0.5, 2]], np.float32)
    x = x[:3] if name in NEAR_ZERO_OR_ONE else x
    assert_outputs_and_gradient(Computed((NEAR_ZERO_OR_ONE | BOUNDED)[name]), x)


def with_places(x, size):
    found, places = nn.functional.adaptive_max_pool1d(x.view(-1, 1, 4), size, return_indices=True)
    return found + places.to(found)


ROWS = torch.tensor([[1.0, 3, 2, 4], [1, 3, 2, 3]])
STEPS = torch.arange(4) / 8
BLIND = torch.tensor([[1.0, 0], [0, 0]])  # the second query sees no key


# Large numbers, of which the exporter's forms overflow, far ones, of which they underflow, and ties.
def attended(x, **settings):
    return nn.functional.scaled_dot_product_attention(x / 100, x.flip(-1), x, **settings)


LARGE_OR_EQUAL = {
    "logaddexp": lambda x: torch.logaddexp(x, x.flip(1)),
    "logaddexp, broadcast": lambda x: torch.logaddexp(x, x[:, :1] - 3),
    "logaddexp, constant": lambda x: torch.logaddexp(torch.tensor(0.0), x),
    "logaddexp2": lambda x: torch.logaddexp2(x, x.roll(1, 1)),
    "logcumsumexp": lambda x: torch.logcumsumexp(x, 1),
    "logcumsumexp, inner axis": lambda x: torch.logcumsumexp(torch.stack([x, 2 * x, -x], 2), -2),
    "max": lambda x: x.max(1).values,
    "max, inner axis": lambda x: x.view(-1, 2, 2).max(-2, keepdim=True)[0],
    "min": lambda x: x.min(dim=1, keepdim=True)[0],
    "maximum": lambda x: torch.maximum(x, x.flip(1)),
    "minimum, constant": lambda x: torch.minimum(x, torch.tensor(-7.0)),
    "maximum, integers": lambda x: x * torch.maximum((x + 0.5).long(), (x.flip(1) + 0.5).long()),
    "hardtanh": lambda x: nn.functional.hardtanh(x, -7.0, 2.0),
    "relu6": lambda x: nn.functional.relu6(2 * x),
    "global pool of signals": lambda x: nn.functional.adaptive_max_pool1d(x.view(-1, 1, 4), 1),
    "global pool of volumes": lambda x: nn.functional.adaptive_max_pool3d(x.view(-1, 1, 1, 2, 2), 1),
    "global pool of one volume": lambda x: nn.functional.adaptive_max_pool3d(x.view(1, -1, 2, 2), 1),
    "pool to 3": lambda x: nn.functional.adaptive_max_pool1d(x.view(-1, 1, 4), 3),
    "pool to 2": lambda x: nn.functional.adaptive_max_pool2d(x.view(-1, 1, 1, 4), (1, 2)),
    "places of a pool to 3": lambda x: with_places(x, 3),
    "places of a pool to 2": lambda x: with_places(x, 2),
    "pool of volumes": lambda x: nn.functional.max_pool3d(x.view(-1, 1, 1, 2, 2), (1, 2, 2)),
    "fmax": lambda x: torch.fmax(x, x.flip(1)),
    "fmin": lambda x: torch.fmin(x, torch.tensor([math.nan, 1, math.nan, 2])),
    "cummax": lambda x: torch.cummax(x, 1)[0],
    "cummin, inner axis": lambda x: torch.cummin(torch.stack([x, -x, x], 2), -2).values,
    "cumprod": lambda x: torch.cumprod(x, 1),
    "hypot": lambda x: torch.hypot(x, x.flip(1)),
    "copysign": lambda x: torch.copysign(x, x.flip(1) * torch.tensor([0.0, 1, -1, -0.0])),
    "copysign, number": lambda x: torch.copysign(x, -0.0),
    "cdist": lambda x: torch.cdist(x, ROWS.to(x)),
    "cdist, samples": lambda x: torch.cdist(x[:, None], ROWS.to(x)[None].expand(x.shape[0], -1, -1)),
    "cdist, sums": lambda x: torch.cdist(x, ROWS.to(x), p=1.0),
    "cdist, largest": lambda x: torch.cdist(x, ROWS[:1].to(x), p=math.inf),
    "kthvalue": lambda x: torch.kthvalue(x + STEPS, 2, 1)[0],
    "attention of one head": lambda x: attended(x.view(-1, 2, 2)),
    "attention of one head, causal": lambda x: attended(x.view(-1, 2, 2), is_causal=True, scale=0.3),
    "attention of one head, masked": lambda x: attended(
        x.view(-1, 2, 2), attn_mask=torch.tensor([[True, False], [False, False]])
    ),
    "attention of one head, added": lambda x: attended(x.view(-1, 2, 2), attn_mask=x.view(-1, 2, 2)),
    "attention of one head, scaled to nothing": lambda x: attended(x.view(-1, 2, 2), scale=0.0),
    "attention of one head, none added": lambda x: attended(x.view(-1, 2, 2), attn_mask=BLIND.log()),
    "attention of heads, masked": lambda x: attended(x.view(-1, 1, 2, 2), attn_mask=BLIND.bool()),
    "attention of heads, masked by the input": lambda x: attended(
        x.view(-1, 1, 2, 2), attn_mask=x.view(-1, 1, 2, 2) > 1
    ),
    "attention of heads, none added": lambda x: attended(x.view(-1, 1, 2, 2), attn_mask=BLIND.log().to(x)),
    "attention of heads that share keys, masked": lambda x: nn.functional.scaled_dot_product_attention(
        x.view(-1, 2, 2, 1), *[x.view(-1, 1, 4, 1)[:, :, :2]] * 2, BLIND.bool(), enable_gqa=True
    ),
    "attention of five axes": lambda x: attended(x.view(-1, 1, 1, 2, 2)),
    "squeeze of one axis and of longer ones": lambda x: x[:, None].squeeze(0).squeeze(-1).squeeze(1),
    "median, inner axis": lambda x: torch.median((x + STEPS).view(-1, 2, 2), -2, keepdim=True).values,
}


@pytest.mark.parametrize("name", LARGE_OR_EQUAL)
def test_large_and_equal_numbers(name):
    """Of equal ones `max`, `min` and pools give the gradient to the first, `maximum` and `logaddexp` divide it."""
    x = np.array([[-100, 0, 90, 0.5], [200, 200, -300, 200], [-7, -7, -7, -7], [1, 3, 2, 3]], np.float32)
    assert_outputs_and_gradient(Computed(LARGE_OR_EQUAL[name]), x, torch.float64, atol=1e-12)


TAILS = {
    "erfc": lambda x: torch.erfc(x).log(),
    "special.erfc": lambda x: torch.special.erfc(x).log(),
    "erfcx": lambda x: torch.special.erfcx(x),
    "log_ndtr": lambda x: torch.special.log_ndtr(x),
}


@pytest.mark.parametrize("name", TAILS)
def test_tails_of_the_normal_distribution(name):
    """The exporter's 1 - erf(x) has no digits from x = 4 on."""
    x = np.linspace(-8.5, 8.5, 70, dtype=np.float32).reshape(-1, 10)
    assert_outputs_and_gradient(Computed(TAILS[name]), x, torch.float64, atol=1e-7)


NEAR_ONE = {
    "log1p of small numbers": lambda x: torch.log1p(x * 1e-6) * 1e6,
    "special.log1p": lambda x: torch.special.log1p(x * 1e-6) * 1e6,
    "expm1 of small numbers": lambda x: torch.expm1(x * 1e-6) * 1e6,
    "special.expm1": lambda x: torch.special.expm1(x * 1e-6) * 1e6,
    "log of 1 - exp": lambda x: torch.log(-torch.expm1(-nn.functional.softplus(x) * 1e-3)),
    "log1p, all sizes": lambda x: torch.log1p(x.abs() * torch.exp(x)),
    "expm1, all sizes": lambda x: torch.expm1(x * torch.exp(-x.abs())),
    "expm1, saturated": lambda x: torch.log(torch.expm1(x * 2) + 1.5),
    "log1p in 64 bits": lambda x: torch.log1p(x.double() * 1e-6).float() * 1e6,
}


@pytest.mark.parametrize("name", NEAR_ONE)
def test_digits_of_what_is_added_to_one(name):
    """The exporter's log(1 + x) and exp(x) - 1 have those of 1 + x and exp(x)."""
    x = np.linspace(-8.5, 8.5, 70, dtype=np.float32).reshape(-1, 10)
    assert_outputs_and_gradient(Computed(NEAR_ONE[name]), x, torch.float64, atol=1e-7)


BESSEL = {
    "i0": lambda x: torch.special.i0(x),
    "i0, torch": lambda x: torch.i0(x),
    "i0e": lambda x: torch.special.i0e(x),
    "i1": lambda x: torch.special.i1(x),
    "i1e": lambda x: torch.special.i1e(x),
}


@pytest.mark.parametrize("name", BESSEL)
def test_modified_bessel_functions(name):
    """On both sides of 20, where one series takes over from the other, and at 0, where I_1 has the slope 1/2."""
    x = np.array([[0, -0.001, 0.5, -5], [19.999, 20, -20, -20.001], [35, -60, 80, 1]], np.float32)
    assert_outputs_and_gradient(Computed(BESSEL[name]), x, torch.float64, atol=1e-12)


def pooled_volume(x, *size):
    return nn.functional.adaptive_avg_pool3d(x.view(-1, 1, 2, 3, 5), size).flatten(1)


POOLED = {
    "to windows that overlap": lambda x: pooled_volume(x, 2, 2, 3),
    "to one and all": lambda x: pooled_volume(x, 1, 3, 2),
    "to more than there are": lambda x: pooled_volume(x, 3, 2, 7),
    "of one volume": lambda x: nn.functional.adaptive_avg_pool3d(x.view(-1, 2, 3, 5), (1, 2, 3)),
    "divisor": lambda x: nn.functional.avg_pool2d(x.view(-1, 1, 5, 6), 2, divisor_override=3),
    "divisor, padded": lambda x: nn.functional.avg_pool2d(
        x.view(-1, 1, 5, 6), (3, 2), 2, (1, 0), divisor_override=5
    ),
    "divisor of volumes": lambda x: nn.functional.avg_pool3d(x.view(-1, 1, 2, 3, 5), 2, divisor_override=5),
    "stable sort": lambda x: torch.sort(x.round(), dim=1, stable=True)[1] * x,
    "stable sort, descending": lambda x: torch.sort(x, stable=True, descending=True)[0] * x,
    "stable sort, inner axis": lambda x: torch.sort(x.view(-1, 5, 6), dim=-2, stable=True)[0] ** 2,
}


@pytest.mark.parametrize("name", POOLED)
def test_averages_and_orders(name):
    x = np.random.default_rng(0).normal(size=(3, 30)).astype(np.float32)
    assert_outputs_and_gradient(Computed(POOLED[name]), x, atol=1e-6)


# What is not written, and the reason.
NOT_WRITTEN = {
    "cdist": (lambda x: torch.cdist(x, ROWS, p=3.0), r"torch.cdist with p=3.0; supported: 1, 2 and inf"),
    "cumprod": (
        lambda x: torch.cumprod(x, 0).sum(1),
        r"torch.cumprod along axis 0, whose length is not fixed",
    ),
    "divisor": (
        lambda x: nn.functional.avg_pool2d(x.view(-1, 1, 2, 2), 2, ceil_mode=True, divisor_override=3),
        r"avg_pool2d with divisor_override and ceil_mode=True",
    ),
    "qr": (
        lambda x: torch.linalg.qr(x.view(-1, 2, 2))[1],
        r"form of aten.linalg_qr.*explain that\.$",
    ),
    "complex root": (
        lambda x: torch.sqrt(torch.complex(x, x)).abs(),
        r"form of aten.sqrt of complex numbers",
    ),
    "loss of sequences": (
        lambda x: nn.functional.ctc_loss(
            x.view(-1, 2, 2).transpose(0, 1), torch.ones(3, 1).long(), (2, 2, 2), (1, 1, 1), reduction="none"
        ),
        r"torch.export has no form of aten._ctc_loss",
    ),
    "nested tensor": (
        lambda x: torch.nested.nested_tensor([x[0], x[1, :2]]).to_padded_tensor(0.0),
        r"torch.export has no form of aten._nested_tensor_from_tensor_list",
    ),
    "groups of the batch": (
        lambda x: nn.functional.conv1d(x[None], torch.ones(x.shape[0], 1, 2), groups=x.shape[0])[0],
        r"groups of a convolution depends on the batch.*dynamic_batch=False",
    ),
    "arrays": (
        lambda x: x * torch.as_tensor(gaussian_filter(x.cpu().numpy(), 1)),
        r"by \.numpy\(\) at .*Compute this in PyTorch",
    ),
    "derivative": (
        lambda x: torch.func.grad(lambda v: (v**3).sum())(x),
        r"compute a derivative inside forward.*as a formula",
    ),
    "derivative of each row": (
        lambda x: torch.func.vmap(torch.func.grad(lambda v: (v**3).sum()))(x),
        r"compute a derivative inside forward.*as a formula",
    ),
}


@pytest.mark.parametrize("name", NOT_WRITTEN)
def test_what_a_translation_cannot_write_is_said(name):
    module, reason = NOT_WRITTEN[name]
    with pytest.raises(ConversionError, match=reason):
        to_onnx(Computed(module), np.ones((3, 4), np.float32))


def test_a_projected_lstm_is_refused():
    with pytest.raises(ConversionError, match=r"'LSTM' is an LSTM with proj_size=2.*Linear layer"):
        to_onnx(nn.LSTM(4, 3, proj_size=2, batch_first=True), np.ones((2, 3, 4), np.float32))


def test_a_failed_conversion_leaves_no_transformation():
    """torch.export leaves torch.func's levels entered where it fails inside; PyTorch itself then fails."""
    derivative = torch.func.vmap(torch.func.grad(lambda v: (v**3).sum()))
    with pytest.raises(ConversionError):
        to_onnx(Computed(lambda x: derivative(x)), np.ones((3, 4), np.float32))
    assert torch._C._functorch.get_dynamic_layer_stack_depth() == 0
    assert_outputs_and_gradient(Computed(lambda x: x.clone() * 2), np.ones((2, 3), np.float32))


PARAMETRIZED = {
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(4, 3)),
    "orthogonal, tall": lambda: nn.utils.parametrizations.orthogonal(
        nn.Linear(4, 6), "weight", "householder"
    ),
    "Cayley": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map="cayley"),
    "exponential": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map="matrix_exp"),
    "spectral": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)),
    "weight": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
}


@pytest.mark.parametrize("name", PARAMETRIZED)
def test_weights_that_are_made_of_others(name):
    torch.manual_seed(0)
    module = nn.Sequential(PARAMETRIZED[name](), nn.Tanh()).eval()
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert_outputs_and_gradient(module, x, atol=1e-6)
    assert [layer.path for layer in table_of(to_onnx(module, x))] == ["0", "1"]


def test_a_relu_in_front_of_a_clamp_is_guided():
    weights = torch.tensor([[-1.0, 2.0, -3.0]]).T
    module = Computed(lambda x: torch.clamp(torch.relu(x), max=1.0) @ weights)
    x = np.array([[0.5, 0.5, -0.5], [0.25, 2.0, 0.75]], np.float32)
    maps = GuidedBackprop(to_onnx(module, x), reducer=None).explain(x, np.ones((2, 1), np.float32))
    np.testing.assert_array_equal(maps, [[0, 2, 0], [0, 0, 0]])
