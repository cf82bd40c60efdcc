"""Estimators with parts that change in steps beside others: what is said of them."""

import warnings

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.sklearn import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import Binarizer, FunctionTransformer, KBinsDiscretizer, StandardScaler
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


@pytest.mark.filterwarnings("ignore")
def test_trees_of_files_that_no_converter_has_marked_are_said():
    import skl2onnx

    members = [("a", AdaBoostClassifier(n_estimators=2)), *VOTE]
    vote = VotingClassifier(members, voting="soft", flatten_transform=False).fit(IRIS, KINDS)
    model = skl2onnx.to_onnx(vote, IRIS[:1].astype(np.float32), options={"zipmap": False})
    with pytest.warns(
        UserWarning, match="change in steps, which have no gradient: TreeEnsembleClassifier\\."
    ):
        IntegratedGradients(model, output="probabilities")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        SVC(decision_function_shape="ovo"),
        CalibratedClassifierCV(SVC(decision_function_shape="ovo"), cv=2),
        OneVsRestClassifier(SVC()),
        VotingClassifier([("a", KNeighborsClassifier(weights="distance")), *VOTE], voting="soft"),
        VotingClassifier([("a", GaussianNB()), *VOTE], voting="soft"),
    ],
)
def test_the_ways_out_of_steps_are_silent(estimator):
    model = to_onnx(estimator.fit(IRIS, KINDS), IRIS)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Saliency(model)
    assert not [one for one in told if "in steps" in str(one.message)]
