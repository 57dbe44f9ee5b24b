"""Image patches as tokens.

Sources:
    patch_extract, patch_embedding, patch_merging, patch_expanding:
        https://github.com/yingkaisha/keras-vision-transformer, transformer_layers.py, and the
        same in keras-unet-collection 0.1.13.
    Patches, PatchEncoder: https://keras.io/examples/vision/image_classification_with_vision_transformer
"""

from __future__ import annotations

from segrt.importers._layer_graph import JsonObject
from segrt.importers.known import _tokens
from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec
from segrt.importers.layers._inputs import single, wrong_input
from segrt.importers.layers._rearrange import depth_to_space

ORIGIN = "keras-vision-transformer"
PACKAGES = ("keras_vision_transformer", "keras_unet_collection")


def _specs(*names: str) -> list[WeightSpec]:
    return [WeightSpec(name) for name in names]


@known_layer("patch_extract", origin=ORIGIN, packages=PACKAGES, required=("patch_size",))
def patch_extract(call: Call, x: Tensor) -> Tensor:
    """Convert to SpaceToDepth; the definition takes the first size and as many columns as rows."""
    size = _config.integers(call, "patch_size")[0]
    x = single(call, x)
    if x.rank != 4 or size < 1 or (x.shape[1] or 0) // size != (x.shape[2] or 0) // size:
        raise wrong_input(call, f"an image of {x.shape[1:3]}", "as many rows as columns of patches")
    return Tensor(_tokens.patches(call, x, size), Layout.SOURCE)


@known_layer("Patches", origin="the Keras examples", required=("patch_size",))
def patches(call: Call, x: Tensor) -> Tensor:
    """Convert to SpaceToDepth."""
    return Tensor(_tokens.patches(call, x, _config.integer(call, "patch_size")), Layout.SOURCE)


def _embedding(_config: JsonObject, /) -> list[WeightSpec]:
    return _specs("proj/kernel", "proj/bias", "pos_embed/embeddings")


@known_layer(
    "patch_embedding",
    origin=ORIGIN,
    packages=PACKAGES,
    required=("num_patch", "embed_dim"),
    weights=_embedding,
)
def patch_embedding(call: Call, x: Tensor) -> Tensor:
    """Convert to a product and a sum."""
    return _tokens.embed(call, single(call, x), "proj", "pos_embed")


def _encoder(_config: JsonObject, /) -> list[WeightSpec]:
    return _specs("projection/kernel", "projection/bias", "position_embedding/embeddings")


@known_layer(
    "PatchEncoder",
    origin="the Keras examples",
    required=("num_patches",),
    optional=("projection_dim",),
    weights=_encoder,
)
def patch_encoder(call: Call, x: Tensor) -> Tensor:
    """Convert to a product and a sum."""
    return _tokens.embed(call, single(call, x), "projection", "position_embedding")


def _merging(_config: JsonObject, /) -> list[WeightSpec]:
    return _specs("linear_trans/kernel")


@known_layer(
    "patch_merging",
    origin=ORIGIN,
    packages=PACKAGES,
    required=("num_patch", "embed_dim"),
    weights=_merging,
)
def patch_merging(call: Call, x: Tensor) -> Tensor:
    """Convert: the four tokens of every 2 x 2 side by side, column by column, then a product."""
    x = single(call, x)
    rows, columns, width = _tokens.grid(call, x)
    if rows % 2 or columns % 2:
        raise call.unsupported("num_patch", (rows, columns), "even numbers")
    value = call.source(x)
    value = _tokens.reshape(call, value, [-1, rows // 2, 2, columns // 2, 2, width], "grid")
    value = _tokens.permute(call, value, [0, 1, 3, 4, 2, 5], "squares")
    shape = [-1, rows * columns // 4, 4 * width]
    merged = Tensor(_tokens.reshape(call, value, shape, "merged"), Layout.SOURCE)
    dense = {"units": 2 * _config.integer(call, "embed_dim"), "use_bias": False}
    return call.apply_part("Dense", dense, merged, role="linear_trans")


def _expanding(_config: JsonObject, /) -> list[WeightSpec]:
    return _specs("linear_trans1/kernel")


@known_layer(
    "patch_expanding",
    origin=ORIGIN,
    packages=PACKAGES,
    required=("num_patch", "embed_dim", "upsample_rate", "return_vector"),
    weights=_expanding,
)
def patch_expanding(call: Call, x: Tensor) -> Tensor:
    """Convert to a convolution of size 1 and DepthToSpace."""
    x = single(call, x)
    rows, columns, width = _tokens.grid(call, x)
    rate = _config.integer(call, "upsample_rate")
    value = _tokens.reshape(call, call.source(x), [-1, rows, columns, width], "grid")
    filters = rate * _config.integer(call, "embed_dim")
    convolution = {"filters": filters, "kernel_size": [1, 1], "use_bias": False}
    grid = Tensor(value, Layout.SOURCE)
    mixed = call.apply_part("Conv2D", convolution, grid, role="linear_trans1")
    spread = call.wrap(depth_to_space(call, call.channels_first(mixed), rate))
    if not _config.flag(call, "return_vector", True):
        return spread
    shape = [-1, rows * columns * rate * rate, width // 2]
    return Tensor(_tokens.reshape(call, call.source(spread), shape, "vector"), Layout.SOURCE)
