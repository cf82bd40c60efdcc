"""Models that torch.onnx.export wrote, by its older exporter, which computes shapes and keeps one of equal weights.

Gradients are those of torch.autograd in float64.
"""

import io

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch")

from onnxattr.compile.gradient import vjp  # noqa: E402

nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore")


class SelfAttention(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)

    def forward(self, x):
        return self.attention(x, x, x)[0]


class CrossAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, kdim=6, vdim=6)

    def forward(self, x, z):
        return self.attention(x, z, z, need_weights=False)[0]


class PoolingHead(nn.Module):
    """Attention of a learned query, as in SigLIP."""

    def __init__(self):
        super().__init__()
        self.query, self.norm = nn.Parameter(torch.randn(1, 1, 8)), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        query = self.query.repeat(x.shape[0], 1, 1)
        return self.norm(self.attention(query, x, x)[0])[:, 0]


class FeatureTokens(nn.Module):
    """A token for each column behind one of its own, as in FT-Transformer."""

    def __init__(self):
        super().__init__()
        self.weight, self.first = nn.Parameter(torch.randn(5, 8)), nn.Parameter(torch.randn(1, 1, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(8, 3)

    def forward(self, x):
        tokens = torch.cat([self.first.expand(x.shape[0], -1, -1), x[..., None] * self.weight], 1)
        return self.head(self.encoder(tokens)[:, 0])


class StandardisedConvolutions(nn.Module):
    """Kernels of zero mean and unit variance, as in NFNets."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.randn(4, 4, 3, 3))
        self.gain, self.other_gain = (nn.Parameter(torch.ones(4, 1, 1, 1)) for _ in range(2))

    def standardised(self, weight, gain):
        gains, flat = (gain * 0.1).view(-1), weight.reshape(1, 4, -1)
        return functional.batch_norm(flat, None, None, gains, training=True, momentum=0.0).reshape_as(weight)

    def forward(self, x):
        h = functional.gelu(functional.conv2d(x, self.standardised(self.first, self.gain)))
        return functional.gelu(functional.conv2d(h, self.standardised(self.second, self.other_gain)))


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)

    def forward(self, x, z):
        return self.transformer(x, z)


MODULES = {
    "self-attention": (lambda: SelfAttention(True), [(2, 5, 8)]),
    "self-attention, time first": (lambda: SelfAttention(False), [(5, 2, 8)]),
    "cross-attention": (CrossAttention, [(2, 5, 8), (2, 7, 6)]),
    "pooling head": (PoolingHead, [(2, 5, 8)]),
    "feature tokens": (FeatureTokens, [(2, 5)]),
    "transformer": (Translator, [(2, 5, 8), (2, 4, 8)]),
    "standardised convolutions": (StandardisedConvolutions, [(2, 3, 7, 7)]),
}


@pytest.mark.parametrize("sizes", ["fixed", "batch", "all"])
@pytest.mark.parametrize("name", MODULES)
def test_gradients_are_those_of_autograd(name, sizes):
    torch.manual_seed(0)
    make, shapes = MODULES[name]
    module, inputs, file = make().eval(), [torch.randn(shape) for shape in shapes], io.BytesIO()
    names = [f"x{index}" for index in range(len(inputs))]
    free = {"fixed": 0, "batch": 1, "all": 2}[sizes]
    axes = {
        n: {a: f"{n}_{a}" if a else "batch" for a in range(min(free, x.dim() - 1))}
        for n, x in zip(names, inputs, strict=True)
    }
    torch.onnx.export(
        module, tuple(inputs), file, input_names=names, output_names=["y"], opset_version=17, dynamo=False,
        dynamic_axes=axes if free else None,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(vjp(onnx.load_from_string(file.getvalue())).SerializeToString())
    exact = [x.double().requires_grad_() for x in inputs]
    y = module.double()(*exact)
    ct = torch.randn(y.shape)
    y.backward(ct.double())
    feeds = {n: x.numpy() for n, x in zip(names, inputs, strict=True)} | {"y_cotangent": ct.numpy()}
    outputs = [output.name for output in session.get_outputs()]
    results = dict(zip(outputs, session.run(None, feeds), strict=True))
    np.testing.assert_allclose(results["y"], y.detach().numpy(), atol=1e-5)
    for n, x in zip(names, exact, strict=True):
        expected = x.grad.numpy()
        np.testing.assert_allclose(
            results[f"{n}_gradient"], expected, rtol=0, atol=1e-4 * np.abs(expected).max() + 1e-6
        )


# Of (N, 3, 8, 8, 8) and less, with equal numbers.
TIED = {
    "max(dim)": (lambda x: x.max(2)[0], (2, 3, 8)),
    "min(dim)": (lambda x: x.min(-1, keepdim=True)[0], (2, 3, 8)),
    "global pool of signals": (lambda x: functional.adaptive_max_pool1d(x, 1), (2, 3, 8)),
    "global pool of images": (lambda x: functional.adaptive_max_pool2d(x, 1), (2, 3, 4, 6)),
    "pool of volumes": (lambda x: functional.max_pool3d(x, 2), (2, 3, 4, 4, 6)),
    "pool of volumes, padded": (lambda x: functional.max_pool3d(x, 3, 2, 1), (2, 3, 4, 4, 6)),
}
#: In files of the newer exporter a global pool is the ReduceMax that amax is; the sums of gradients are the same.
UNKNOWN = {("global pool of signals", True), ("global pool of images", True)}


class Computed(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", [*TIED, "amax"])
def test_equal_numbers_have_the_gradient_of_pytorch(name, dynamo):
    function, shape = TIED.get(name, (lambda x: x.amax((1, 2)), (2, 3, 8)))
    x, file = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(0)).float(), io.BytesIO()
    torch.onnx.export(
        Computed(function), (x,), file, input_names=["x"], output_names=["y"], dynamo=dynamo, verbose=False
    )
    session = onnxruntime.InferenceSession(vjp(onnx.load_from_string(file.getvalue())).SerializeToString())
    exact = x.clone().requires_grad_()
    y = function(exact)
    ct = torch.randn(y.shape)
    y.backward(ct)
    (found,) = session.run(["x_gradient"], {"x": x.numpy(), "y_cotangent": ct.numpy()})
    if (name, dynamo) in UNKNOWN:
        np.testing.assert_allclose(found.sum(), exact.grad.sum(), rtol=1e-5)
    else:
        np.testing.assert_allclose(found, exact.grad, rtol=1e-5)
