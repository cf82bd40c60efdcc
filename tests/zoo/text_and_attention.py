"""Embeddings and attention."""

import keras
from keras import ops

from zoo.cases import case, identifiers, stack

L = keras.layers

stack(
    "text average",
    (20,),
    lambda: [
        L.Embedding(100, 8),
        L.GlobalAveragePooling1D(),
        L.Dense(16, activation="relu"),
        L.Dense(2, activation="softmax"),
    ],
    identifiers(100),
    dtype="int32",
)
stack(
    "text masked average",
    (20,),
    lambda: [L.Embedding(100, 8, mask_zero=True), L.GlobalAveragePooling1D(), L.Dense(2)],
    identifiers(5),
    dtype="int32",
)
stack(
    "text conv",
    (20,),
    lambda: [L.Embedding(100, 8), L.Conv1D(8, 3, activation="relu"), L.GlobalMaxPooling1D(), L.Dense(2)],
    identifiers(100),
    dtype="int32",
)


@case("transformer block")
def _():
    tokens = keras.Input((16, 24))
    attended = L.MultiHeadAttention(4, 6, name="mha")(tokens, tokens)
    x = L.LayerNormalization(epsilon=1e-6, name="ln1")(tokens + attended)
    hidden = L.Dense(24, name="ffn2")(L.Dense(48, activation="gelu", name="ffn1")(x))
    x = L.LayerNormalization(epsilon=1e-6, name="ln2")(x + hidden)
    return keras.Model(tokens, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(x)))


@case("transformer text", identifiers(50))
def _():
    ids = keras.Input((16,), dtype="int32")
    x = L.Embedding(50, 24)(ids)
    places = L.Embedding(16, 24)(ops.arange(16))
    x = L.Add()([x, ops.broadcast_to(places, (1, 16, 24)) + 0.0 * x])
    x = L.Add()([x, L.MultiHeadAttention(2, 12)(x, x, use_causal_mask=True)])
    x = L.Dense(24, activation="relu")(L.LayerNormalization()(x))
    return keras.Model(ids, L.Dense(2)(L.GlobalAveragePooling1D()(x)))


@case("vision transformer")
def _():
    image = keras.Input((32, 32, 3))
    x = L.Reshape((16, 24))(L.Conv2D(24, 8, strides=8)(image))
    x = L.Add()([x, L.MultiHeadAttention(4, 6)(L.LayerNormalization()(x), x)])
    x = L.Dense(24, activation="gelu")(L.LayerNormalization()(x))
    return keras.Model(image, L.Dense(5)(x[:, 0]))


@case("attention layers")
def _():
    x = keras.Input((8, 6))
    both = L.Concatenate()([L.Attention()([x, x]), L.AdditiveAttention()([x, x])])
    return keras.Model(x, L.Dense(3)(L.Flatten()(both)))
