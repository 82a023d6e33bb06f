"""The examples exported by Keras: ``python -m benchmarks.peers.export_keras FOLDER keras [EXAMPLE]…``; see
:mod:`benchmarks.peers.telling`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.examples import EXAMPLES
from benchmarks.peers.telling import tell_each


def export(example: str, path: Path, _exporter: str, free: bool) -> None:
    """Write one file; without ``free``, with the sizes that the example has."""
    import keras

    from benchmarks.peers import keras_networks

    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    network = keras_networks.EXAMPLES[example]()
    if not free:
        network = keras_networks.with_fixed_sizes(network, example)
    for variable in network.trainable_variables:
        # As if trained: biases of zeros would be left out of the file.
        variable.assign_add(keras.random.uniform(variable.shape, 0.01, 0.02))
    rows = [item.rows(3) for item in EXAMPLES[example]]
    if example in ("shapes.Shapes", "gan.Critic"):
        rows[0] = rows[0].transpose(0, 2, 3, 1)
    network(rows if len(rows) > 1 else rows[0])
    network.export(path, format="onnx", verbose=False)


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    tell_each(Path(sys.argv[1]), sys.argv[2], sys.argv[3:], export)
