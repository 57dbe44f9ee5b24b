"""Train the U-Net of `segrt demo` and write its weights, its recording and its test images.

Needs TensorFlow, which nothing else of the demo does (tools/train_demo.requirements.txt)::

    pip install . -r tools/train_demo.requirements.txt
    python tools/train_demo.py            # about eight minutes on two cores

Everything that lands in ``src/segrt/demo/data`` comes from this one run: the network is trained on
images drawn by `segrt.demo.images` (other seeds than the test images'), saved as HDF5, and what
Keras computes in each of its layers for one image is recorded, so that the demo can compare with
Keras where no Keras is installed. Repeated runs give the same images, and weights of the same
quality but not the same bits: sums over threads are not ordered.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers
from PIL import Image

from segrt.demo.images import draw
from segrt.verification.record import record

DATA = Path(__file__).resolve().parents[1] / "src" / "segrt" / "demo" / "data"
TRAIN_SEEDS = range(10_000, 10_700)
HELD_OUT_SEEDS = range(20_000, 20_100)
TEST_SEEDS = range(6)
RECORDED_SEED, RECORDED_PIXELS = 1, 48

Floats = npt.NDArray[np.float32]


def unet(base: int = 8, depth: int = 3) -> keras.Model:
    """Return an untrained U-Net for grey images of any size divisible by ``2 ** depth``.

    Its decoder is the usual one, UpSampling2D (nearest) and a 2x2 convolution. Sizes are free, so
    that one file serves the 128-pixel test images and a recording small enough to be bundled.
    """
    image = x = keras.Input((None, None, 1), name="image")
    skips = []
    for level in range(depth):
        x = block(x, base << level, f"down{level}")
        skips.append(x)
        x = layers.MaxPooling2D(name=f"down{level}_pool")(x)
    x = block(x, base << depth, "bottom")
    x = layers.Dropout(0.2, name="bottom_dropout")(x)
    for level in reversed(range(depth)):
        x = layers.UpSampling2D(2, name=f"up{level}_upsample")(x)
        x = layers.Conv2D(
            base << level, 2, padding="same", activation="relu", name=f"up{level}_conv2x2"
        )(x)
        x = layers.Concatenate(name=f"up{level}_concat")([skips[level], x])
        x = block(x, base << level, f"up{level}")
    x = layers.Conv2D(1, 1, activation="sigmoid", name="cells")(x)
    return keras.Model(image, x, name="cells_unet")


def block(x: Any, filters: int, name: str) -> Any:
    """Two 3x3 convolutions; the second with batch normalisation."""
    x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}_conv1")(x)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def images(seeds: range) -> tuple[Floats, Floats]:
    """Draw images (N, 128, 128, 1) in 0..1 and masks of 0 and 1."""
    drawn = [draw(seed) for seed in seeds]
    pixels = np.stack([image.pixels for image in drawn])[..., None].astype(np.float32) / 255
    masks = np.stack([image.mask for image in drawn])[..., None].astype(np.float32) / 255
    return pixels, masks


def turned(pixels: Floats, masks: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Shuffle, and turn or flip every image at random: eight times as many images."""
    order = rng.permutation(len(pixels))
    out = pixels[order], masks[order]
    for index in range(len(order)):
        quarter, flip = int(rng.integers(4)), rng.random() < 0.5
        for stack in out:
            image = np.rot90(stack[index], quarter)
            stack[index] = image[:, ::-1] if flip else image
    return out


def loss(truth: Any, guess: Any) -> Any:
    """Cross-entropy plus the soft Dice loss, which keeps thin seams from being ignored."""
    overlap = 2 * keras.ops.sum(truth * guess) + 1
    dice = overlap / (keras.ops.sum(truth) + keras.ops.sum(guess) + 1)
    return keras.ops.mean(keras.losses.binary_crossentropy(truth, guess)) + 1 - dice


def train(model: keras.Model, epochs: int) -> None:
    """Fit with Adam, the rate falling along a cosine."""
    pixels, masks = images(TRAIN_SEEDS)
    steps = epochs * -(-len(pixels) // 14)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)), loss)
    rng = np.random.default_rng(0)
    for epoch in range(epochs):
        started = time.perf_counter()
        history = model.fit(*turned(pixels, masks, rng), batch_size=14, verbose=0)
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}: loss {history.history['loss'][0]:.4f}, {seconds:.1f} s")


def quality(model: keras.Model, seeds: range) -> dict[str, float]:
    """Intersection over union and pixel accuracy of the masks (above 0.5), over all pixels."""
    pixels, masks = images(seeds)
    guess, truth = model.predict(pixels, verbose=0, batch_size=20) > 0.5, masks > 0.5
    iou = float((guess & truth).sum() / (guess | truth).sum())
    return {"images": len(seeds), "iou": iou, "accuracy": float((guess == truth).mean())}


def write_images(folder: Path) -> None:
    """Write the test images and their true masks as PNG."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for seed in TEST_SEEDS:
        image = draw(seed)
        Image.fromarray(image.pixels).save(folder / "images" / f"cells_{seed}.png", optimize=True)
        Image.fromarray(image.mask).save(folder / "labels" / f"cells_{seed}.png", optimize=True)


def main() -> None:
    """Train, write, record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--output", type=Path, default=DATA)
    arguments = parser.parse_args()
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(7)
    model = unet()
    train(model, arguments.epochs)
    facts = {
        "keras": keras.__version__,
        "parameters": model.count_params(),
        "epochs": arguments.epochs,
        "held_out": quality(model, HELD_OUT_SEEDS),
        "test": quality(model, TEST_SEEDS),
    }
    # A model without optimizer state: half the bytes, and nothing to ignore.
    model.compile()
    model.save(folder / "cells_unet.h5", include_optimizer=False)
    write_images(folder)
    crop = draw(RECORDED_SEED).pixels[-RECORDED_PIXELS:, -RECORDED_PIXELS:]
    feed = (crop[None, :, :, None].astype(np.float32)) / np.float32(255)
    record(folder / "cells_unet.h5", feed, folder / "keras_recording.npz")
    (folder / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
