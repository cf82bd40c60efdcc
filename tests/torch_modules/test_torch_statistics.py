"""Functions of distributions and of groups that PyTorch's exporter does not write, beside PyTorch in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.common.verify import values  # noqa: E402
from onnxattr.converters.torch import to_onnx  # noqa: E402
from support.torch_modules import Computed, assert_outputs_and_gradient  # noqa: E402

from onnxattr.compile.gradient import vjp  # noqa: E402

RNG = np.random.default_rng(0)
SMALL, PROBABILITY = RNG.uniform(0.2, 4, (3, 20)), RNG.uniform(1e-6, 1 - 1e-6, (3, 20))
LARGE = np.exp(RNG.uniform(1, 8, (3, 20)))
NEGATIVE = np.floor(RNG.uniform(-6, 6, (3, 20))) + RNG.uniform(0.1, 0.9, (3, 20))
ANY = RNG.normal(size=(3, 20))
BOUNDS = torch.tensor([-1.0, -0.25, 0.5, 2])


def gamma_density(x):
    return torch.distributions.Gamma(x.exp(), (2 * x).exp(), validate_args=False).log_prob(x.sigmoid())


def binomial_density(x):
    return torch.distributions.NegativeBinomial(x.exp(), logits=x, validate_args=False).log_prob(
        torch.ones(())
    )


def normal_quantile(x):
    return torch.distributions.Normal(x, x.exp(), validate_args=False).icdf(x.sigmoid())


def beta_density(x):
    return torch.distributions.Beta(x.exp(), x.sigmoid(), validate_args=False).log_prob(
        torch.full_like(x, 0.3)
    )


def placed(x, **settings):
    return x * torch.searchsorted(BOUNDS.to(x), x, **settings)


def placed_in_rows(x):
    return x * torch.searchsorted(x.sort(-1)[0], x.round(), side="right", out_int32=True)


def sparsemax(x):
    places, ordered = torch.arange(1, x.shape[1] + 1.0).to(x), x.sort(dim=-1, descending=True)[0]
    sums = ordered.cumsum(-1)
    count = (1 + places * ordered > sums).sum(-1, keepdim=True)
    return torch.clamp(x - (sums.gather(-1, count - 1) - 1) / count, min=0)


FUNCTIONS = {
    "lgamma": (torch.lgamma, SMALL),
    "lgamma, large": (torch.lgamma, LARGE),
    "lgamma, negative": (torch.lgamma, NEGATIVE),
    "special.gammaln": (torch.special.gammaln, SMALL),
    "mvlgamma": (lambda x: torch.mvlgamma(x + 1, 3), SMALL),
    "digamma": (torch.digamma, SMALL),
    "digamma, large": (torch.digamma, LARGE),
    "digamma, negative": (torch.digamma, NEGATIVE),
    "special.psi": (torch.special.psi, SMALL),
    "gamma density": (gamma_density, ANY),
    "beta density": (beta_density, ANY),
    "binomial density": (binomial_density, ANY),
    "erfinv": (torch.erfinv, 2 * PROBABILITY - 1),
    "special.ndtri": (torch.special.ndtri, PROBABILITY),
    "normal quantile": (normal_quantile, ANY),
    "searchsorted": (placed, ANY),
    "searchsorted, right": (lambda x: placed(x.round(), right=True), ANY),
    "searchsorted in rows": (placed_in_rows, ANY),
    "searchsorted of a number": (lambda x: x * torch.searchsorted(BOUNDS.to(x), 0.5), ANY),
    "range of an integer and a fraction": (lambda x: x * torch.arange(1, 20.5).to(x), ANY),
    "range of a size and a fraction": (lambda x: x * torch.arange(1, x.shape[1] + 1.0).to(x), ANY),
    "range of a fraction and rows": (lambda x: x * torch.arange(0.5, x.shape[0]).to(x)[:, None], ANY),
    "range, typed": (lambda x: x * torch.arange(1, 21.5, dtype=torch.int64), ANY),
    "sparsemax": (sparsemax, 3 * ANY),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    function, x = FUNCTIONS[name]
    x = x.astype(np.float32)
    assert_outputs_and_gradient(Computed(lambda x: function(x)), x, torch.float64, atol=1e-6, examples=x[:2])


EDGES = {
    "lgamma": (torch.lgamma, [0, -3, np.inf, -np.inf, np.nan]),
    "digamma": (torch.digamma, [0, np.inf, np.nan]),
    "erfinv": (torch.erfinv, [0, 1, -1, 2, np.nan]),
    "ndtri": (torch.special.ndtri, [0.5, 0, 1, -1, np.nan]),
    "searchsorted": (lambda x: torch.searchsorted(BOUNDS, x).to(x), [np.inf, -np.inf, np.nan, 0.5]),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges(name):
    function, row = EDGES[name]
    model = to_onnx(Computed(lambda x: function(x)), np.full((2, len(row)), 0.75, np.float32))
    x, output = np.array([row], np.float32), model.graph.output[0].name
    found = values(model, [output], {model.graph.input[0].name: x})[output]
    np.testing.assert_array_equal(found, function(torch.tensor(x)).numpy())


def product_of_torch(x, matrices, offs):
    """Traced for bfloat16 alone, in which these small whole numbers are exact."""
    return torch.nn.functional.grouped_mm(x.bfloat16(), matrices.bfloat16(), offs=offs).float()


def product_of_transformers(x, matrices, offs):
    return torch.ops.transformers.grouped_mm_fallback(x, matrices, offs)


PRODUCTS = {"torch": product_of_torch, "transformers": product_of_transformers}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(
    "ends", [[3, 3, 7, 20], [1, 4, 4, 18]], ids=["all rows", "rows behind the last group"]
)
def test_products_of_groups(name, ends):
    """Rows behind the last group are undefined in PyTorch, and 0 here."""
    if name == "transformers":
        pytest.importorskip("transformers.integrations.moe", reason="transformers is not installed")
    draw = np.random.default_rng(0).integers
    x, ct, matrices = (draw(-2, 3, shape).astype(np.float32) for shape in ((20, 8), (20, 16), (4, 8, 16)))
    product, offs = PRODUCTS[name], torch.tensor(ends, dtype=torch.int32)
    module = Computed(lambda x: product(x, torch.tensor(matrices), offs))
    model = to_onnx(module, x, verify=ends[-1] == len(x), dynamic_batch=False)
    inside, output = model.graph.input[0].name, model.graph.output[0].name
    found = values(vjp(model), [output, f"{inside}_gradient"], {inside: x, f"{output}_cotangent": ct})
    group = np.searchsorted(ends, np.arange(len(x)), side="right")
    used = np.concatenate([matrices, np.zeros((1, 8, 16))])[group]
    np.testing.assert_array_equal(found[output], np.einsum("sk,skn->sn", x, used))
    np.testing.assert_array_equal(found[f"{inside}_gradient"], np.einsum("sn,skn->sk", ct, used))


POSITIVE, PARTS = torch.tensor([0.3, 0.2, 2, 0.5]), torch.tensor([0.1, 0.2, 0.3, 0.4])
DENSITIES = torch.distributions
AT_ZERO = {
    "xlogy": lambda x: torch.xlogy(x, POSITIVE.to(x)),
    "xlogy, number": lambda x: torch.xlogy(x, 0.3) + torch.xlogy(3, x + 1),
    "xlogy of nothing": lambda x: torch.xlogy(x, (x > 0).to(x) / 2),
    "xlog1py": lambda x: torch.special.xlog1py(x, POSITIVE.to(x)),
    "xlog1py, number": lambda x: torch.special.xlog1py(x, -0.3) + torch.special.xlog1py(3, x),
    "xlog1py of nothing": lambda x: torch.special.xlog1py(x, (x > 0).to(x) * 1.5 - 1),
    "counts": lambda x: DENSITIES.Poisson(x.new_tensor(2.5), validate_args=False).log_prob(x),
    "exponential": lambda x: DENSITIES.Gamma(x + 1, 2.0, validate_args=False).log_prob(POSITIVE.to(x)),
    "uniform": lambda x: DENSITIES.Dirichlet(x + 1, validate_args=False).log_prob(PARTS.to(x)),
    "atan2": lambda x: torch.atan2(x - 1, x.roll(1, 1) - 1),
    "angle": lambda x: torch.complex(x.roll(1, 1) - 1, x - 1).angle(),
    "selu": lambda x: torch.nn.functional.selu(x - 1),
    "rrelu": lambda x: torch.nn.functional.rrelu(x - 1, 0.25, 0.75),
}


@pytest.mark.parametrize("name", AT_ZERO)
def test_slopes_at_zero(name):
    """Counts of 0, concentrations of 1 and points on an axis; the converter is shown ones."""
    x = np.array([[0, 1, 3, 0], [1, 0, 2, 1]], np.float32)
    assert_outputs_and_gradient(Computed(AT_ZERO[name]), x, torch.float64, atol=1e-6)
