"""Estimators that skl2onnx has no form for: imputers in rounds, isotonic lines, sketches, components, envelopes."""

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.common.verify import values
from onnxattr.converters.sklearn import to_onnx
from sklearn.cluster import DBSCAN, Birch
from sklearn.covariance import EllipticEnvelope
from sklearn.cross_decomposition import CCA, PLSCanonical
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import AdditiveChi2Sampler, PolynomialCountSketch
from sklearn.linear_model import PoissonRegressor, Ridge, SGDOneClassSVM
from sklearn.manifold import Isomap
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.tree import DecisionTreeRegressor
from support.estimators import close, differences, scaled
from support.iris import IRIS, KINDS

from onnxattr import vjp
from onnxattr.attributions import IntegratedGradients
from onnxattr.errors import ConversionError

# Off the grid of a tenth on which the flowers were measured.
DATA = IRIS + np.random.default_rng(0).normal(size=IRIS.shape) * 0.01
GAPS = np.where(np.random.default_rng(1).random(DATA.shape) < 0.15, np.nan, DATA)
WITHOUT_ONE = np.concatenate([GAPS, np.full((len(GAPS), 1), np.nan)], 1)
UNIT = MinMaxScaler((0.1, 0.9))
SEVERAL = np.stack([KINDS, KINDS**2, DATA[:, 0]], 1)


def gradient(model, x, column):
    """Of one column of the last output, (N, features)."""
    output = model.graph.output[-1]
    (width,) = (size.dim_value for size in output.type.tensor_type.shape.dim[1:])
    fed = {"X": x, f"{output.name}_cotangent": np.eye(width, dtype=np.float32)[[column] * len(x)]}
    return values(vjp(model, outputs=[output.name]), ["X_gradient"], fed)["X_gradient"]


def both(estimator, name, x, sample, column=0):
    """Compare the last output and its gradient with a method of the estimator."""
    model = to_onnx(estimator, sample)

    def numbers(rows):
        return np.asarray(getattr(estimator, name)(rows), np.float64).reshape(len(rows), -1)

    close(values(model, [], {"X": x})[model.graph.output[-1].name], numbers(x.astype(np.float64)))
    close(gradient(model, x, column), differences(lambda rows: numbers(rows)[:, column], x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("imputer", "data"),
    [
        (IterativeImputer(random_state=0), GAPS),
        (IterativeImputer(max_iter=3, initial_strategy="median", add_indicator=True, min_value=0.5), GAPS),
        (IterativeImputer(max_iter=2, imputation_order="roman", max_value=[5, 3, 4, 1]), GAPS),
        (IterativeImputer(max_iter=4, n_nearest_features=2, random_state=1, skip_complete=True), GAPS),
        (IterativeImputer(scaled(Ridge()), max_iter=4), GAPS),
        (IterativeImputer(max_iter=0), GAPS),
        (IterativeImputer(max_iter=4), WITHOUT_ONE),
        (IterativeImputer(max_iter=4, initial_strategy="constant", fill_value=1.5), WITHOUT_ONE),
        (IterativeImputer(max_iter=4, keep_empty_features=True), WITHOUT_ONE),
    ],
    ids=["default", "median", "roman", "nearest", "pipeline", "no round", "empty", "constant", "kept"],
)
def test_imputers_in_rounds(imputer, data):
    both(make_pipeline(imputer, Ridge()).fit(data, KINDS), "predict", data[3::10].astype(np.float32), data)


def test_a_row_of_which_nothing_is_known_stays_as_it_was_filled_first():
    estimator = IterativeImputer(max_iter=3, random_state=0).fit(GAPS)
    row = np.full((1, 4), np.nan, np.float32)
    found = values(to_onnx(estimator, GAPS), [], {"X": row})
    close(found["variable"], estimator.transform(row))


@pytest.mark.parametrize(
    ("estimator", "name", "targets"),
    [
        (PLSCanonical(2), "predict", SEVERAL),
        (scaled(CCA(2)), "predict", SEVERAL),
        (EllipticEnvelope(random_state=0), "decision_function", None),
        (scaled(EllipticEnvelope(random_state=0, contamination=0.2)), "decision_function", None),
        (SGDOneClassSVM(random_state=0), "decision_function", None),
        (Birch(n_clusters=3), "transform", None),
        (make_pipeline(Birch(threshold=0.7), Ridge()), "predict", KINDS),
        *(
            (make_pipeline(UNIT, AdditiveChi2Sampler(sample_steps=n), Ridge()), "predict", KINDS)
            for n in (1, 2, 3)
        ),
        (
            make_pipeline(UNIT, AdditiveChi2Sampler(sample_steps=4, sample_interval=0.3), Ridge()),
            "predict",
            KINDS,
        ),
        (make_pipeline(PolynomialCountSketch(n_components=25, random_state=0), Ridge()), "predict", KINDS),
        (
            scaled(
                make_pipeline(
                    PolynomialCountSketch(degree=3, coef0=0.5, gamma=0.3, n_components=24, random_state=0),
                    Ridge(),
                )
            ),
            "predict",
            KINDS,
        ),
        (make_pipeline(SelectKBest(k=1), IsotonicRegression(out_of_bounds="clip")), "predict", KINDS),
        (
            make_pipeline(
                SelectKBest(k=1), IsotonicRegression(increasing=False, y_min=0.2, out_of_bounds="clip")
            ),
            "predict",
            -DATA[:, 3],
        ),
    ],
)
def test_forms(estimator, name, targets):
    both(estimator.fit(DATA, targets), name, (DATA[3::10] + 0.003).astype(np.float32), DATA)


def test_additive_chi2_of_nothing_is_nothing():
    estimator = AdditiveChi2Sampler().fit(np.abs(DATA))
    found = values(to_onnx(estimator, np.abs(DATA)), [], {"X": np.zeros((1, 4), np.float32)})
    assert not found["variable"].any()


def test_isotonic_lines_have_ends():
    estimator = IsotonicRegression().fit(DATA[:, 2], DATA[:, 3])
    model = to_onnx(estimator, DATA[:, 2:3])
    x = np.array([[0.2], [2.7], [99.0]], np.float32)
    np.testing.assert_allclose(values(model, [], {"X": x})["variable"][:, 0], estimator.predict(x), rtol=1e-5)


def test_scores_of_one_class_add_up():
    """In one column, as those of a OneClassSVM are, so that targets are weights (n, 1)."""
    model = to_onnx(SGDOneClassSVM(random_state=0).fit(DATA), DATA)
    found = IntegratedGradients(model)(DATA[:3].astype(np.float32), np.ones((3, 1)))
    assert (found.relative_gap < 1e-5).all()


@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        (IterativeImputer(DecisionTreeRegressor(max_depth=2), max_iter=1), "supported: linear estimators"),
        (IterativeImputer(PoissonRegressor(), max_iter=1), "supported: linear estimators"),
        (IterativeImputer(sample_posterior=True, max_iter=1), "sample_posterior=False"),
        (
            make_pipeline(KNNImputer(n_neighbors=3), Ridge()),
            "takes any of several rows that are equally near",
        ),
        (make_pipeline(Isomap(), Ridge()), "change in steps.*KernelPCA"),
        (DBSCAN(), "labels alone, which are piecewise constant"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_refusals(estimator, match):
    data = np.round(IRIS) if isinstance(estimator, DBSCAN) or "Isomap" in str(estimator) else np.round(GAPS)
    with pytest.raises(ConversionError, match=match):
        to_onnx(estimator.fit(data, KINDS), data)
