"""Keras models that begin with tables of words and hashes: their files take what these layers give."""

import warnings

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import names_of  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")

CODES, TEXTS = np.array([[10], [30], [7]]), np.array([["a"], ["b"], ["z"]])
NUMBERS = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]], np.float32)


def number(name="code"):
    return keras.Input((1,), dtype="int64", name=name)


def text(name="text"):
    return keras.Input((1,), dtype="string", name=name)


def integers(name, **options):
    return L.IntegerLookup(vocabulary=[10, 20, 30], name=name, **options)


def strings(name, **options):
    return L.StringLookup(vocabulary=["a", "b"], name=name, **options)


def embedded(*ids):
    """Embeddings of ids, beside each other."""
    parts = [L.Flatten()(L.Embedding(12, 3)(part)) for part in ids]
    return L.Concatenate()(parts) if len(parts) > 1 else parts[0]


def beside(inputs, columns, as_dict=False):
    """A network of columns and two numbers."""
    extra = keras.Input((2,), name="extra")
    inputs = {tensor.name: tensor for tensor in (*inputs, extra)} if as_dict else [*inputs, extra]
    return keras.Model(inputs, L.Dense(2)(L.Dense(4, "tanh")(L.Concatenate()([columns, extra]))))


def called_twice():
    table, first, second = integers("table"), number("first"), number("second")
    given = {"first": CODES, "second": CODES[::-1]}
    model = beside([first, second], embedded(table(first), table(second)))
    return model, given, {"table": table(CODES), "table_2": table(CODES[::-1])}


def read_twice():
    table, code = integers("table"), number()
    ids = table(code)
    columns = L.Concatenate()([embedded(ids), L.CategoryEncoding(4, output_mode="one_hot")(ids)])
    return beside([code], columns), {"code": CODES}, {"table": table(CODES)}


def two_tables():
    own, other, word = strings("own"), strings("other", output_mode="one_hot"), text()
    columns = L.Concatenate()([embedded(own(word)), other(word)])
    return beside([word], columns), {"text": TEXTS}, {"own": own(TEXTS), "other": other(TEXTS)}


def kept_as_well():
    table, code = integers("table"), number()
    columns = L.Concatenate()([embedded(table(code)), L.CategoryEncoding(40)(code)])
    return beside([code], columns), {"code": CODES}, {"code": CODES, "table": table(CODES)}


def single(table, given):
    def made():
        layer = table()
        tensor = text() if given.dtype.kind == "U" else number("text")
        return beside([tensor], embedded(layer(tensor))), {"text": given}, {layer.name: layer(given)}

    return made


def crossed(as_dict=False):
    """A table that is read by itself and by a cross of features, as FeatureSpace makes them."""
    table, cross = strings("table"), L.HashedCrossing(8, output_mode="one_hot", name="cross")
    word, code = text(), number()
    ids = table(word)
    model = beside([word, code], L.Concatenate()([embedded(ids), cross((ids, code))]), as_dict)
    feeds = {"cross": cross((table(TEXTS), tf.constant(CODES))), "table": table(TEXTS)}
    return model, {"text": TEXTS, "code": CODES}, feeds if as_dict else dict(reversed(feeds.items()))


def eleven():
    tables, codes = [integers(f"table_{k}") for k in range(11)], [number(f"code_{k}") for k in range(11)]
    model = beside(codes, embedded(*(table(code) for table, code in zip(tables, codes, strict=True))))
    given = {f"code_{k}": np.roll(CODES, k, axis=0) for k in range(11)}
    return model, given, {f"table_{k}": tables[k](given[f"code_{k}"]) for k in range(11)}


MODELS = {
    "numbers": single(lambda: integers("table"), CODES),
    "hash of numbers": single(lambda: L.Hashing(6, name="hash"), CODES),
    "hash of texts, salted": single(lambda: L.Hashing(6, salt=3, mask_value="z", name="hash"), TEXTS),
    "called twice": called_twice,
    "read twice": read_twice,
    "two tables of an input": two_tables,
    "an input that is read as well": kept_as_well,
    "crossed": crossed,
    "crossed, by name": lambda: crossed(as_dict=True),
    "eleven tables": eleven,
}


@pytest.mark.parametrize("name", MODELS)
def test_file_takes_what_tables_give(name):
    model, given, feeds = MODELS[name]()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        converted = to_onnx(model, sample=given | {"extra": NUMBERS})
    assert all("which ONNX does not have: the file takes" in str(one.message) for one in said)
    assert len(said) == len(feeds) - ("code" in feeds)
    assert names_of(converted)[0] == (["cross", "extra", "table"] if "by name" in name else [*feeds, "extra"])
    feeds = {key: np.asarray(part) for key, part in feeds.items()} | {"extra": NUMBERS}
    with tf.GradientTape() as tape:
        extra = tf.constant(NUMBERS)
        tape.watch(extra)
        inputs = {key: tf.constant(part) for key, part in given.items()} | {"extra": extra}
        outputs = model(inputs if isinstance(model._inputs_struct, dict) else list(inputs.values()))
        score = outputs[:, 1]
    expected = NUMBERS * tape.gradient(score, extra)
    method = GradientInput(converted, wrt="extra")
    np.testing.assert_allclose(method.predict(feeds), outputs, atol=1e-6)
    maps = method(feeds, np.array([1] * 3))
    np.testing.assert_allclose(maps, expected, atol=1e-5 * np.abs(expected).max())


def of_a_computed_value():
    x = keras.Input((2,), name="x")
    ids = integers("table")(L.Lambda(lambda t: keras.ops.cast(t * 9, "int64"))(x))
    return keras.Model(x, L.Dense(2)(L.Concatenate()([embedded(ids), x])))


def in_a_model_in_front():
    word = text()
    front = keras.Model(word, strings("table", output_mode="one_hot")(word), name="front")
    return beside([word], front(word))


REFUSED = {
    "of a value that is computed with": (
        of_a_computed_value,
        "'table' .IntegerLookup.*'x'.*an input of its own",
    ),
    "in a model in front": (
        in_a_model_in_front,
        "'front/table' .StringLookup. looks values up.*takes what this",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_says_what_to_do(name):
    make, message = REFUSED[name]
    with pytest.raises(ConversionError, match=message):
        to_onnx(make())


@pytest.mark.parametrize("batch", [1, 3])
def test_weighted_counts(batch):
    """Counts are linear in their weights, whose gradients are the rows of the matrix behind; TensorFlow has none."""
    ids, weights = keras.Input((4,), dtype="int64", name="ids"), keras.Input((4,), name="weights")
    counted = L.CategoryEncoding(5, output_mode="count")(ids, count_weights=weights)
    model = keras.Model([ids, weights], L.Dense(2, use_bias=False)(counted))
    rng = np.random.default_rng(0)
    given = {"ids": rng.integers(0, 5, (batch, 4)), "weights": rng.normal(size=(batch, 4)).astype(np.float32)}
    method = GradientInput(to_onnx(model), wrt="weights")
    expected = given["weights"] * model.get_weights()[0][given["ids"], 1]
    np.testing.assert_allclose(method.predict(given), model(list(given.values())), atol=1e-6)
    np.testing.assert_allclose(method(given, np.array([1] * batch)), expected, atol=1e-6)


def test_table_of_a_function_is_named():
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1, 2], [0, 1]), 2)
    x = keras.Input((1,), dtype="int32")
    model = keras.Model(x, L.Embedding(3, 2)(L.Lambda(table.lookup, output_shape=(1,), dtype="int32")(x)))
    with pytest.raises(
        ConversionError, match=r"LookupTableFindV2' looks values up in a table of TensorFlow.*begins"
    ):
        to_onnx(model)
