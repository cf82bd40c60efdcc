"""Estimators with parts that change in steps beside others: what is said of them."""

import warnings

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.sklearn import to_onnx
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import AdaBoostClassifier, StackingClassifier, VotingClassifier, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, NuSVC
from support.iris import IRIS, KINDS

from onnxattr.attributions import IntegratedGradients, Saliency

VOTE = [("b", LogisticRegression())]


def beside_scaled(transformer):
    return make_pipeline(FeatureUnion([("a", transformer), ("b", StandardScaler())]), LogisticRegression())


STEPPED = [
    ("AdaBoostClassifier", VotingClassifier([("a", AdaBoostClassifier(n_estimators=2)), *VOTE], voting="soft")),
    ("KNeighborsClassifier", VotingClassifier([("a", KNeighborsClassifier()), *VOTE], voting="soft")),
    ("KNeighborsClassifier", StackingClassifier([("a", KNeighborsClassifier()), *VOTE], cv=2)),
    ("BernoulliNB", VotingClassifier([("a", BernoulliNB(binarize=2.0)), *VOTE], voting="soft")),
    ("KBinsDiscretizer", beside_scaled(KBinsDiscretizer(3))),
    ("Binarizer", beside_scaled(Binarizer(threshold=2.0))),
    ("QuantileTransformer", beside_scaled(QuantileTransformer(n_quantiles=150))),
    ("FunctionTransformer", beside_scaled(FunctionTransformer(np.floor))),
    ("SVC", SVC()),
    ("SVC", CalibratedClassifierCV(SVC(), cv=2)),
    ("NuSVC", make_pipeline(StandardScaler(), NuSVC())),
    ("OneVsOneClassifier", OneVsOneClassifier(LogisticRegression())),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "estimator"), STEPPED)
def test_parts_that_change_in_steps_are_said(name, estimator):
    """Their effect is missing in maps, which do not add up to the difference of scores."""
    model = to_onnx(estimator.fit(IRIS, KINDS), IRIS)
    x = IRIS[::30].astype(np.float32)
    with pytest.warns(UserWarning, match=f"change in steps, which have no gradient: {name}\\."):
        found = IntegratedGradients(model, baseline_value=0.5, steps=100)(x, np.ones(len(x), int))
    function = getattr(estimator, "predict_proba", getattr(estimator, "decision_function", None))
    change = function(x.astype(np.float64))[:, 1] - function(np.full(x.shape, 0.5))[:, 1]
    assert np.abs(np.asarray(found).sum(1) - change).max() > 0.02


#: What files of skl2onnx itself hold, by the operators that are said to step; none where a gradient has everything.
RAW = [
    ("TreeEnsembleClassifier", VotingClassifier(
        [("a", AdaBoostClassifier(n_estimators=2)), *VOTE], voting="soft", flatten_transform=False)),
    ("TopK", StackingClassifier([("a", KNeighborsClassifier()), *VOTE], cv=2)),
    ("TopK", VotingRegressor([("a", KNeighborsRegressor()), ("b", Ridge())])),
    ("ArgMax", beside_scaled(KBinsDiscretizer(3, encode="ordinal"))),
    ("Greater", beside_scaled(Binarizer(threshold=2.0))),
    ("Less", SVC()),
    ("ArgMax", OneVsOneClassifier(LogisticRegression())),
    ("", OneVsRestClassifier(LogisticRegression())),
    ("", CalibratedClassifierCV(LogisticRegression(), cv=2)),
    ("", beside_scaled(QuantileTransformer(n_quantiles=20))),
    ("", make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression())),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("operator", "estimator"), RAW)
def test_files_that_no_converter_has_marked(operator, estimator):
    import skl2onnx

    options = {"zipmap": False} if is_classifier(estimator) else None
    model = skl2onnx.to_onnx(estimator.fit(IRIS, KINDS), IRIS[:1].astype(np.float32), options=options)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Saliency(model, output=model.graph.output[-1].name)
    said = [str(one.message) for one in told if "no gradient" in str(one.message)]
    assert [f"no gradient: {operator}." in one for one in said] == [True] * bool(operator), said


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        SVC(decision_function_shape="ovo"),
        CalibratedClassifierCV(SVC(decision_function_shape="ovo"), cv=2),
        OneVsRestClassifier(SVC()),
        VotingClassifier([("a", KNeighborsClassifier(weights="distance")), *VOTE], voting="soft"),
        VotingClassifier([("a", GaussianNB()), *VOTE], voting="soft"),
        make_pipeline(SplineTransformer(), LogisticRegression()),
        make_pipeline(QuantileTransformer(n_quantiles=3), LogisticRegression()),
        TransformedTargetRegressor(Ridge(), transformer=QuantileTransformer(n_quantiles=50)),
    ],
)
def test_the_ways_out_of_steps_are_silent(estimator):
    model = to_onnx(estimator.fit(IRIS, KINDS), IRIS)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Saliency(model)
    assert not [one for one in told if "in steps" in str(one.message)]
