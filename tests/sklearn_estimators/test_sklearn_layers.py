"""Layers of scikit-learn's networks and decision values: their names, numbers and gradients."""

import json

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.common import dependencies
from onnxattr.converters.sklearn import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import RFE
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVC
from support.estimators import close, differences
from support.iris import IRIS, KINDS, SMALL_NETWORK

from onnxattr.attributions import DeconvNet, GradientInput
from onnxattr.cli import main
from onnxattr.errors import RuntimeMissingError
from onnxattr.loading.layers import read_layers

# Layer -> its numbers by scikit-learn itself, from the fitted pipeline and rows.
SCALED = {"standardscaler": lambda e, x: e[:1].transform(x)}
LOGITS = {
    "logits": lambda e, x: e.decision_function(x).reshape(len(x), -1),
    0: lambda e, x: e[:1].transform(x),
    -1: lambda e, x: e.predict_proba(x),
}
NETWORK = {
    **SCALED,
    "hidden1": lambda e, x: np.maximum(e[:-1].transform(x) @ e[-1].coefs_[0] + e[-1].intercepts_[0], 0),
    "mlpclassifier": lambda e, x: e.predict_proba(x),
}
UNION = Pipeline([
    ("columns", ColumnTransformer([("some", RobustScaler(), [0, 2]), ("rest", "passthrough", [1, 3])])),
    ("union", FeatureUnion([("pca", PCA(2)), ("more", make_pipeline(PolynomialFeatures(2), MaxAbsScaler()))])),
    ("probability", LogisticRegression()),
])  # fmt: skip
UNITED = {
    "columns/some": lambda e, x: e[:1].transform(x)[:, :2],
    "columns": lambda e, x: e[:1].transform(x),
    "union/pca": lambda e, x: e[1].transformer_list[0][1].transform(e[:1].transform(x)),
    "union/more/polynomialfeatures": lambda e, x: (
        e[1].transformer_list[1][1][:1].transform(e[:1].transform(x))
    ),
    "union/more": lambda e, x: e[1].transformer_list[1][1].transform(e[:1].transform(x)),
    "union": lambda e, x: e[:2].transform(x),
    "probability/logits": lambda e, x: e.decision_function(x),
    "probability": lambda e, x: e.predict_proba(x),
}
DECISION = {"decision_function": lambda e, x: e.decision_function(x)}
RELU = {**SMALL_NETWORK, "activation": "relu"}
TWO = KINDS > 0
LAYERS = {
    "logistic regression": (make_pipeline(StandardScaler(), LogisticRegression()), KINDS, LOGITS),
    "of two classes": (make_pipeline(StandardScaler(), LogisticRegression()), TWO, LOGITS),
    "log loss": (make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)), TWO, LOGITS),
    "hinge": (make_pipeline(StandardScaler(), LinearSVC()), KINDS, DECISION),
    "alone": (LinearDiscriminantAnalysis(), KINDS, {"lineardiscriminantanalysis/logits": LOGITS["logits"]}),
    "network": (make_pipeline(StandardScaler(), MLPClassifier(**RELU)), KINDS, NETWORK),
    "network of two classes": (make_pipeline(StandardScaler(), MLPClassifier(**RELU)), TWO, NETWORK),
    "union": (UNION, KINDS, UNITED),
    "clipped": (make_pipeline(MinMaxScaler(clip=True), Ridge()), KINDS,
                {"minmaxscaler": lambda e, x: e[:1].transform(x), "ridge": lambda e, x: e.predict(x)[:, None]}),
    "selected": (make_pipeline(RFE(Ridge(), n_features_to_select=2), Ridge()), KINDS,
                 {"rfe": lambda e, x: e[:1].transform(x)}),
    "searched": (GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1.0]}),
                 KINDS, {"standardscaler": lambda e, x: e.best_estimator_[:1].transform(x)}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", LAYERS)
def test_layers_have_the_numbers_of_the_estimator(case):
    estimator, targets, layers = LAYERS[case]
    model = to_onnx(estimator.fit(IRIS, targets), IRIS)
    x = (IRIS[::20] + np.random.default_rng(0).normal(size=(8, 4))).astype(
        np.float32
    )  # beyond the sample, too
    for layer, numbers in layers.items():
        found = GradientInput(model, output_layer=layer).predict(x)
        close(found, np.asarray(numbers(estimator, x.astype(np.float64))).reshape(found.shape))


def test_logits_of_a_network_make_its_probabilities():
    estimator = make_pipeline(StandardScaler(), MLPClassifier(**SMALL_NETWORK)).fit(IRIS, KINDS)
    model, x = to_onnx(estimator, IRIS), IRIS[::30].astype(np.float32)
    logits = np.exp(GradientInput(model, output_layer="logits").predict(x))
    close(logits / logits.sum(1, keepdims=True), estimator.predict_proba(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "targets", "label"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), KINDS, 2),
        (make_pipeline(StandardScaler(), LogisticRegression()), TWO, 0),
        (make_pipeline(StandardScaler(), LogisticRegression()), TWO, 1),
        (make_pipeline(Normalizer(), LinearSVC()), KINDS, 1),
        (make_pipeline(StandardScaler(), RidgeClassifier()), KINDS, 1),
    ],
)
def test_decision_functions_have_the_gradient_of_the_estimator(estimator, targets, label):
    model = to_onnx(estimator.fit(IRIS, targets), IRIS)
    layer = "logits" if hasattr(estimator, "predict_proba") else "decision_function"
    x = IRIS[::30].astype(np.float32)
    found = GradientInput(model, output_layer=layer).explain(x, np.full(len(x), label)) / x

    def score(rows):
        scores = estimator.decision_function(rows)
        return scores[:, label] if scores.ndim == 2 else scores if label else -scores

    close(found, differences(score, x))


@pytest.mark.parametrize("estimator", [LogisticRegression(), MLPClassifier((5,), max_iter=20)])
def test_who_explains_probabilities_is_told_the_name_of_the_logits(estimator):
    model = to_onnx(make_pipeline(StandardScaler(), estimator).fit(IRIS, KINDS), IRIS[:5])
    name = type(estimator).__name__.lower()
    with pytest.warns(UserWarning, match=f"pass output_layer='{name}/logits'"):
        GradientInput(model)


NAMED = {
    "linear": (LogisticRegression(), KINDS, 3),
    "linear of two classes": (LogisticRegression(), KINDS == 1, 1),
}


@pytest.mark.parametrize("case", NAMED)
def test_inspect_names_the_logits_alike(case, tmp_path, capsys):
    estimator, kinds, count = NAMED[case]
    path, name = tmp_path / "m.onnx", f"{type(estimator).__name__.lower()}/logits"
    to_onnx(make_pipeline(StandardScaler(), estimator).fit(IRIS, kinds), IRIS[:5], path)
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"probabilities; logits: {name}\n" in said
    assert f"--output-layer {name} -o" in said
    assert main(["inspect", str(path), "--json"]) == 0
    output = next(one for one in json.loads(capsys.readouterr().out)["outputs"] if "logits" in one)
    assert (output["logits"], output["logits_shape"][1]) == (name, count)


def test_predictions_do_not_compute_the_logits():
    """They are in the table only: the file holds what skl2onnx wrote."""
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, KINDS)
    model = to_onnx(estimator, IRIS)
    assert [node.op_type for node in model.graph.node] == ["Scaler", "LinearClassifier", "Normalizer"]
    assert not model.graph.initializer


def test_logits_behind_a_scaler_in_float64():
    """Of features that are large beside their spread; the layer is the float32 that it is rounded to."""
    data = IRIS + 1e4
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, KINDS)
    model, x = to_onnx(estimator, data), data[::30].astype(np.float32)
    assert "Scaler" not in {node.op_type for node in model.graph.node}
    found = GradientInput(model, reducer=None, output_layer="logits").explain(x, np.full(len(x), 1)) / x
    close(found, np.broadcast_to(estimator[1].coef_[1] / estimator[0].scale_, found.shape))


def test_relus_of_networks_are_those_of_the_layers():
    estimator = MLPClassifier(**RELU).fit(IRIS, KINDS)
    model, x = to_onnx(estimator, IRIS), IRIS[::30].astype(np.float32)
    maps = [
        DeconvNet(model, output_layer="logits", relu_policy=policy).explain(x, KINDS[::30])
        for policy in ("all", "xplique")
    ]
    np.testing.assert_array_equal(*maps)
    assert len(read_layers({e.key: e.value for e in model.metadata_props})[0].relus) == 1


def test_without_onnx_runtime_the_table_is_filled_by_onnx_itself(monkeypatch):
    def missing():
        raise RuntimeMissingError("ONNX Runtime is not installed.")

    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, KINDS)
    expected = to_onnx(estimator, IRIS)
    monkeypatch.setattr(dependencies, "onnxruntime", missing)
    assert to_onnx(estimator, IRIS, verify=False) == expected
