"""Recurrent layers."""

import keras

from zoo.cases import stack

L = keras.layers

for _name, _make in {
    "lstm": lambda: [L.LSTM(8)],
    "lstm stacked": lambda: [L.LSTM(8, return_sequences=True), L.LSTM(6)],
    "lstm unrolled": lambda: [L.LSTM(8, unroll=True)],
    "lstm masked": lambda: [L.Masking(0.0), L.LSTM(8)],
    "gru": lambda: [L.GRU(8)],
    "gru reset before": lambda: [L.GRU(8, reset_after=False)],
    "gru unrolled": lambda: [L.GRU(8, unroll=True)],
    "simple rnn": lambda: [L.SimpleRNN(8)],
    "bidirectional lstm": lambda: [L.Bidirectional(L.LSTM(8))],
    "bidirectional gru": lambda: [
        L.Bidirectional(L.GRU(8, return_sequences=True)),
        L.GlobalAveragePooling1D(),
    ],
    "time distributed": lambda: [L.TimeDistributed(L.Dense(7, activation="relu")), L.Flatten()],
}.items():
    stack(_name, (6, 5), lambda make=_make: [*make(), L.Dense(3)])
stack("lstm dynamic length", (None, 5), lambda: [L.LSTM(8), L.Dense(3)], dynamic=(9,))
stack("conv lstm", (4, 8, 8, 2), lambda: [L.ConvLSTM2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(3)])
