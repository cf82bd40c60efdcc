"""What to do with estimators for which skl2onnx has no converter, those of other packages among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from onnxattr.autodiff.refused import TREES
from onnxattr.errors import ConversionError

from .names import parts_of
from .steps import chosen_last

_ADVICE = {
    **dict.fromkeys(("lightgbm", "xgboost", "catboost"), f"Boosted {TREES}"),
    "imblearn": "Its samplers take no part in predictions: give a Pipeline of scikit-learn with the other fitted "
    "steps, Pipeline([(name, step) for name, step in pipeline.steps if not hasattr(step, 'fit_resample')])",
    "skorch": "It holds a PyTorch module: explain that, estimator.module_, at rows as the steps before it give them, "
    "pipeline[:-1].transform(rows), with sample= these rows as a tensor",
}


_LINEAR = (
    "A linear booster needs no conversion: what it adds up, before its link, is x * coef_, which is Gradient x Input, "
    "and Integrated Gradients from 0, at each row; of three and more classes the weights of class k are "
    "coef_.ravel().reshape(n_features, -1)[:, k], for coef_ has them in another order"
)
_LINEAR_TREES = (
    "Linear trees have a slope in each leaf and jump between leaves, and no form in ONNX: explain them with a method "
    "that needs no gradient, or explain a differentiable model"
)
_ITERATIVE = (
    "Its features are the end of an iteration at each row, which has no form in ONNX: explain the steps behind it, "
    "pipeline[k:], with rows as it gives them, or use another decomposition, as PCA, TruncatedSVD or FastICA"
)
#: By the class of an estimator, of scikit-learn too.
_OF_CLASSES = {
    **dict.fromkeys(
        (
            "DictionaryLearning",
            "LatentDirichletAllocation",
            "MiniBatchDictionaryLearning",
            "MiniBatchNMF",
            "NMF",
            "SparseCoder",
        ),
        _ITERATIVE,
    ),
    **dict.fromkeys(
        ("ClassifierChain", "MultiOutputClassifier", "RegressorChain"),
        "Explain the estimators in it one by one (estimators_); those of a chain take the results of the ones before "
        "as further features",
    ),
    **dict.fromkeys(
        ("RadiusNeighborsClassifier", "RadiusNeighborsRegressor"),
        "Which rows are within the radius changes in steps, and a row may have none: use KNeighborsClassifier or "
        "KNeighborsRegressor with weights='distance', or an SVC or SVR",
    ),
    **dict.fromkeys(
        (
            "AffinityPropagation",
            "AgglomerativeClustering",
            "DBSCAN",
            "HDBSCAN",
            "MeanShift",
            "OPTICS",
            "SpectralClustering",
        ),
        "Its clusters are labels alone, which are piecewise constant: use a GaussianMixture or a KMeans, or fit a "
        "classifier on the labels and explain that",
    ),
    **dict.fromkeys(
        ("Isomap", "LocallyLinearEmbedding", "MDS", "SpectralEmbedding", "TSNE"),
        "Its places come from the nearest rows of the fit, which change in steps, or are those of the fit alone: use "
        "a KernelPCA or a NeighborhoodComponentsAnalysis",
    ),
    **dict.fromkeys(
        ("LabelPropagation", "LabelSpreading"),
        "Use a SelfTrainingClassifier of an estimator with probabilities, or fit a classifier on transduction_",
    ),
    "KernelDensity": "Use a GaussianMixture, which has densities of clusters as probabilities, or a OneClassSVM",
    "GaussianProcessClassifier": "Use a GaussianProcessRegressor of the classes as numbers, an SVC with "
    "probability=True, or a pipeline of Nystroem and LogisticRegression",
}
#: What makes numbers of texts and dictionaries.
_OF_TEXT = frozenset(
    ("CountVectorizer", "DictVectorizer", "FeatureHasher", "HashingVectorizer", "TfidfVectorizer")
)
_NO_FORM = re.compile(r"Unable to find (?:a shape calculator for type|alias for model) '<class '([\w.]+)'>'")


def in_words(reason: str) -> str:
    """What skl2onnx says, without its leave to register a converter."""
    found = _NO_FORM.search(reason)
    return f"it has no form for {found[1].rpartition('.')[2]}" if found else reason.rstrip(".")


def advice_on_classes(classifier: Any) -> str:
    """What to do with a classifier that gives classes alone."""
    if hasattr(classifier, "voting"):
        return "Vote with voting='soft', or explain the estimators in it one by one (estimators_)"
    if type(classifier).__name__ == "NearestCentroid":
        return "Fit it with metric='euclidean', for which it has probabilities"
    if hasattr(classifier, "estimators_"):
        return "Explain the estimators in it one by one (estimators_)"
    return "Use a classifier with predict_proba or decision_function"


def refuse_texts(estimator: Any) -> None:
    """Refuse what makes numbers of words itself: ONNX Runtime splits texts otherwise, and words have no gradient.

    Raises:
        ConversionError: The estimator holds a vectoriser; with the steps that can be explained.
    """
    kind = next((name for part in parts_of(estimator) if (name := type(part).__name__) in _OF_TEXT), "")
    if not kind:
        return
    chosen = getattr(estimator, "best_estimator_", estimator)
    name = "pipeline" if chosen is estimator else "search.best_estimator_"
    steps = [step for _, step in getattr(chosen, "steps", [])]
    places = [i for i, step in enumerate(steps) if any(type(p).__name__ in _OF_TEXT for p in parts_of(step))]
    if not places or places[-1] == len(steps) - 1:
        raise ConversionError(
            f"{kind} makes numbers of words, which have no gradient. Fit it as a step in front, "
            f"pipeline = make_pipeline({kind}(), ...), and explain what follows: pipeline[1:], with "
            "sample=pipeline[:1].transform(texts)."
        )
    after = places[-1] + 1
    raise ConversionError(
        f"{kind} makes numbers of words, which have no gradient. Explain what follows: {name}[{after}:], with "
        f"sample={name}[:{after}].transform(rows). For names of words, give a table of these numbers with the "
        f"columns {name}[:{after}].get_feature_names_out()."
    )


def refuse_what_is_read_otherwise(parts: list[Any]) -> None:
    """Refuse parts that combine numbers of their members which the converted members do not give.

    Raises:
        ConversionError: One does; with what to use instead.
    """
    for part in parts:
        name = type(part).__name__
        inner = chosen_last(part.estimator) if hasattr(part, "calibrators") else None
        kind = type(inner).__name__
        if getattr(inner, "probability", False):
            raise ConversionError(
                f"CalibratedClassifierCV calibrates the scores of {kind}, which its converted form does not have "
                f"beside its probabilities. Calibrate {kind}(probability=False), or use its probabilities as they are."
            )
        if kind == "QuadraticDiscriminantAnalysis":
            raise ConversionError(
                f"CalibratedClassifierCV calibrates the scores of {kind}, which is converted with probabilities alone. "
                "Calibrate a LinearDiscriminantAnalysis or a GaussianNB, or use its probabilities as they are."
            )
        if (
            name == "BaggingClassifier"
            and hasattr(part, "estimators_")
            and not hasattr(part.estimators_[0], "predict_proba")
        ):
            raise ConversionError(
                f"{name} counts the classes that its members predict, as they have no predict_proba: its gradient is 0 "
                "almost everywhere. Use members with probabilities, as LogisticRegression or a CalibratedClassifierCV."
            )
        if name == "OneVsOneClassifier" and len(getattr(part, "classes_", ())) == 2:
            raise ConversionError(
                f"{name} of two classes is its one member, of which skl2onnx writes something else: convert "
                "estimators_[0]."
            )


def advice(estimator: Any) -> str:
    """What to do instead, by the packages that an estimator and those inside it come from.

    Args:
        estimator: One that skl2onnx could not convert.

    Returns:
        A sentence without its full stop.
    """
    if said := advice_on_class(estimator):
        return said
    for one in _inside(estimator):
        package = type(one).__module__.partition(".")[0]
        if package == "xgboost" and getattr(one, "booster", None) == "gblinear":
            return _LINEAR
        if package == "lightgbm" and hasattr(one, "get_params") and one.get_params().get("linear_tree"):
            return _LINEAR_TREES
        if package in _ADVICE:
            return f"{type(one).__name__} is of {package}. {_ADVICE[package]}"
    return (
        "Fit the estimator first, and use steps that skl2onnx supports; of a pipeline, explain the steps behind one "
        "that it does not, pipeline[k:], with rows as the steps before give them, pipeline[:k].transform(rows)"
    )


def advice_on_class(estimator: Any) -> str:
    """What to do instead of an estimator of scikit-learn that has no form, or one that does not run; else empty."""
    kinds = [type(one) for one in _inside(estimator) if type(one).__module__.startswith("sklearn.")]
    return next(
        (f"{kind.__name__}: {_OF_CLASSES[kind.__name__]}" for kind in kinds if kind.__name__ in _OF_CLASSES),
        "",
    )


def _inside(estimator: Any) -> Iterator[Any]:
    """An estimator and the parameters of it and of those inside, the estimators among them."""
    yield estimator
    try:
        yield from estimator.get_params(deep=True).values()
    except Exception:  # of another package, whatever it raises
        return
