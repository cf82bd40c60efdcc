"""Estimators without a gradient are refused by name, before anything is written."""

import warnings

import numpy as np
import onnx
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.common.verify import values
from onnxattr.converters.sklearn import to_onnx
from onnxattr.converters.sklearn.convert import _options
from onnxattr.converters.sklearn.own import calibration, imputers
from sklearn.base import BaseEstimator, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import NMF
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MaxAbsScaler, SplineTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from support.estimators import close, differences, gradient
from support.iris import IRIS, KINDS
from support.tiny_graphs import parse

from onnxattr.attributions import GradientInput, Saliency
from onnxattr.cli import main
from onnxattr.compile.gradient import vjp
from onnxattr.errors import ConversionError, ModelError, UnsupportedOpError

pd = pytest.importorskip("pandas")
WORDS = pd.DataFrame({"words": ["good film", "bad film"]})


def test_dictionaries_of_other_converters_count_as_scores():
    """skl2onnx' default output: a dictionary of class and probability for each row."""
    import skl2onnx

    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, KINDS)
    zipped = skl2onnx.to_onnx(estimator, IRIS[:1].astype(np.float32))
    assert "ZipMap" in {node.op_type for node in zipped.graph.node}
    x = IRIS[::30].astype(np.float32)
    close(gradient(zipped, x, 1), gradient(to_onnx(estimator, IRIS), x, 1))


@pytest.mark.parametrize("opset", [{"": 9, "ai.onnx.ml": 1}, {"": 15, "ai.onnx.ml": 3}])
def test_trees_whose_output_is_a_dictionary_are_refused_as_trees(opset):
    """Not for the number of axes of the dictionary, which the schemas of ai.onnx.ml 1 leave open."""
    import skl2onnx

    forest = RandomForestClassifier(2, max_depth=2).fit(IRIS, KINDS)
    zipped = skl2onnx.to_onnx(forest, IRIS[:1].astype(np.float32), target_opset=opset)
    with pytest.raises(UnsupportedOpError, match="Decision trees are piecewise constant"):
        GradientInput(zipped).explain(IRIS[:2].astype(np.float32))


def test_neighbours_have_no_gradient():
    model = to_onnx(KNeighborsClassifier().fit(IRIS, KINDS), IRIS)
    with pytest.raises(
        ModelError, match=r"No float input reaches the score.*No float value inside does either"
    ):
        GradientInput(model)


@pytest.mark.parametrize("estimator", [IsolationForest(n_estimators=3), AdaBoostClassifier(n_estimators=2)])
def test_forests_whose_votes_are_counted_are_refused_as_trees(estimator):
    with pytest.raises(
        ModelError, match=r"No float input reaches the score.*Decision trees are piecewise constant"
    ):
        GradientInput(to_onnx(estimator.fit(IRIS, KINDS), IRIS))


def test_forests_have_no_gradient():
    model = to_onnx(RandomForestClassifier(3).fit(IRIS, KINDS), IRIS)
    with pytest.raises(UnsupportedOpError, match="piecewise"):
        vjp(model, "X", model.graph.output[-1].name)


@pytest.mark.parametrize("shape", ["ovo", "ovr"])
def test_support_vector_classifiers_by_their_decision_values(shape):
    estimator = make_pipeline(StandardScaler(), SVC(decision_function_shape=shape)).fit(IRIS, KINDS)
    x = IRIS[::30].astype(np.float32)
    found = GradientInput(to_onnx(estimator, IRIS)).explain(x, np.ones(len(x), int)) / x
    close(found, differences(lambda rows: estimator.decision_function(rows)[:, 1], x))


@pytest.mark.parametrize(
    "estimator",
    [
        CalibratedClassifierCV(LinearSVC()).fit(IRIS, KINDS),
        OneVsRestClassifier(GaussianProcessClassifier(RBF() * 2)).fit(IRIS, KINDS),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_no_part_is_asked_what_it_is_that_predicts_nothing(estimator, monkeypatch):
    """From scikit-learn 1.9 on is_classifier refuses kernels and the classifiers inside a CalibratedClassifierCV."""

    def strict(part):
        assert isinstance(part, BaseEstimator), part
        return is_classifier(part)

    monkeypatch.setattr("sklearn.base.is_classifier", strict)
    _options(estimator)


def test_trees_that_skl2onnx_cannot_write(monkeypatch):
    def fails(*_, **__):
        raise TypeError("Unable to create node 'TreeEnsembleRegressor'")

    monkeypatch.setattr("skl2onnx.convert_sklearn", fails)
    with pytest.raises(ConversionError, match=r"the trees of Ridge.*piecewise constant"):
        to_onnx(Ridge().fit(IRIS, KINDS), IRIS)


def test_files_are_whole(tmp_path):
    estimator = LinearRegression().fit(IRIS[:, :3], IRIS[:, 3])
    model = to_onnx(estimator, IRIS[:, :3], tmp_path / "linear.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["linear.onnx"]
    assert onnx.load(tmp_path / "linear.onnx") == model
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


@pytest.mark.parametrize(
    ("estimator", "sample", "match"),
    [
        (LogisticRegression(), IRIS, "Fit the estimator"),
        (LinearRegression().fit(IRIS, KINDS), IRIS[0], "expected rows"),
        (LinearRegression().fit(IRIS, KINDS), [["a", "b"]], "expected numbers. Encode text"),
        (
            make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good film", "bad film"], [1, 0]),
            ["good film"],
            r"CountVectorizer makes numbers of words.*pipeline\[1:\], with sample=pipeline\[:1\].transform",
        ),
        (
            make_pipeline(DictVectorizer(), MaxAbsScaler(), Ridge()).fit([{"a": 1.0}, {"b": "c"}], [1, 0]),
            [{"a": 1.0}],
            r"DictVectorizer makes .*pipeline\[1:\], with",
        ),
        (
            make_pipeline(make_column_transformer((TfidfVectorizer(), "words")), LogisticRegression()).fit(
                WORDS, [1, 0]
            ),
            WORDS,
            r"TfidfVectorizer makes .*pipeline\[1:\], with",
        ),
        (
            GridSearchCV(
                make_pipeline(
                    make_union(HashingVectorizer(n_features=8)), StandardScaler(with_mean=False), Ridge()
                ),
                {"ridge__alpha": [1.0]},
                cv=2,
            ).fit(["good film", "bad film"] * 2, [1, 0, 1, 0]),
            ["good film"],
            r"HashingVectorizer makes .*search.best_estimator_\[1:\], with",
        ),
        (
            CalibratedClassifierCV(make_pipeline(TfidfVectorizer(), LinearSVC()), cv=2).fit(
                ["good film", "bad film"] * 2, [1, 0, 1, 0]
            ),
            ["good film"],
            r"Fit it as a step in front, pipeline = make_pipeline\(TfidfVectorizer",
        ),
        (LinearRegression().fit(IRIS, KINDS), IRIS[:, :2], "features"),
        (
            make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)).fit(IRIS, KINDS),
            IRIS,
            "has decision trees.*piecewise constant",
        ),
        (
            make_pipeline(NMF(2), Ridge()).fit(IRIS, KINDS),
            IRIS,
            "NMF.*end of an iteration at each row",
        ),
        (
            ClassifierChain(LogisticRegression()).fit(IRIS, np.eye(3)[KINDS]),
            IRIS,
            r"ClassifierChain.*one by one \(estimators_\)",
        ),
        (
            MultiOutputClassifier(make_pipeline(LogisticRegression())).fit(IRIS, np.eye(3)[KINDS]),
            IRIS,
            r"MultiOutputClassifier: .*one by one \(estimators_\)",
        ),
        (
            make_pipeline(StandardScaler(), RadiusNeighborsRegressor(2.0, weights="distance")).fit(
                IRIS, KINDS
            ),
            IRIS,
            "RadiusNeighborsRegressor: Which rows are within.*KNeighborsRegressor",
        ),
        (
            SVC(break_ties=True, probability=True).fit(IRIS, KINDS),
            IRIS,
            "break_ties=True.*without probabilities",
        ),
        (
            KNNImputer(weights=lambda distances: distances).fit(IRIS),
            IRIS,
            "KNNImputer.*'uniform' and 'distance'.*SimpleImputer",
        ),
        (
            MultiOutputClassifier(LogisticRegression()).fit(IRIS, np.eye(3)[KINDS]),
            IRIS,
            "MultiOutputClassifier gives a list.*one by one",
        ),
        (
            GaussianProcessClassifier().fit(IRIS, KINDS > 0),
            IRIS,
            "does not run. GaussianProcessClassifier: Use .*Nystroem",
        ),
        (
            StackingClassifier([("a", LogisticRegression())], stack_method="predict").fit(IRIS, KINDS),
            IRIS,
            "classes that LogisticRegression predicts.*stack_method='auto'",
        ),
        (
            OneVsOneClassifier(LogisticRegression()).fit(IRIS, KINDS > 1),
            IRIS,
            r"skl2onnx writes something else: convert estimators_\[0\]",
        ),
        (CalibratedClassifierCV(SVC(probability=True), cv=2).fit(IRIS, KINDS), IRIS, "SVC.probability=False"),
        (
            CalibratedClassifierCV(QuadraticDiscriminantAnalysis(), cv=2).fit(IRIS, KINDS),
            IRIS,
            "QuadraticDiscriminantAnalysis.*Calibrate a LinearDiscriminantAnalysis or a GaussianNB",
        ),
        (
            BaggingClassifier(LinearSVC(), n_estimators=2).fit(IRIS, KINDS),
            IRIS,
            "BaggingClassifier counts the classes.*Use members with probabilities",
        ),
        (
            OneVsRestClassifier(make_pipeline(SGDClassifier("modified_huber", random_state=0))).fit(
                IRIS, KINDS
            ),
            IRIS,
            "predicts another class than the original at .* probabilities do not saturate",
        ),
    ],
)
def test_refusals(estimator, sample, match):
    with pytest.raises(ConversionError, match=match):
        to_onnx(estimator, sample)


@pytest.mark.parametrize("rows", [IRIS[:1], IRIS[[61, 66, 71]], IRIS[:5]], ids=["one", "three", "five"])
def test_what_is_right_at_few_rows_alone_is_refused(rows, monkeypatch):
    """skl2onnx' own form of isotonic calibration: nearest thresholds instead of a line between them."""
    from skl2onnx.operator_converters import calibrated_classifier_cv

    estimator = CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3).fit(IRIS, KINDS)
    monkeypatch.setattr(calibration, "_isotonic", calibrated_classifier_cv._transform_isotonic)
    with pytest.raises(ConversionError, match="differs from the original"):
        to_onnx(estimator, rows)


@pytest.mark.parametrize(
    ("transformer", "count"),
    [(RBFSampler(random_state=0), 5), (SplineTransformer(extrapolation="linear"), 150)],
)
def test_rounding_is_seen_in_samples_of_float32(transformer, count):
    """scikit-learn computes in the type of its rows: in float32 it rounds large numbers as the model does."""
    data = (IRIS[:, :3] + np.array([1e6, 0, 0])).astype(np.float32)
    with pytest.raises(ConversionError, match="differs from the original"):
        to_onnx(transformer.fit(data), data[:count])


@pytest.mark.parametrize("rows", [IRIS, IRIS[::10]], ids=["all", "some"])
def test_what_is_wrong_for_missing_features_alone_is_refused(rows, monkeypatch):
    gaps = IRIS.copy()
    gaps[::7, 0], gaps[::11, 2] = np.nan, np.nan
    estimator = make_pipeline(SimpleImputer(), Ridge()).fit(gaps, KINDS)
    assert to_onnx(estimator, rows)
    monkeypatch.setattr(imputers, "simple_imputer", lambda op: op("Where", op("IsNaN", op.x), 0.0, op.x))
    with pytest.raises(ConversionError, match="differs from the original"):
        to_onnx(estimator, rows)


@pytest.mark.parametrize(
    "targets", [KINDS, np.array(["a", "b", "b"])[KINDS], KINDS > 1], ids=["numbers", "names", "truths"]
)
@pytest.mark.parametrize(
    "put", [lambda e: e, lambda e: make_pipeline(StandardScaler(), e)], ids=["alone", "last"]
)
def test_hard_votes_have_no_gradient(put, targets):
    votes = VotingClassifier([("a", LogisticRegression()), ("b", LogisticRegression(C=0.1))])
    with pytest.raises(ConversionError, match=r"VotingClassifier gives classes alone.*voting='soft'"):
        to_onnx(put(votes).fit(IRIS, targets), IRIS)


def test_counts_of_words_are_given_sparse():
    """y = w x + b of the counts x: gradient times input is w x, word by word."""
    texts = ["good good film", "bad film", "good plot", "bad bad plot"]
    words = CountVectorizer()
    counts = words.fit_transform(texts)
    estimator = Ridge().fit(counts, [1.0, -1.0, 1.0, -2.0])
    found = GradientInput(to_onnx(estimator, counts)).explain(counts)
    np.testing.assert_allclose(found, counts.toarray() * estimator.coef_, rtol=1e-4, atol=1e-6)


def test_words_have_names_on_the_command_line(tmp_path, monkeypatch):
    """What the refusal of texts says: the steps that follow, with a table of the numbers of words."""
    monkeypatch.chdir(tmp_path)
    texts = ["good good film", "bad film", "good plot", "bad bad plot"]
    pipeline = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression()).fit(
        texts, [1, 0, 1, 0]
    )
    words = pipeline[:1].get_feature_names_out()
    rows = pd.DataFrame(pipeline[:1].transform(["film good", "bad plot", "new"]).toarray(), columns=words)
    rows.to_csv("rows.csv", index=False)
    sample = pd.DataFrame(pipeline[:1].transform(texts).toarray(), columns=words)
    to_onnx(pipeline[1:], sample, "model.onnx")
    layer = ["--output-layer", "logisticregression/logits"]
    command = ["explain", "model.onnx", "rows.csv", "--method", "GradientInput", *layer, "--targets", "1"]
    assert main([*command, "-o", "maps.csv", "--picture", "why.png"]) == 0
    found = pd.read_csv("maps.csv")
    np.testing.assert_allclose(found[list(words)], rows * pipeline[-1].coef_[0], rtol=1e-4, atol=1e-6)
    assert (tmp_path / "why.png").stat().st_size


def test_what_neither_runtime_nor_evaluator_runs_is_an_error_of_conversion():
    model = parse("g (float[2,3] x) => (float[2,3] y) { y = ConstantOfShape(x) }")
    with pytest.raises(ConversionError, match=r"does not load.*onnx's evaluator stops too"):
        values(model, [], {"x": np.zeros((2, 3), np.float32)})


def test_of_several_numbers_one_is_to_be_chosen():
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    coefficients = np.array([[1.0, 2], [3, 4], [5, 6]])
    method = Saliency(to_onnx(Ridge(alpha=1e-6).fit(x, x @ coefficients), x))
    with pytest.warns(
        UserWarning, match="gives 2 numbers, no classes: without targets the largest is explained"
    ):
        method.explain(x[:4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = method.explain(x[:4], [1, 1, 1, 0])
    np.testing.assert_allclose(found, coefficients.T[[1, 1, 1, 0]], rtol=1e-5)
