"""Copies of methods, explainers and metrics share their sessions and nothing else; pickles are refused in words."""

import copy
import pickle

import numpy as np
import pytest
from support.small_models import mlp

import onnxattr
from onnxattr.attributions import GradientInput, IntegratedGradients, NoiseTunnel
from onnxattr.metrics import Deletion

MLP = mlp()


def explainer(tmp_path):
    IntegratedGradients(MLP.model, steps=3).export(tmp_path / "e.onnx")
    return onnxattr.load(tmp_path / "e.onnx")


HOLDERS = {
    "a method": lambda p: IntegratedGradients(MLP.model, steps=3),
    "a tunnel": lambda p: NoiseTunnel(GradientInput(MLP.model), nb_samples=2),
    "an explainer": explainer,
}


@pytest.mark.parametrize("kind", HOLDERS)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_explain_the_same(kind, copied, tmp_path):
    own = HOLDERS[kind](tmp_path)
    twin = copied({"in a dict": own})["in a dict"] if copied is copy.deepcopy else copied(own)
    assert twin is not own
    assert type(twin) is type(own)
    np.testing.assert_array_equal(twin.explain(MLP.given, [0, 1, 2]), own.explain(MLP.given, [0, 1, 2]))
    twin.check_finite = "error"
    assert own.check_finite == "warn"


def test_copies_of_a_metric_measure_the_same():
    own = Deletion(MLP.model, MLP.given, np.eye(4)[[0, 1, 2]], steps=3)
    assert copy.deepcopy(own)(MLP.given) == own(MLP.given)


@pytest.mark.parametrize("kind", [*HOLDERS, "a metric"])
def test_pickles_are_refused_in_words(kind, tmp_path):
    own = HOLDERS[kind](tmp_path) if kind in HOLDERS else Deletion(MLP.model, MLP.given, [0, 1, 2])
    with pytest.raises(TypeError, match=r"cannot be pickled. Make it anew in each process; or export\(\)"):
        pickle.dumps([own])
