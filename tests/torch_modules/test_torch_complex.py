"""PyTorch modules that compute with complex numbers between real inputs and outputs, beside PyTorch in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.common.verify import values  # noqa: E402
from onnxattr.converters.torch import to_onnx  # noqa: E402
from support.torch_modules import Computed  # noqa: E402
from torch import nn  # noqa: E402

from onnxattr.compile.gradient import vjp  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

fft = torch.fft
ROWS = np.random.default_rng(0).normal(size=(3, 3, 8)).astype(np.float32)
IMAGES = np.random.default_rng(1).normal(size=(3, 2, 6, 8)).astype(np.float32)
PARTS = np.random.default_rng(2).normal(size=(2, 3, 5))
WEIGHTS = torch.complex(*torch.tensor(PARTS))
PARAMETER = nn.Parameter(WEIGHTS)


def assert_of_pytorch(module, x):
    """Outputs and gradients are those of the module in float64, to 5e-6 of the largest."""
    model, tensor = to_onnx(module, x[:2]), torch.tensor(x, dtype=torch.float64, requires_grad=True)
    expected = module(tensor)
    ct = np.random.default_rng(3).normal(size=expected.shape).astype(np.float32)
    expected.backward(torch.tensor(ct, dtype=torch.float64))
    inside, output = model.graph.input[0].name, model.graph.output[0].name
    feeds = {inside: x, f"{output}_cotangent": ct}
    found = values(vjp(model), [output, f"{inside}_gradient"], feeds)
    for value, reference in zip(found.values(), (expected.detach(), tensor.grad), strict=True):
        np.testing.assert_allclose(value, reference, rtol=0, atol=5e-6 * float(reference.abs().max()))


class Spectral(nn.Module):
    """The layer of a Fourier neural operator: the lowest frequencies of both signs, each with a matrix of its own."""

    def __init__(self, rank):
        super().__init__()
        self.rank = rank
        corners = [slice(0, 2)] if rank == 1 else [slice(0, 2), slice(-2, None)]
        self.corners = [(slice(None), slice(None), *corner) for corner in self.made(corners)]
        shape = (3, 4, 2) if rank == 1 else (2, 4, 2, 3)
        torch.manual_seed(0)
        self.weights = nn.ParameterList(torch.rand(*shape, dtype=torch.cdouble) for _ in corners)

    def made(self, corners):
        return [(corner,) if self.rank == 1 else (corner, slice(0, 3)) for corner in corners]

    def forward(self, x):
        equation = "bix,iox->box" if self.rank == 1 else "bixy,ioxy->boxy"
        found = fft.rfft(x) if self.rank == 1 else fft.rfft2(x)
        kept = torch.zeros(x.shape[0], 4, *found.shape[2:], dtype=found.dtype)
        for corner, weights in zip(self.corners, self.weights, strict=True):
            kept[corner] = torch.einsum(equation, found[corner], weights.to(found))
        return fft.irfft(kept, n=8) if self.rank == 1 else fft.irfft2(kept, s=(6, 8))


@pytest.mark.parametrize("rank", [1, 2])
def test_layer_of_a_fourier_neural_operator(rank):
    assert_of_pytorch(Spectral(rank), ROWS if rank == 1 else IMAGES)


def written(z, places, value):
    z = z.clone()
    z[places] = value
    return z


def weights(z):
    return WEIGHTS.to(z)


FUNCTIONS = {
    "einsum, three factors": lambda z: torch.einsum("bci,bdi,ej->bcdj", z, z.conj(), weights(z)),
    "einsum, conjugate": lambda z: torch.einsum("bci,bdi->bcd", z, z.conj()),
    "products of matrices": lambda z: torch.bmm(z, z.mT),
    "linear": lambda z: nn.functional.linear(z, weights(z), weights(z)[:, 0]),
    "tensordot": lambda z: torch.tensordot(z, weights(z), dims=([1], [0])),
    "real to complex": lambda z: torch.exp(1j * z.real),
    "exp": lambda z: torch.exp(z * 0.1),
    "log": lambda z: torch.log(z + weights(z)),
    "power": lambda z: z**3,
    "norm": lambda z: z / z.norm(dim=-1, keepdim=True),
    "norm, sums": lambda z: torch.linalg.vector_norm(z, 1, dim=(1, 2)),
    "select": lambda z: z[..., 1] * z[:, 0, -1:],
    "places": lambda z: z[:, :, [0, 3]] + z.index_select(-1, torch.tensor([4, 1])),
    "gather": lambda z: z.gather(-2, torch.tensor([[[0, 2, 1, 1, 0]]]).expand(z.shape[0], -1, -1)),
    "pieces": lambda z: z.split(2, -1)[1] * z.chunk(3, 1)[2][..., :2] + z.unbind(-1)[0][..., None],
    "written, whole numbers": lambda z: written(z, (slice(None), 1), torch.arange(5)),
    "expand, repeat": lambda z: (
        z[:, :1].expand(-1, 3, -1).unsqueeze(-1) * z.repeat(1, 1, 2)[..., None, :5].mT
    ),
    "pad": lambda z: nn.functional.pad(z, (1, 2, 0, 1)),
    "longer inverse": lambda z: fft.irfft(z, n=16),
    "where": lambda z: torch.where(z.real > 0, z, weights(z)),
    "masked_fill": lambda z: z.masked_fill(z.imag > 0, 1 + 2j),
    "cumsum": lambda z: torch.cumsum(z, -1),
    "unit": lambda z: torch.sgn(z),
    "written, real": lambda z: written(z, (slice(None), 0), z[:, 1].real),
    "written, number": lambda z: written(z, (slice(None), slice(1, 3), slice(0, 4, 2)), 2 - 1j),
    "written, places": lambda z: written(z, (slice(None), torch.tensor([0, 2])), z[:, 1:]),
    "written, mask": lambda z: written(z, z.real > 0, 0),
    "zeros": lambda z: torch.cat(
        [z, torch.zeros(z.shape[0], 3, 2, dtype=z.dtype), z.new_ones(len(z), 3, 1)], -1
    ),
    "ones alike": lambda z: torch.ones_like(z) / z + torch.full((3, 5), 1 + 2j).to(z),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    def parts(x):
        found = FUNCTIONS[name](fft.rfft(x) + weights(x.to(torch.cfloat)))
        return torch.view_as_real(found) if found.is_complex() else found

    assert_of_pytorch(Computed(parts), ROWS)


SPECTRA = {
    "rfft": lambda x: fft.rfft(x).angle(),
    "fft": lambda x: fft.fft(x).angle(),
    "inner axis": lambda x: fft.rfft(x.mT.repeat(1, 1, 2), dim=-2).angle(),
    "ihfft": lambda x: fft.ihfft(x).angle(),
    "stft": lambda x: torch.stft(
        x[:, 0], 4, center=False, window=torch.hann_window(4, dtype=x.dtype), return_complex=True
    ).angle(),
    "stft and back": lambda x: torch.istft(
        torch.stft(x[:, 0], 4, 2, window=torch.hann_window(4, dtype=x.dtype), return_complex=True),
        *(4, 2),
        window=torch.hann_window(4, dtype=x.dtype),
    ),
    "parameter, as it is": lambda x: (fft.rfft(x) * PARAMETER[:].to(x.new_zeros(1) + 0j)).abs(),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_spectra_of_real_numbers(name):
    """Where the imaginary part is 0 its sign decides between pi and -pi."""
    assert_of_pytorch(Computed(SPECTRA[name]), ROWS)


@pytest.mark.parametrize("name", ["power", "pad"])
def test_refused(name):
    function = {"power": lambda z: z**0.5, "pad": lambda z: nn.functional.pad(z, (1, 1), value=2.0)}[name]
    match = {
        "power": "to the power of 0.5; supported: 1, 2, 3, 4",
        "pad": r"pad .*\[2.0\]; supported: zeros",
    }[name]
    with pytest.raises(ConversionError, match=match):
        to_onnx(Computed(lambda x: function(fft.rfft(x)).abs()), ROWS)
