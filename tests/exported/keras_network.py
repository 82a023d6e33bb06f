"""A small VGG in Keras, and its ONNX file by Keras's own exporter, over PyTorch.

``KERAS_BACKEND=torch python tests/exported/keras_network.py`` writes the file anew that tests take where Keras is not
installed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

DATA = Path(__file__).with_name("data")


def export(path: Path) -> Any:
    """Writes the ONNX file; gives the network, which takes an array [N, 32, 32, 3]."""
    keras.utils.set_random_seed(0)
    image = x = keras.Input((32, 32, 3), name="image")
    for block, width in enumerate((2, 4, 8), 1):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(name=f"block{block}_norm")(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    x = layers.Dense(16, activation="relu", name="fc1")(layers.Flatten(name="flatten")(x))
    network = keras.Model(image, layers.Dense(10, name="predictions")(layers.Dropout(0.5)(x)), name="vgg")
    network(np.zeros((2, 32, 32, 3), np.float32))
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            warnings.simplefilter("ignore")
            network.export(path, format="onnx", verbose=False)
    finally:
        logging.disable(logging.NOTSET)
    return network


if __name__ == "__main__":
    export(DATA / "keras.onnx")
