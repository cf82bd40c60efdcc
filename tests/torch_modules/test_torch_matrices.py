"""Functions of matrices that PyTorch's exporter does not write, beside PyTorch in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.torch import to_onnx  # noqa: E402
from support.torch_modules import Computed, assert_outputs_and_gradient  # noqa: E402

from onnxattr.errors import ConversionError  # noqa: E402

linalg = torch.linalg
RIGHT = torch.tensor([[1.0, 2], [3, -1], [0, 1]])


def definite(x):
    return x @ x.mT + torch.eye(3).to(x)


def normal(x, **shape):
    return torch.distributions.MultivariateNormal(x[:, 0], **shape, validate_args=False).log_prob(x[:, 2])


FUNCTIONS = {
    "inv": lambda x: linalg.inv(x),
    "matrix_power": lambda x: linalg.matrix_power(x, -2),
    "solve": lambda x: linalg.solve(x, RIGHT.to(x)),
    "solve, vectors": lambda x: linalg.solve(x, x[:, 0]),
    "solve, one vector": lambda x: linalg.solve(x, RIGHT[:, 0].to(x)),
    "solve, from the right": lambda x: linalg.solve(x, x[:, :2], left=False),
    "slogdet": lambda x: torch.stack(linalg.slogdet(x)).T,
    "logdet of small numbers": lambda x: torch.logdet(definite(x) * 1e-16),
    "cholesky": lambda x: linalg.cholesky(definite(x)),
    "cholesky, upper": lambda x: linalg.cholesky(definite(x), upper=True),
    "cholesky of one triangle": lambda x: linalg.cholesky(0.1 * (x + x.mT) + 3 * torch.eye(3).to(x)),
    "solve_triangular": lambda x: linalg.solve_triangular(x, RIGHT.to(x), upper=False),
    "solve_triangular, upper": lambda x: linalg.solve_triangular(x, x[:, :, :1], upper=True),
    "solve_triangular, from the right": lambda x: linalg.solve_triangular(
        x, RIGHT.T.to(x), upper=True, left=False
    ),
    "solve_triangular, ones": lambda x: linalg.solve_triangular(x, x.exp(), upper=False, unitriangular=True),
    "normal density": lambda x: normal(x, covariance_matrix=definite(x)),
    "normal density of a factor": lambda x: normal(
        x, scale_tril=torch.diag_embed(x[:, 1].exp()) + x.tril(-1)
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    x = np.random.default_rng(3).normal(size=(4, 3, 3)).astype(np.float32)
    function = FUNCTIONS[name]
    assert_outputs_and_gradient(Computed(lambda x: function(x)), x, torch.float64, atol=1e-5, examples=x[:2])


def test_large_matrices_are_refused():
    with pytest.raises(
        ConversionError, match=r"torch.linalg.inv of matrices of 17 columns; supported: .* up to 16"
    ):
        to_onnx(Computed(lambda x: linalg.inv(x)), np.random.default_rng(0).normal(size=(2, 17, 17)))
