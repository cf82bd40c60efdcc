"""Estimators whose ONNX form is written here, not by skl2onnx: numbers and gradients are the estimator's own."""

import functools

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

import scipy.special
from onnxattr.converters.sklearn import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import BisectingKMeans, FeatureAgglomeration, KMeans, MiniBatchKMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA, FactorAnalysis, FastICA
from sklearn.ensemble import BaggingRegressor, StackingClassifier, StackingRegressor, VotingRegressor
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)
from sklearn.kernel_approximation import Nystroem, RBFSampler, SkewedChi2Sampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC
from support.estimators import close, differences, gradient, scaled

from onnxattr.attributions import GradientInput
from onnxattr.errors import ConversionError

IRIS, KINDS = load_iris(return_X_y=True)
# Off the grid of a tenth on which the flowers were measured: steps and quantiles have kinks there.
DATA = IRIS[:, :3] + np.random.default_rng(0).normal(size=(len(IRIS), 3)) * 0.01
BETWEEN = (DATA[3::30] + 0.013).astype(np.float32)
UNIT = MinMaxScaler((0.1, 0.9))
LOG = {"func": np.log, "inverse_func": np.exp}


def of(*functions):
    """A regressor of functions of the features, each of numbers between 0.1 and 0.9."""
    steps = [(str(place), FunctionTransformer(one)) for place, one in enumerate(functions)]
    return make_pipeline(UNIT, FeatureUnion(steps), Ridge(0.1))


def target(transformer, regressor=None):
    return TransformedTargetRegressor(regressor or Ridge(), transformer=transformer)


FUNCTIONS = {
    "powers": of(np.log, np.log1p, np.log2, np.log10, np.exp, np.expm1, np.exp2, np.sqrt, np.cbrt, np.square),
    "small numbers": of(lambda x: np.log1p(x * 1e-6) * 1e6, lambda x: np.expm1(-1e-6 * x) * 1e6),
    "angles": of(np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan, np.deg2rad, np.radians, np.degrees),
    "hyperbolic": of(np.sinh, np.cosh, np.tanh, np.arcsinh, np.arctanh, lambda x: np.arccosh(x + 1.5)),
    "signs": of(np.abs, np.fabs, np.negative, np.positive, np.reciprocal, lambda x: np.sign(x - 0.5) * x),
    "special": of(scipy.special.expit, scipy.special.logit, scipy.special.erf, scipy.special.exp10),
    "of one's own": of(lambda x: 2 * np.log1p(x) + x**2 - 1 / (1 + np.exp(-x)), lambda x: x * [1, 2, 3]),
    "limits": of(functools.partial(np.clip, a_min=0.3, a_max=0.7), lambda x: x.clip(0.4), lambda x: np.maximum(x, 0.2)),
    "arguments": make_pipeline(FunctionTransformer(np.clip, kw_args={"a_min": 2, "a_max": 5}), Ridge()),
    "none": make_pipeline(FunctionTransformer(), Ridge()),
    "of some columns": make_pipeline(
        ColumnTransformer([("a", FunctionTransformer(np.log), [0, 2]), ("b", StandardScaler(), [1])]), Ridge(0.1)
    ),
}  # fmt: skip
SPLINES = {
    f"{extrapolation}, degree {degree}{'' if bias else ', no bias'}": make_pipeline(
        SplineTransformer(degree=degree, extrapolation=extrapolation, include_bias=bias, knots=knots),
        Ridge(0.1),
    )
    for extrapolation, degree, bias, knots in (
        ("constant", 1, True, "uniform"),
        ("constant", 3, False, "quantile"),
        ("linear", 2, True, "quantile"),
        ("linear", 3, False, "uniform"),
        ("continue", 1, False, "uniform"),
        ("continue", 3, True, "quantile"),
        ("periodic", 2, True, "uniform"),
        ("periodic", 3, False, "uniform"),
        ("error", 3, True, np.linspace([3, 1, 0], [9, 6, 9], 4)),
    )
}
KERNELS = {
    **{
        f"KernelRidge, {kind}": KernelRidge(kernel=kind, alpha=0.1, gamma=0.02)
        for kind in ("linear", "rbf", "laplacian", "chi2", "additive_chi2", "poly", "sigmoid", "cosine")
    },
    "KernelRidge, defaults": KernelRidge(kernel="poly", alpha=0.1),
    "Nystroem": make_pipeline(Nystroem(random_state=0), Ridge(0.1)),
    "Nystroem, poly": make_pipeline(Nystroem("poly", degree=2, n_components=5, random_state=0), Ridge(0.1)),
    "Nystroem, gamma given twice": make_pipeline(
        Nystroem(gamma=0.02, kernel_params={"gamma": 5.0}, random_state=0), Ridge(0.1)
    ),
    "KernelRidge, parameters of a function": KernelRidge(
        kernel="rbf", alpha=0.1, kernel_params={"gamma": 5.0}
    ),
    "RBFSampler": make_pipeline(RBFSampler(random_state=0), Ridge()),
    "SkewedChi2Sampler": make_pipeline(SkewedChi2Sampler(random_state=0), Ridge()),
    **{
        f"GaussianProcess, {type(kernel).__name__}, {number}": GaussianProcessRegressor(
            kernel, alpha=0.1, normalize_y=True, optimizer=None
        )
        for number, kernel in enumerate(
            (
                RBF([1, 2, 3]),
                *(Matern(nu=nu) for nu in (0.5, 1.5, 2.5, np.inf)),
                RationalQuadratic(0.7, 1.3),
                ConstantKernel(2) * ExpSineSquared(1.5, 30.0) + DotProduct(0.5) + WhiteKernel(),
                DotProduct() ** 2,
            )
        )
    },
    "GaussianProcess, defaults": GaussianProcessRegressor(alpha=1e-3),
}
OTHERS = {
    "ColumnTransformer behind another": make_pipeline(
        ColumnTransformer([("a", StandardScaler(), [0, 1])], remainder="passthrough"),
        ColumnTransformer([("b", MinMaxScaler(), [0, 2])], remainder=StandardScaler()),
        Ridge(),
    ),
    "ColumnTransformer behind a step": make_pipeline(
        StandardScaler(), ColumnTransformer([("a", MinMaxScaler(), [2]), ("b", PCA(1), [0, 1])]), Ridge()
    ),
    "FastICA": make_pipeline(FastICA(2, random_state=0), Ridge()),
    "FactorAnalysis": make_pipeline(FactorAnalysis(2), Ridge()),
    "FeatureAgglomeration": make_pipeline(FeatureAgglomeration(2), Ridge()),
    "BernoulliRBM": make_pipeline(UNIT, BernoulliRBM(4, random_state=0), Ridge(0.1)),
    "KMeans": make_pipeline(KMeans(4, random_state=0), Ridge(0.1)),
    "MiniBatchKMeans": make_pipeline(MiniBatchKMeans(4, random_state=0), Ridge(0.1)),
    "BisectingKMeans": make_pipeline(BisectingKMeans(4, random_state=0), Ridge(0.1)),
    "SequentialFeatureSelector": make_pipeline(SequentialFeatureSelector(Ridge(), n_features_to_select=2), Ridge()),
}  # fmt: skip
TARGETS = {
    "logarithm": TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    "nothing": target(None),
    "StandardScaler": target(StandardScaler(), scaled(SVR())),
    "MinMaxScaler": target(MinMaxScaler()),
    "MaxAbsScaler": target(MaxAbsScaler()),
    "RobustScaler": target(RobustScaler()),
    "PowerTransformer": target(PowerTransformer()),
    "PowerTransformer, box-cox": target(PowerTransformer("box-cox", standardize=False)),
    "QuantileTransformer": target(QuantileTransformer(n_quantiles=20)),
    "QuantileTransformer, normal": target(QuantileTransformer(n_quantiles=20, output_distribution="normal")),
    "pipeline": target(make_pipeline(FunctionTransformer(np.log, np.exp), "passthrough", StandardScaler())),
    "at the end of a pipeline": scaled(TransformedTargetRegressor(Ridge(), **LOG)),
    "searched": GridSearchCV(
        TransformedTargetRegressor(scaled(Ridge()), **LOG), {"regressor__ridge__alpha": [1.0]}
    ),
    "in a bag": BaggingRegressor(TransformedTargetRegressor(Ridge(), **LOG), 2, random_state=0),
    "among voters": VotingRegressor([("a", TransformedTargetRegressor(Ridge(), **LOG)), ("b", FUNCTIONS["powers"])]),
    "stacked": StackingRegressor([("a", TransformedTargetRegressor(Ridge(), **LOG)), ("b", FUNCTIONS["powers"])]),
}  # fmt: skip
REGRESSORS = {**FUNCTIONS, **SPLINES, **KERNELS, **OTHERS, **TARGETS}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", REGRESSORS)
def test_regressors(case):
    estimator = REGRESSORS[case].fit(DATA, IRIS[:, 3])
    explained = GradientInput(to_onnx(estimator, DATA))
    found = explained.explain(BETWEEN, np.ones((len(BETWEEN), 1))) / BETWEEN
    close(found, differences(lambda rows: estimator.predict(rows).reshape(len(rows)), BETWEEN))


@pytest.mark.parametrize("case", [case for case in SPLINES if "error" not in case])
def test_splines_beyond_their_knots(case):
    estimator = SPLINES[case].fit(DATA, IRIS[:, 3])
    beyond = np.stack([DATA.min(0) - 0.4, DATA.min(0), DATA.max(0), DATA.max(0) + 0.7]).astype(np.float32)
    found = GradientInput(to_onnx(estimator, DATA)).predict(beyond)
    close(found, estimator.predict(beyond.astype(np.float64))[:, None])


@pytest.mark.parametrize("estimator", [KMeans(3, random_state=0), scaled(KMeans(3, random_state=0))])
def test_clusters_are_explained_by_their_distances(estimator):
    x = IRIS[3::30].astype(np.float32)
    model = to_onnx(estimator.fit(IRIS), IRIS)
    close(GradientInput(model).predict(x), estimator.transform(x.astype(np.float64)))
    found = GradientInput(model).explain(x, np.full(len(x), 1)) / x
    close(found, differences(lambda rows: estimator.transform(rows)[:, 1], x))


def test_where_splines_refuse_a_row_the_model_gives_no_number():
    estimator = SPLINES["error, degree 3"].fit(DATA, IRIS[:, 3])
    assert np.isnan(GradientInput(to_onnx(estimator, DATA)).predict(np.full((1, 3), 99, np.float32))).all()


@pytest.mark.parametrize("value", [-1.7, -0.3, 0.4, 2.1])
@pytest.mark.parametrize("exponent", [0.0, 0.7, 2.0, 2.5, -1.2])
def test_the_way_back_of_power_transformers(exponent, value):
    """On both sides of 0, and for exponents that make one side a logarithm."""
    data = np.linspace(-1, 1, 20)[:, None]
    estimator = target(PowerTransformer(standardize=False)).fit(data, data[:, 0] + 2)
    estimator.transformer_.lambdas_[:] = exponent
    estimator.regressor_.coef_[:], estimator.regressor_.intercept_ = 1.0, 0.0
    expected = estimator.predict([[np.float32(value)]])
    found = GradientInput(to_onnx(estimator, data, verify=False)).predict(np.full((1, 1), value, np.float32))
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


@pytest.mark.parametrize("columns", [slice(0, 3), slice(0, 1)], ids=["one of three", "alone"])
@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_std=False),
        RobustScaler(),
        MinMaxScaler(),
        MinMaxScaler((-1, 2), clip=True),
    ],
    ids=str,
)
def test_scalers_of_features_far_from_zero(scaler, columns):
    """Seconds since 1970 of one day: float32 knows them to 128, and their mean in float32 is no nearer."""
    data = (DATA * [3e4, 1, 1] + [1.7e9, 0, 0]).astype(np.float32).astype(np.float64)[:, columns]
    estimator = make_pipeline(scaler, Ridge()).fit(data, IRIS[:, 3])
    x = (data[3::30] + [1024, 0.013, 0.013][columns]).astype(np.float32)
    explained = GradientInput(to_onnx(estimator, data[:5]))
    close(explained.predict(x), estimator.predict(x.astype(np.float64))[:, None])
    close(explained.explain(x, np.ones((len(x), 1))) / x, differences(estimator.predict, x))


@pytest.mark.parametrize("offset", [1e5, 1e7])
@pytest.mark.parametrize(
    "regressor",
    [Ridge(), VotingRegressor([("a", Ridge()), ("b", LinearRegression())]), target(StandardScaler())],
    ids=lambda e: type(e).__name__,
)
def test_linear_regression_on_features_far_from_zero(regressor, offset):
    """They are not scaled: products of the features with the weights cancel against the intercept."""
    data = (DATA * [offset / 1e4, 1, 1] + [offset, 0, 0]).astype(np.float32).astype(np.float64)
    several = np.stack([IRIS[:, 3], IRIS[:, 0]], 1) if isinstance(regressor, Ridge) else IRIS[:, 3]
    estimator = regressor.fit(data, several)
    x = data[3::30].astype(np.float32)
    explained = GradientInput(to_onnx(estimator, data))
    expected = estimator.predict(x.astype(np.float64)).reshape(len(x), -1)
    close(explained.predict(x), expected)
    ones = np.eye(1, expected.shape[1]).repeat(len(x), 0)
    slopes = differences(lambda rows: estimator.predict(rows).reshape(len(rows), -1)[:, 0], x)
    close(explained.explain(x, ones) / x, slopes)


def test_normalizers_by_the_largest_magnitude():
    """skl2onnx divides by the largest value; here it is negative or smaller than others."""
    data = DATA - 4
    estimator = make_pipeline(Normalizer("max"), Ridge()).fit(data, IRIS[:, 3])
    x = np.concatenate([data[3::30], -data[3::30], np.zeros((1, 3))]).astype(np.float32)
    for opset in (13, 17, 18, 22):
        explained = GradientInput(to_onnx(estimator, data, opset=opset))
        close(explained.predict(x), estimator.predict(x.astype(np.float64))[:, None])
        found = explained.explain(x[:-1], np.ones((len(x) - 1, 1))) / x[:-1]
        close(found, differences(estimator.predict, x[:-1]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [KINDS, KINDS > 1], ids=["three", "two"])
@pytest.mark.parametrize("inner", [LinearSVC(), SVC()], ids=["LinearSVC", "SVC"])
def test_scores_inside_pipelines_are_calibrated(inner, targets):
    """Of classifiers without probabilities, skl2onnx asks for the scores of those that are no pipelines alone."""
    estimator = CalibratedClassifierCV(scaled(inner)).fit(IRIS, targets)
    x = IRIS[3::30].astype(np.float32)
    expected = differences(lambda rows: estimator.predict_proba(rows)[:, 1], x)
    close(gradient(to_onnx(estimator, IRIS), x, 1), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [KINDS, KINDS > 1], ids=["three", "two"])
@pytest.mark.parametrize("inner", [LogisticRegression(), scaled(LinearSVC())], ids=["logistic", "margins"])
def test_isotonic_calibration_is_interpolated(inner, targets):
    """skl2onnx takes the nearest threshold: wrong between two, without a gradient (onnx/sklearn-onnx#1151)."""
    estimator = CalibratedClassifierCV(inner, method="isotonic", cv=3).fit(IRIS, targets)
    rng = np.random.default_rng(0)
    x = (IRIS[rng.integers(0, len(IRIS), 300)] + rng.normal(0, 0.5, (300, 4))).astype(np.float32)
    model = to_onnx(estimator, x[:1])
    expected = estimator.predict_proba(x)
    found = GradientInput(model).predict(x)
    np.testing.assert_allclose(found, expected[:, -found.shape[1] :], atol=2e-6)
    slopes = differences(lambda rows: estimator.predict_proba(rows)[:, 1], x[:40])
    assert (slopes != 0).any()
    close(gradient(model, x[:40], 1), slopes)


@pytest.mark.filterwarnings("ignore")
def test_scores_inside_pipelines_are_stacked():
    estimator = StackingClassifier([("a", scaled(LinearSVC())), ("b", GaussianNB())]).fit(IRIS, KINDS)
    x = IRIS[3::30].astype(np.float32)
    close(
        gradient(to_onnx(estimator, IRIS), x, 1), differences(lambda r: estimator.predict_proba(r)[:, 1], x)
    )


def test_what_skl2onnx_knows_is_left_as_it_was():
    import skl2onnx.common._registration as registration
    from skl2onnx._supported_operators import sklearn_operator_name_map

    before = dict(sklearn_operator_name_map), dict(registration._converter_pool)
    to_onnx(TARGETS["logarithm"].fit(DATA, IRIS[:, 3]), DATA)
    assert (sklearn_operator_name_map, registration._converter_pool) == before


REFUSED = {
    "function": (make_pipeline(FunctionTransformer(lambda x: x / x.max()), Ridge()), "lambda.*without it"),
    "array": (make_pipeline(FunctionTransformer(np.asarray), Ridge()), "asarray.*array of its argument"),
    "kernel": (make_pipeline(Nystroem(lambda a, b: a @ b), Ridge()), "kernel.*laplacian"),
    "kernel of a process": (GaussianProcessRegressor(Matern(nu=1.1), alpha=0.1, optimizer=None), "0.5, 1.5, 2.5"),
    "target": (target(PCA(1)), "PCA.*regressor_"),
    "function of a target": (
        TransformedTargetRegressor(Ridge(), func=np.sqrt, inverse_func=lambda x: x * x.size, check_inverse=False),
        "TransformedTargetRegressor calls.*regressor_",
    ),
    "spline": (make_pipeline(SplineTransformer(degree=1, extrapolation="linear"), Ridge()), "degrees from 2"),
    "pooling": (make_pipeline(FeatureAgglomeration(2, pooling_func=np.max), Ridge()), "supported: numpy.mean"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    estimator, match = REFUSED[case]
    with pytest.raises(ConversionError, match=match):
        to_onnx(estimator.fit(DATA, IRIS[:, 3]), DATA)
