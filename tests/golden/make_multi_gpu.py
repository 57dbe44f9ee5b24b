"""Makes ``tests/golden/data/multi_gpu``: what is left of training with ``multi_gpu_model``.

    k209/bin/python tests/golden/make_multi_gpu.py
    k224/bin/python tests/golden/make_multi_gpu.py
    k224/bin/python tests/golden/make_multi_gpu.py --keras tensorflow.keras

The environments are those of ``make_goldens.py`` with Keras 2.0.9 and 2.2.4. Each run writes a net
of two inputs and two outputs, split over two GPUs: the weights of the split model with the
architecture of the net (Keras 2.0.9 and 2.2.4 cannot save the split model itself), with tf.keras
the whole split model; and inputs with the split model's answers (``.npz``).

There need be no GPU: Keras is told of two, and TensorFlow runs what was placed there on the CPU.
"""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: PTH100, PTH103, PTH112, PTH118, PTH120, PTH123

import argparse
import importlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
from make_goldens import load_kit

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "multi_gpu")


def build(kit):
    """Return a net that joins an image and a prior, with a mask and an edge."""
    layers = kit.layers
    image, prior = kit.Input((8, 6, 2), name="image"), kit.Input((8, 6, 1), name="prior")
    wide = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    x = layers.BatchNormalization()(wide)
    x = layers.MaxPooling2D((2, 2))(x)
    x = layers.Conv2D(5, 3, padding="same", activation="relu")(x)
    x = layers.UpSampling2D((2, 2))(x)
    x = layers.Concatenate()([x, wide, prior])
    mask = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    edge = layers.Conv2D(2, 1, name="edge")(wide)
    return kit.functional([image, prior], [mask, edge], "net")


def split(kit, model):
    """Return ``multi_gpu_model(model, 2)`` on a machine without GPUs."""
    if kit.tensorflow_keras:
        tools = importlib.import_module("tensorflow.python.keras.utils.multi_gpu_utils")
        tools._get_available_devices = lambda: [
            "/device:" + name for name in ("CPU:0", "GPU:0", "GPU:1")
        ]
    else:
        tools = importlib.import_module("keras.utils.training_utils")
        tools._get_available_devices = lambda: ["/cpu:0", "/gpu:0", "/gpu:1"]
        backend = importlib.import_module("keras.backend.tensorflow_backend")
        backend._has_nchw_support = lambda: False  # it asks TensorFlow 1.15 in vain
    return tools.multi_gpu_model(model, gpus=2)


def main():
    """Build the net, draw weights, split it, write the files."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keras", default="keras")
    kit = load_kit(parser.parse_args().keras)
    model = build(kit)
    parallel = split(kit, model)
    kit.randomise(model, 5)
    parallel.compile("adam", ["binary_crossentropy", "mse"])
    random = np.random.RandomState(6)
    image = random.normal(size=(4, 8, 6, 2)).astype("float32")
    prior = random.normal(size=(4, 8, 6, 1)).astype("float32")
    if not os.path.isdir(DATA):
        os.makedirs(DATA)
    start = os.path.join(DATA, kit.label)
    if kit.tensorflow_keras:
        parallel.save(start + ".h5")
    else:
        parallel.save_weights(start + ".h5")
        with open(start + ".json", "w") as stream:
            stream.write(model.to_json())
    mask, edge = parallel.predict([image, prior], batch_size=4)
    np.savez_compressed(start + ".npz", image=image, prior=prior, mask=mask, edge=edge)


if __name__ == "__main__":
    main()
