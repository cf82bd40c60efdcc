"""Names of other libraries, and what stands here in their place: of imports, parameters and calls that are missing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_PERTURBATION = (
    "needs no gradients: it perturbs inputs and looks at predictions, which is out of scope here. Run it on the ONNX "
    "model itself, with Xplique, Captum or shap around a function that calls onnxruntime; of the methods here, "
    "SmoothGrad, IntegratedGradients and GradCAM answer the same question from gradients"
)
_PROPAGATION = (
    "propagates differences or relevances by rules of its own, not gradients; IntegratedGradients or "
    "ExpectedGradients give attributions that add up in the same way"
)
_ACTIVATIONS = (
    "uses activations alone, no gradient of a score; GradCAM and LayerCAM are the maps of a layer here"
)
_CONCEPTS = "is about concepts or single neurons' images, not attributions of a prediction; Xplique has it"
_TREES = "works on the trees themselves, which have no gradient; shap's TreeExplainer is the tool"

#: Names that other libraries have and this one has not on purpose, with the reason and what to use.
ABSENT: dict[str, str] = (
    dict.fromkeys(
        (
            "Occlusion", "Rise", "Lime", "LimeBase", "KernelShap", "KernelExplainer", "PermutationExplainer",
            "ShapleyValueSampling", "ShapleyValues", "FeatureAblation", "FeaturePermutation", "LayerFeatureAblation",
            "SobolAttributionMethod", "HsicAttributionMethod", "ScoreCAM", "AblationCAM",
        ),
        _PERTURBATION,
    )
    | dict.fromkeys(
        ("DeepLift", "DeepLiftShap", "LayerDeepLift", "DeepExplainer", "LRP", "LayerLRP"), _PROPAGATION
    )
    | dict.fromkeys(("FEM", "EigenCAM", "EigenGradCAM", "KPCA_CAM"), _ACTIVATIONS)
    | dict.fromkeys(("Cav", "Tcav", "Craft", "CraftTf", "CraftTorch", "TCAV", "Objective", "MaCo"), _CONCEPTS)
    | {
        "TreeExplainer": _TREES,
        "TorchWrapper": "is not needed: give the PyTorch module itself and sample=<a batch>, "
        "or convert it with onnxattr.converters.torch.to_onnx(module, batch)",
        "ForGrad": "filters gradients in the frequency domain, which is not in here; SmoothGrad is the nearest",
    }
)  # fmt: skip

#: Names of other libraries for what is here under another one.
RENAMED: dict[str, str] = {
    "InputXGradient": "GradientInput",
    "Deconvolution": "DeconvNet",
    "GuidedGradCam": "GuidedGradCAM",
    "LayerGradCam": "GradCAM",
    "GradCAMPlusPlus": "GradCAMPP",
    "GradCam": "GradCAM",
    "GradientExplainer": "ExpectedGradients",
    "LayerIntegratedGradients": "IntegratedGradients(model, wrt=<layer>)",
    "LayerGradientXActivation": "GradientInput(model, wrt=<layer>)",
    "LayerGradientShap": "GradientShap(model, wrt=<layer>)",
    "LayerActivation": "predict(), with output_layer=<layer>",
    "NeuronGradient": "Saliency(model, output_layer=<layer>, neuron=<index>)",
    "NeuronIntegratedGradients": "IntegratedGradients(model, output_layer=<layer>, neuron=<index>)",
    "NeuronGuidedBackprop": "GuidedBackprop(model, output_layer=<layer>, neuron=<index>)",
    "NeuronDeconvolution": "DeconvNet(model, output_layer=<layer>, neuron=<index>)",
    "HiResCAM": "LayerCAM, whose weights are gradients of single positions too",
    "XGradCAM": "GradCAM",
}

#: Parameters of other libraries by what they are called here.
PARAMETERS: dict[str, str] = {
    "n_steps": "steps",
    "method": "quadrature",
    "baselines": "baseline_value",
    "baseline": "baseline_value",
    "n_samples": "nb_samples",
    "nsamples": "nb_samples",
    "nt_samples": "nb_samples",
    "num_samples": "nb_samples",
    "stdevs": "noise",
    "stdev": "noise",
    "stdev_spread": "noise",
    "sigma": "noise",
    "noise_level": "noise",
    "nt_type": "kind",
    "internal_batch_size": "batch_size",
    "perturbations_per_eval": "batch_size",
    "target_layer": "conv_layer",
    "target_layers": "conv_layer",
    "layer": "wrt",
    "layers": "wrt",
    "device": "providers",
    "forward_func": "model, the first argument",
    "model_outputs": "output",
    "example_inputs": "sample",
    "random_state": "seed",
    "neuron_selector": "neuron",
}

#: Methods of other libraries' objects.
_CALLS: dict[str, str] = {
    "attribute": "explain(inputs, targets)",
    "shap_values": "explain(inputs, targets)",
    "generate": "explain(inputs, targets)",
    "compute_convergence_delta": "convergence_delta(inputs, targets)",
    "has_convergence_delta": "convergence_delta(inputs, targets), which methods on a path have",
}

#: Arguments of other libraries' calls.
_ARGUMENTS: dict[str, str] = {
    "target": "targets",
    "y": "targets",
    "labels": "targets",
    "x": "inputs",
    "X": "inputs",
    "input_tensor": "inputs",
    "return_convergence_delta": "method.convergence_delta(inputs, targets), or the delta of explain(..., full=True)",
    "n_steps": "steps=, when the method is made",
    "internal_batch_size": "batch_size=, when the method is made",
    "additional_forward_args": "inputs=[...], all of the model's inputs, and wrt=<the explained ones> when the method "
    "is made",
    "attribute_to_layer_input": "wrt=<the value before the layer>, when the method is made",
    "baselines": "baseline_value=, of the methods that have a baseline",
}


def missing(module: str, name: str) -> Exception:
    """What a module raises for a name that it does not have: another library's is explained."""
    if name in ABSENT:
        return ImportError(f"{module} has no {name}: it {ABSENT[name]}. See docs/moving-in.md.", name=name)
    if name in RENAMED:
        return ImportError(
            f"{module} has no {name}; it is {RENAMED[name]} here. See docs/moving-in.md.", name=name
        )
    return AttributeError(f"module {module!r} has no attribute {name!r}")


def missing_call(kind: str, name: str) -> str:
    """The message for a method that an object does not have."""
    hint = f": it is {_CALLS[name]} here" if name in _CALLS else ""
    return f"{kind!r} object has no attribute {name!r}{hint}"


def parameter_hints(unknown: Iterable[str], known: Iterable[str]) -> str:
    """What unknown parameters may have meant: " Did you mean steps= for n_steps=?", or nothing."""
    return _hints(unknown, list(known), PARAMETERS)


def argument_hints(unknown: Iterable[str], known: Iterable[str]) -> str:
    """The same for arguments of ``explain``."""
    return _hints(unknown, list(known), _ARGUMENTS)


def _hints(unknown: Iterable[str], known: list[str], renamed: dict[str, str]) -> str:
    found = []
    for name in unknown:
        here = renamed.get(name)
        if here is not None and here.isidentifier() and here not in known:
            here = None
        near = difflib.get_close_matches(name, known, 1, 0.7)
        here = here or (near[0] if near else None)
        if here is not None:
            found.append(f"for {name} take {here}{'=' if here.isidentifier() else ''}")
    return f" Here, {'; '.join(found)}." if found else ""
