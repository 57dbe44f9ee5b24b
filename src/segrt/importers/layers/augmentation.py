"""Random changes of images: they act in training only."""

from __future__ import annotations

from segrt.importers.layers._base import Call, Tensor, keras_layer
from segrt.importers.layers._inputs import identity, refuse_training, single


@keras_layer(
    "RandomFlip",
    "RandomTranslation",
    "RandomRotation",
    "RandomZoom",
    "RandomContrast",
    "RandomBrightness",
    "RandomHeight",
    "RandomWidth",
    "RandomHue",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomColorJitter",
    "RandomColorDegeneration",
    "RandomGrayscale",
    "RandomPosterization",
    "RandomGaussianBlur",
    "RandomErasing",
    "RandomElasticTransform",
    "RandomPerspective",
    "RandomInvert",
)
def augmentation(call: Call, x: Tensor) -> Tensor:
    """Convert to Identity.

    Their call's default is ``training=True``. Keras 3 writes that down with every call, and
    predicts without it all the same; in Keras 2 it stands there only where the user said so.
    """
    x = single(call, x)
    if call.keras_major == 2:
        refuse_training(call, "inference: random images cannot be converted")
    return identity(call, x)
