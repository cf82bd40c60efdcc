"""TensorFlow in graph mode, and Xplique."""

from __future__ import annotations

import os
from typing import Any, ClassVar

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks.bench.cases import Case
from benchmarks.bench.files import keras_file
from benchmarks.bench.sides.base import BATCH, NOISE, Run, Side, UnavailableError


class TensorFlow(Side):
    """One `tf.function` for the prediction and one for the gradient; Xplique for the rest."""

    tasks: ClassVar = ("gradient", "saliency", "IG", "SquareGrad", "DeconvNet", "GradCAM")

    def __init__(self, case: Case, threads: int):
        super().__init__(case, threads)
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        if case.name == "basic-pitch":
            from benchmarks.bench.real import pitch_keras

            self.model = pitch_keras()
        elif case.keras is None:
            raise UnavailableError("no package has it for TensorFlow")
        else:
            self.model = keras.models.load_model(keras_file(case), compile=False)
        self.classes = self.model.output_shape[-1]

    def prepare(self, task: str, rows: int, points: int = 50) -> dict[str, Run]:
        """See ``Side``."""
        x = self.samples(rows)
        labels = np.eye(self.classes, dtype=np.float32)[np.zeros(rows, int)]
        if task == "gradient":
            return self._tape(tf.constant(x), tf.constant(labels))
        if task == "GradCAM" and not self.case.image:
            raise UnavailableError("Xplique's Grad-CAM takes images")
        explainer = self._method(task, points)
        return {"Xplique": lambda: np.asarray(explainer(x, labels))}

    def _tape(self, x: tf.Tensor, weights: tf.Tensor) -> dict[str, Run]:
        @tf.function
        def gradient() -> tf.Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                score = tf.reduce_sum(self.model(x, training=False) * weights)
            return tape.gradient(score, x)

        @tf.function
        def forward() -> tf.Tensor:
            return self.model(x, training=False)

        return {
            "TensorFlow": lambda: gradient().numpy(),
            "TensorFlow forward": lambda: forward().numpy(),
        }

    def _method(self, task: str, points: int) -> Any:
        from xplique import attributions

        common = {"batch_size": BATCH, "reducer": None}
        if task == "IG":
            return attributions.IntegratedGradients(self.model, steps=points, **common)
        if task == "SquareGrad":
            return attributions.SquareGrad(self.model, nb_samples=points, noise=NOISE, **common)
        if task == "GradCAM":
            return attributions.GradCAM(self.model, batch_size=BATCH)
        kinds = {"saliency": attributions.Saliency, "DeconvNet": attributions.DeconvNet}
        return kinds[task](self.model, **common)
