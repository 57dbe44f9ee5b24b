"""Makes the goldens of Lambda layers: what real Keras computes with their code, form by form.

Run under TensorFlow 2.12 and Keras 3.15 as `make_goldens.py` says:

    k212/bin/python tests/golden/make_lambdas.py --keras tensorflow.keras      lambdas/tf.keras-2.12
    k3/bin/python tests/golden/make_lambdas.py                                 lambdas/keras-3.15
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import make_goldens  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def branches():
    """Return name of the Lambda -> its function; each is called with the image or its means."""
    return {
        "identity": lambda x: x,
        "bilinear": lambda x: tf.image.resize(x, [13, 7]),
        "bilinear_legacy": lambda x: tf.compat.v1.image.resize_bilinear(x, [13, 7]),
        "bilinear_corners": lambda x: tf.compat.v1.image.resize_bilinear(
            x, [13, 7], align_corners=True
        ),
        "bilinear_twice": lambda x: tf.image.resize(x, [16, 12]),
        "nearest": lambda x: tf.image.resize(x, [13, 7], method="nearest"),
        "nearest_legacy": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [13, 7]),
        "nearest_twice": lambda x: tf.image.resize(x, [16, 12], method="nearest"),
        "depth_to_space": lambda x: tf.nn.depth_to_space(x, 2),
        "space_to_depth": lambda x: tf.nn.space_to_depth(x, 2),
        "slice": lambda x: x[..., 2:5],
        "slice_rows": lambda x: x[:, ::2],
        "l2": lambda x: tf.nn.l2_normalize(x, axis=-1),
        "scale": lambda x: x * 2.0 - 0.5,
        "mean": lambda x: tf.reduce_mean(x, [1, 2]),
        "mean_kept": lambda x: tf.reduce_mean(x, [1, 2], keepdims=True),
        "largest": lambda x: tf.reduce_max(x, -1, keepdims=True),
        "expanded": lambda x: tf.expand_dims(x, 1),
        "squeezed": lambda x: tf.squeeze(x[:, :1], 1),
        "sigmoid": tf.nn.sigmoid,
        "softmax": lambda x: tf.nn.softmax(x, axis=1),
        "relu6": tf.nn.relu6,
        "swish": lambda x: x * tf.nn.sigmoid(x),
        "reflect": lambda x: tf.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]], "REFLECT"),
        "symmetric": lambda x: tf.pad(x, [[0, 0], [1, 1], [2, 2], [0, 0]], "SYMMETRIC"),
        "zeros": lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]),
        "transposed": lambda x: tf.transpose(x, [0, 3, 1, 2]),
        "shuffled": lambda x: tf.reshape(
            tf.transpose(tf.reshape(x, [-1, 8, 6, 2, 4]), [0, 1, 2, 4, 3]), [-1, 8, 6, 8]
        ),
        "abs": tf.abs,
        "square": tf.square,
        "clip": lambda x: tf.clip_by_value(x, -0.5, 0.25),
    }


def main():
    """Make one model with all of them side by side."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--keras", default="keras")
    options = parser.parse_args()
    kit = make_goldens.load_kit(options.keras)
    from segrt.verification.record import record_model

    image = kit.Input((8, 6, 8), name="image")
    start = kit.layers.Conv2D(8, 3, padding="same", name="conv")(image)
    outputs = [
        kit.layers.Lambda(function, name=name)(start) for name, function in branches().items()
    ]
    joined = kit.layers.Lambda(lambda xs: tf.concat(xs, -1), name="joined")([start, image])
    model = kit.functional(image, [*outputs, joined], "lambdas")
    kit.randomise(model, 7)
    folder = HERE / "lambdas" / kit.label
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "lambdas.h5", **({} if kit.keras_3 else {"save_format": "h5"}))
    if kit.keras_3:
        model.save(folder / "lambdas.keras")
    inputs = [np.random.RandomState(5).normal(0, 1, (2, 8, 6, 8)).astype("float32")]
    recording = folder / "lambdas.npz"
    record_model(kit.keras, model, inputs, recording, {})
    with np.load(recording) as content:  # every output is a layer's, too
        kept = {name: content[name] for name in content.files if "output/" not in name}
    np.savez_compressed(recording, **kept)


if __name__ == "__main__":
    main()
