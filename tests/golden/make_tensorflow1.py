"""Makes ``tests/golden/data/foreign/tensorflow1*``: one net of TensorFlow 1, trained and stored.

    k224/bin/python tests/golden/make_tensorflow1.py

The environment is that of ``make_goldens.py`` with TensorFlow 1.15. The net lies there frozen
(``.pb``) and as a SavedModel, both of a session that trained: its learning phase, the branches
of dropout and batch normalization and the optimizer are still in the graph. Beside them an input
and what the net answers at inference (``.npz``). Weights are drawn from a fixed seed.
"""

# TensorFlow 1 needs Python 3.7, so this is written in its language.
# ruff: noqa: PTH100, PTH118, PTH120, PTH123

import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "foreign")


def build():
    """Return a net whose layers behave differently in training."""
    layers = tf.keras.layers
    image = layers.Input((12, 10, 2), name="image")
    x = layers.Conv2D(3, 3, padding="same", name="conv")(image)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Activation("relu", name="relu")(x)
    x = layers.Dropout(0.4, name="drop")(x)
    return tf.keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x))


def main():
    """Build, train a step, draw weights, store."""
    random = np.random.RandomState(11)
    model = build()
    model.compile("sgd", "mse")
    image = random.normal(size=(2, 12, 10, 2)).astype("float32")
    model.train_on_batch(image, np.zeros((2, 12, 10, 1), "float32"))
    model.set_weights([random.uniform(0.2, 0.9, array.shape) for array in model.get_weights()])
    np.savez_compressed(os.path.join(DATA, "tensorflow1.npz"), x=image, y=model.predict(image))
    session = tf.compat.v1.keras.backend.get_session()
    graph = tf.compat.v1.graph_util.convert_variables_to_constants(
        session, session.graph.as_graph_def(), [model.output.op.name]
    )
    with open(os.path.join(DATA, "tensorflow1.pb"), "wb") as stream:
        stream.write(graph.SerializeToString())
    folder = os.path.join(DATA, "tensorflow1_saved_model")
    shutil.rmtree(folder, ignore_errors=True)
    signature = tf.compat.v1.saved_model.predict_signature_def(
        {"image": model.input}, {"mask": model.output}
    )
    builder = tf.compat.v1.saved_model.Builder(folder)
    builder.add_meta_graph_and_variables(
        session, ["serve"], {"serving_default": signature}, strip_default_attrs=True
    )
    builder.save()


if __name__ == "__main__":
    main()
