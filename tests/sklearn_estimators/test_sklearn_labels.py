"""Classifiers around others, with thresholds and of several labels: probabilities, gradients and labels."""

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.common.verify import Session
from onnxattr.converters.sklearn import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_selection import RFE, RFECV
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC, NuSVC
from support.estimators import close, differences, gradient, scaled
from support.iris import IRIS, KINDS

from onnxattr.errors import ConversionError

pd = pytest.importorskip("pandas")

TWO = KINDS > 1
NAMES = np.array(["no", "yes"])[TWO.astype(int)]
SOME = np.where(np.arange(len(KINDS)) % 3 == 0, -1, KINDS)
LABELS = np.stack([KINDS == 0, IRIS[:, 0] > 5.8, KINDS == 2], 1).astype(int)
RECALL = make_scorer(recall_score, pos_label="yes")
CASES = {
    "tuned": (TunedThresholdClassifierCV(LogisticRegression(), scoring="recall"), TWO),
    "tuned, names": (TunedThresholdClassifierCV(LogisticRegression(), scoring=RECALL), NAMES),
    "fixed": (FixedThresholdClassifier(LogisticRegression(), threshold=0.2), TWO.astype(int)),
    "fixed, first class": (FixedThresholdClassifier(LogisticRegression(), threshold=0.2, pos_label="no"), NAMES),
    "fixed, floats": (FixedThresholdClassifier(LogisticRegression(), threshold=0.2), TWO.astype(float)),
    "fixed, scores": (scaled(FixedThresholdClassifier(LinearSVC(), threshold=0.7)), TWO),
    "fixed, first class of scores": (FixedThresholdClassifier(LinearSVC(), threshold=0.7, pos_label="no"), NAMES),
    "fixed, default": (FixedThresholdClassifier(RidgeClassifier()), TWO),
    "fixed, searched": (
        GridSearchCV(FixedThresholdClassifier(LogisticRegression(), threshold=0.2), {"estimator__C": [1.0]}), TWO,
    ),
    "trained by itself": (SelfTrainingClassifier(LogisticRegression()), SOME),
    "trained by itself, last": (scaled(SelfTrainingClassifier(LogisticRegression())), SOME),
    "trained by itself, voting": (
        VotingClassifier([("a", SelfTrainingClassifier(LogisticRegression())), ("b", GaussianNB())], voting="soft"),
        KINDS,
    ),
    "selecting": (RFE(LogisticRegression(), n_features_to_select=2), KINDS),
    "selecting, one": (RFE(LogisticRegression(), n_features_to_select=1), KINDS),
    "selecting, last": (scaled(RFECV(LogisticRegression())), KINDS),
    "selecting, scores": (RFE(LinearSVC(), n_features_to_select=2), KINDS),
    "selecting, searched": (GridSearchCV(RFE(LogisticRegression()), {"n_features_to_select": [2]}), KINDS),
    "selecting, first": (make_pipeline(RFE(LogisticRegression(), n_features_to_select=2), GaussianNB()), KINDS),
    "selecting, calibrated": (CalibratedClassifierCV(RFE(LogisticRegression(), n_features_to_select=2), cv=2), KINDS),
    "selecting, scores calibrated": (CalibratedClassifierCV(RFECV(LinearSVC(), cv=2), cv=2), KINDS),
    "selecting, last calibrated": (
        CalibratedClassifierCV(scaled(RFE(LogisticRegression(), n_features_to_select=2)), cv=2), KINDS,
    ),
    "selecting, one of several": (OneVsRestClassifier(RFE(LogisticRegression(), n_features_to_select=2)), KINDS),
    "selecting, stacked": (
        StackingClassifier(
            [("a", RFE(LogisticRegression(), n_features_to_select=2)), ("b", GaussianNB())],
            RFE(LogisticRegression(), n_features_to_select=3), cv=2,
        ),
        KINDS,
    ),
    "nearest centre": (NearestCentroid(), KINDS),
    "nearest centre of two": (NearestCentroid(), TWO),
    "nearest centre of names": (NearestCentroid(), NAMES),
    "nearest centre, shrunk": (scaled(NearestCentroid(shrink_threshold=0.2, priors="empirical")), TWO),
    "nearest centre of floats": (NearestCentroid(), KINDS.astype(float)),
    "unsigned": (VotingClassifier([("a", GaussianNB())], voting="soft"), KINDS.astype(np.uint8)),
    "quadratic": (QuadraticDiscriminantAnalysis(), KINDS),
    "pairs": (OneVsOneClassifier(LogisticRegression()), KINDS),
    "pairs of names": (OneVsOneClassifier(LogisticRegression()), np.array(["c", "a", "b"])[KINDS]),
    "one of several": (scaled(OneVsRestClassifier(LinearSVC())), KINDS),
    "one of two": (OneVsRestClassifier(LinearSVC()), NAMES),
    "one of several, calibrated": (CalibratedClassifierCV(OneVsRestClassifier(LinearSVC()), cv=2), KINDS),
    "clipped": (scaled(SGDClassifier(loss="modified_huber", random_state=0)), np.array(["c", "a", "b"])[KINDS]),
    "clipped, one of several": (OneVsRestClassifier(SGDClassifier(loss="modified_huber", random_state=0)), KINDS),
    "saturated, one of several": (OneVsRestClassifier(SGDClassifier(loss="log_loss", random_state=0)), KINDS),
    "saturated": (SGDClassifier(loss="log_loss", random_state=0), KINDS),
    "several labels": (RidgeClassifier(), LABELS),
    "two labels": (scaled(RidgeClassifier()), LABELS[:, :2]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_classifiers(case):
    estimator, targets = CASES[case]
    estimator.fit(IRIS, targets)
    rng = np.random.default_rng(0)
    x = (IRIS + rng.normal(0, 0.3, IRIS.shape)).astype(np.float32)
    function = getattr(estimator, "predict_proba", getattr(estimator, "decision_function", None))
    model = to_onnx(estimator, IRIS)
    label, scores = Session(model).run({"X": x})
    expected = function(x.astype(np.float64)).reshape(len(x), -1)
    close(scores[:, -expected.shape[1] :], expected)
    assert np.array_equal(label, estimator.predict(x.astype(np.float64)))
    slopes = differences(lambda rows: function(rows).reshape(len(rows), -1)[:, -1], x[::8])
    close(gradient(model, x[::8], scores.shape[1] - 1), slopes)


@pytest.mark.parametrize("machine", [SVC(break_ties=True), NuSVC(break_ties=True)], ids=["SVC", "NuSVC"])
@pytest.mark.parametrize("targets", [KINDS, np.array(["c", "a", "b"])[KINDS]], ids=["numbers", "names"])
def test_ties_of_votes_are_broken(machine, targets):
    """Far from all support vectors each class wins one pair."""
    estimator = scaled(machine).fit(IRIS, targets)
    x = (IRIS + np.random.default_rng(0).normal(0, 5, IRIS.shape) * IRIS.std(0)).astype(np.float32)
    label, _ = Session(to_onnx(estimator, IRIS)).run({"X": x})
    assert np.array_equal(label, estimator.predict(x.astype(np.float64)))


@pytest.mark.parametrize("put", [lambda e: e, scaled])
def test_regressors_behind_selected_features(put):
    estimator = put(RFE(Ridge(), n_features_to_select=2)).fit(IRIS[:, :3], IRIS[:, 3])
    x = (IRIS[3::30, :3] + 0.013).astype(np.float32)
    model = to_onnx(estimator, IRIS[:, :3])
    close(Session(model).run({"X": x})[0][:, 0], estimator.predict(x.astype(np.float64)))
    close(gradient(model, x, 0), differences(estimator.predict, x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("put", [lambda e: e, scaled])
def test_frozen_estimators(put):
    frozen = pytest.importorskip("sklearn.frozen", reason="scikit-learn before 1.6")
    inner = frozen.FrozenEstimator(put(LogisticRegression()).fit(IRIS, TWO))
    first = frozen.FrozenEstimator(StandardScaler().fit(IRIS))
    for estimator in (
        FixedThresholdClassifier(inner, threshold=0.3),
        make_pipeline(first, LogisticRegression()),
    ):
        estimator.fit(IRIS, TWO)
        label, scores = Session(to_onnx(estimator, IRIS)).run({"X": IRIS.astype(np.float32)})
        close(scores, estimator.predict_proba(IRIS))
        assert np.array_equal(label, estimator.predict(IRIS))


def beside_text(last):
    """A pipeline and rows of two numbers and a column of text."""
    rows = pd.DataFrame(IRIS[:, :2].astype(np.float32), columns=["a", "b"])
    rows["kind"] = np.array(["x", "y", "z"])[(IRIS[:, 2] > 3).astype(int) + (IRIS[:, 3] > 1.8)]
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["kind"]))
    return make_pipeline(columns, last).fit(rows, KINDS), rows


def test_classes_beside_columns_of_text_are_compared():
    """Scores agree, and where several are clipped to the same number scikit-learn decides by others."""
    saturated = OneVsRestClassifier(make_pipeline(SGDClassifier("modified_huber", random_state=0)))
    with pytest.raises(ConversionError, match="predicts another class than the original at"):
        to_onnx(*beside_text(saturated))


def test_shares_of_saturated_sigmoids_beside_columns_of_text():
    """All sigmoids are 0 in float32 at a row that is far away; their shares are not."""
    estimator, rows = beside_text(SGDClassifier("log_loss", random_state=0))
    far = rows[50:53].assign(a=np.float32([200, 200, 300]), b=np.float32([200, 210, 300]))
    feeds = {name: np.asarray(far[name]).reshape(-1, 1) for name in far}
    found = Session(to_onnx(estimator, rows)).run(feeds)[-1]
    np.testing.assert_allclose(found, estimator.predict_proba(far), rtol=1e-3, atol=1e-6)
