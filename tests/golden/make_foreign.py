"""Makes ``tests/golden/data/foreign``: models as other exporters write them, with their outputs.

    k3/bin/python tests/golden/make_foreign.py keras
    torch/bin/python tests/golden/make_foreign.py torch

The first environment is that of ``make_goldens.py`` (TensorFlow 2.21, Keras 3.15, tf_keras) with
tf2onnx 1.17; the other one has PyTorch 2.13 or later, onnx and onnxscript. Each model lies there
as Keras saved it (where it is one), as ``<model>__<exporter>.onnx`` for every exporter, and with
``<model>.npz``: input and output by the library itself. Weights are drawn from a fixed seed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np

DATA = Path(__file__).parent / "data" / "foreign"


def block(layers, x, filters, name):
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def unet(keras, size, *, bilinear):
    """A U-Net with everything that exporters treat in a way of their own."""
    layers = keras.layers
    image = layers.Input((size, size, 3), name="image")
    first = block(layers, image, 4, "e1")
    x = layers.Conv2D(6, 3, strides=2, padding="same", name="down")(first)
    second = layers.ReLU(6.0, name="relu6")(x)
    x = block(layers, layers.MaxPooling2D(name="pool")(second), 8, "mid")
    x = layers.Dropout(0.3, name="drop")(x)
    x = layers.UpSampling2D(name="up2")(x)
    x = block(layers, layers.Concatenate(name="cat2")([x, second]), 6, "d2")
    mode = "bilinear" if bilinear else "nearest"
    x = layers.UpSampling2D(interpolation=mode, name="up1")(x)
    x = block(layers, layers.Concatenate(name="cat1")([x, first]), 4, "d1")
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="gap")(x)
    gate = layers.Dense(4, activation="sigmoid", name="gate")(gate)
    x = layers.Multiply(name="scaled")([x, gate])
    x = layers.Conv2DTranspose(3, 2, strides=2, padding="same", name="deconv")(
        layers.MaxPooling2D(name="pool0")(x)
    )
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    mask = layers.Conv2D(2, 1, activation="softmax", name="mask")(x)
    return keras.Model(image, mask, name="unet")


def randomise(model):
    random = np.random.RandomState(7)
    for weight in model.weights:
        name = getattr(weight, "path", weight.name)
        if "variance" in name:
            weight.assign(random.uniform(0.4, 1.6, weight.shape))
        elif "gamma" in name:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        else:
            weight.assign(random.normal(0.0, 0.35, weight.shape))


def keep(name, model):
    """Save the model and what it says."""
    model.save(DATA / f"{name}.h5")
    x = np.random.RandomState(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.savez_compressed(DATA / f"{name}.npz", x=x, y=model.predict(x, verbose=0))


def make_keras():
    import keras
    import tensorflow as tf
    import tf2onnx
    import tf_keras
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2 as freeze,
    )

    for name, size, bilinear in (("keras3_free", None, False), ("keras3_fixed", 32, True)):
        model = unet(keras, size, bilinear=bilinear)
        randomise(model)
        keep(name, model)
        model.export(DATA / f"{name}__keras_export.onnx", format="onnx", verbose=False)
        spec = (tf.TensorSpec((None, size, size, 3), tf.float32, name="image"),)
        function = tf.function(model)
        tf2onnx.convert.from_function(
            function, spec, opset=17, output_path=str(DATA / f"{name}__tf2onnx.onnx")
        )
    model = unet(tf_keras, None, bilinear=True)
    randomise(model)
    keep("keras2_free", model)
    for opset in (11, 13, 18):
        target = DATA / f"keras2_free__tf2onnx{opset}.onnx"
        tf2onnx.convert.from_keras(model, opset=opset, output_path=str(target))
    tf.saved_model.save(model, str(DATA / "keras2_free_saved_model"))
    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    frozen = freeze(tf.function(model).get_concrete_function(spec))
    (DATA / "keras2_free.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    make_old_resizes(tf, tf2onnx)


def make_old_resizes(tf, tf2onnx):
    """TensorFlow 1's upsampling in old opsets: Upsample, Resize without coordinates."""
    x = np.arange(2 * 5 * 4 * 3, dtype=np.float32).reshape(2, 5, 4, 3)
    resize = tf.compat.v1.image.resize_nearest_neighbor
    np.savez_compressed(DATA / "resize.npz", x=x, y=resize(x, (10, 12)).numpy())
    for size, kind in (((5, 4), "fixed"), ((None, None), "free")):
        spec = (tf.TensorSpec((None, *size, 3), tf.float32, name="image"),)

        def enlarge(image, *, free=kind == "free"):
            return resize(image, tf.shape(image)[1:3] * [2, 3] if free else (10, 12))

        for opset in (8, 9, 10, 11):
            if (opset, kind) == (8, "free"):
                continue  # Upsample-7 cannot have sizes that are computed
            path = DATA / f"resize__tf2onnx{opset}_{kind}.onnx"
            function = tf.function(enlarge)
            tf2onnx.convert.from_function(function, spec, opset=opset, output_path=str(path))


def make_torch():
    import torch
    from torch import nn

    class Block(nn.Sequential):
        def __init__(self, given, made):
            conv = nn.Conv2d(given, made, 3, padding=1, bias=False)
            super().__init__(conv, nn.BatchNorm2d(made), nn.ReLU6())

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.e1, self.e2, self.mid = Block(3, 4), Block(4, 6), Block(6, 8)
            self.pool, self.drop = nn.MaxPool2d(2), nn.Dropout2d(0.2)
            self.up2, self.d2 = nn.Upsample(scale_factor=2, mode="nearest"), Block(14, 6)
            self.up1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            self.d1, self.up0 = Block(10, 4), nn.ConvTranspose2d(4, 4, 2, stride=2)
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, image):
            a = self.e1(image)
            b = self.e2(self.pool(a))
            c = self.drop(self.mid(self.pool(b)))
            u = self.d2(torch.cat([self.up2(c), b], 1))
            v = self.d1(torch.cat([self.up1(u), a], 1))
            return torch.sigmoid(self.head(self.up0(self.pool(v))))

    torch.manual_seed(3)
    model = UNet().eval()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if "var" in name:
                buffer.uniform_(0.5, 1.5)
            elif "mean" in name:
                buffer.normal_(0, 0.3)
    x = torch.randn(2, 3, 16, 24)
    np.savez_compressed(DATA / "torch.npz", x=x.numpy(), y=model(x).detach().numpy())
    names = {"input_names": ["image"], "output_names": ["mask"]}
    free = {"image": {0: "batch", 2: "height", 3: "width"}}
    torch.onnx.export(
        model, (x,), DATA / "torch__script.onnx", dynamo=False, opset_version=17,
        dynamic_axes=free, **names,
    )  # fmt: skip
    dynamic = torch.export.Dim.DYNAMIC
    torch.onnx.export(
        model, (x,), DATA / "torch__dynamo.onnx", dynamo=True, external_data=False,
        dynamic_shapes={"image": {0: dynamic, 2: dynamic, 3: dynamic}}, **names,
    )  # fmt: skip
    forget_traces(DATA / "torch__dynamo.onnx")


def forget_traces(path):
    """Take out where in this machine's files each node was made."""
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if not entry.key.endswith("stack_trace")]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


if __name__ == "__main__":
    DATA.mkdir(parents=True, exist_ok=True)
    {"keras": make_keras, "torch": make_torch}[sys.argv[1]]()
