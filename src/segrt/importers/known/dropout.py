"""Dropout variants of add-on packages: nothing at inference, or a fixed factor.

Sources:
    FixedDropout: https://github.com/qubvel/efficientnet, efficientnet/model.py, 1.1.1.
    DropPath: https://github.com/keras-team/keras-cv, keras_cv/layers/regularization, 0.9.0.
    DropConnect: https://github.com/zhoudaxia233/EfficientUnet, efficientunet/utils.py.
    drop_path: https://github.com/yingkaisha/keras-vision-transformer, swin_layers.py.
    StochasticDepth: keras.applications.convnext (drops samples; nothing at inference);
        tensorflow-addons 0.23 and keras-cv 0.9 (residual times its probability of survival).
"""

from __future__ import annotations

from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import identity, refuse_training, several, single

_NO_EFFECT = "inference: noise that stays on at inference cannot be converted"


@known_layer(
    "FixedDropout",
    origin="efficientnet",
    packages=("efficientnet",),
    required=("rate",),
    optional=("noise_shape", "seed"),
)
@known_layer(
    "DropPath",
    origin="keras-cv",
    packages=("keras_cv", "keras_hub"),
    required=("rate",),
    optional=("seed",),
)
@known_layer("DropConnect", origin="EfficientUnet", required=("drop_connect_rate",))
@known_layer("DropPath", origin="tfimm and others", required=("drop_prob",), optional=("seed",))
@known_layer(
    "drop_path",
    origin="keras-vision-transformer",
    packages=("keras_unet_collection", "keras_vision_transformer"),
    required=("drop_prob",),
)
@known_layer(
    "StochasticDepth",
    origin="keras.applications",
    packages=("keras.applications", "keras.src.applications"),
    required=("drop_path_rate",),
)
@known_layer(
    "DropBlock2D",
    origin="keras-cv",
    packages=("keras_cv", "keras_hub"),
    required=("rate", "block_size"),
    optional=("seed", "data_format"),
)
def nothing_at_inference(call: Call, x: Tensor) -> Tensor:
    """Convert to Identity."""
    x = single(call, x)
    refuse_training(call, _NO_EFFECT)
    return identity(call, x)


@known_layer(
    "StochasticDepth",
    origin="tensorflow-addons",
    packages=("Addons",),
    required=("survival_probability",),
)
def stochastic_depth_of_addons(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert ``x[0] + survival_probability * x[1]``."""
    return _shrunk(call, xs, _config.number(call, "survival_probability"))


@known_layer(
    "StochasticDepth",
    origin="keras-cv",
    packages=("keras_cv", "keras_hub"),
    required=("rate",),
)
def stochastic_depth_of_keras_cv(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert ``x[0] + (1 - rate) * x[1]``."""
    return _shrunk(call, xs, 1.0 - _config.number(call, "rate"))


def _shrunk(call: Call, xs: list[Tensor], share: float) -> Tensor:
    refuse_training(call, _NO_EFFECT)
    shortcut, residual = several(call, xs, exactly=2)
    scaled = call.op("Mul", [residual.value, call.scalar("share", share)], role="scaled")
    return call.apply_part("Add", {}, [shortcut, Tensor(scaled, residual.layout)])
