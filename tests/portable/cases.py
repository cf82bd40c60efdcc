"""The explainers that every runtime has to run, and the numbers that the driven rendering gives."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import onnxattr
from onnxattr import attributions
from onnxattr.attributions.base import Attribution
from portable.network import REPEATED, Entry, Network, Variant
from portable.networks import networks
from portable.told import key_of


def write_cases(folder: Path, repeats: int) -> list[Entry]:
    """Exports every explainer into the folder; returns what to expect.

    Args:
        folder: It also gets ``manifest.json``, which the runtimes read.
        repeats: How often each is run at most for its time; 0 for no times.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries, manifest = [], []
    for name, network in networks().items():
        (folder / f"{name}.onnx").write_bytes(network.model.SerializeToString())
        for method in network.methods:
            for variant in [Variant("", np.array(network.target)), *network.variants.get(method, [])]:
                for entry in _export(folder, name, method, variant):
                    entries.append(entry)
                    feeds = _write_feeds(folder, entry)
                    files = [folder / f"{entry.name}.onnx", *(folder / feed["file"] for feed in feeds)]
                    manifest.append({
                        "name": entry.name, "network": name, "file": f"{entry.name}.onnx", "plain": f"{name}.onnx",
                        "feeds": feeds, "repeats": repeats, "key": key_of(files),
                        # Long on WebGPU without a GPU.
                        "heavy": name in ("emotion", "efficientnet_lite0", "efficientnet_lite0_head"),
                    })  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return entries


def load_again(folder: Path, entry: Entry) -> np.ndarray:
    """The attribution that ``onnxattr.load`` gives of an exported file."""
    network, variant = networks()[entry.network], entry.variant
    loaded = onnxattr.load(folder / f"{entry.name}.onnx", seed=network.seed, baseline=variant.baseline)
    return loaded.explain(network.rows, variant.target)


def _write_feeds(folder: Path, entry: Entry) -> list[dict]:
    network, variant = networks()[entry.network], entry.variant
    feeds = {
        network.model.graph.input[0].name: network.rows,
        "target": variant.target,
        "seed": np.array(network.seed),
    }
    if variant.baseline is not None:
        feeds["baseline"] = variant.baseline
    described = []
    for key, array in feeds.items():
        file = f"{entry.name}.feed.{key}"
        (folder / file).write_bytes(array.tobytes())
        described.append({"name": key, "type": str(array.dtype), "dims": list(array.shape), "file": file})
    return described


def _export(folder: Path, name: str, method: str, variant: Variant) -> Iterator[Entry]:
    network = networks()[name]
    explainer, expected = _explainer(network, method), _expected(network, method, variant)
    for rendering in ("batch", "loop") if method in REPEATED else ("batch",):
        entry = Entry(name, method, rendering, variant, expected)
        explainer.export(
            folder / f"{entry.name}.onnx",
            rendering,
            target="weights" if variant.target.ndim > 1 else "labels",
            baseline_input=variant.baseline is not None,
        )
        yield entry


def _expected(network: Network, method: str, variant: Variant) -> dict[str, np.ndarray]:
    """The outputs by name; rows that have a baseline each are explained one by one."""
    if variant.baseline is None:
        return _outputs(_explainer(network, method), network.rows, variant.target)
    rows = [
        _outputs(_explainer(network, method, baseline_value=baseline), x[None], target[None])
        for x, target, baseline in zip(network.rows, variant.target, variant.baseline, strict=True)
    ]
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}


def _outputs(explainer: Attribution, rows: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    outputs = {"attribution": explainer.explain(rows, target), "prediction": explainer.predict(rows)}
    if isinstance(explainer, attributions.IntegratedGradients):
        outputs["convergence_delta"] = explainer.convergence_delta(rows, target)
    return outputs


def _explainer(network: Network, method: str, **more: np.ndarray) -> Attribution:
    options = network.methods[method] | more
    return getattr(attributions, method)(
        network.model,
        network.output_layer,
        batch_size=network.chunk,
        seed=network.seed,
        progress=False,
        providers=["CPUExecutionProvider"],
        **options,
    )
