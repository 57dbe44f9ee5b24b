"""UpsampleLike: the nearest pixels, as many as a second image has.

Sources:
    keras-retinanet: https://github.com/fizyr/keras-retinanet, layers/_misc.py: TensorFlow 1's
        `resize_images`, which takes pixel ``floor(i * in / out)``. It saves no settings.
    deepcell: https://github.com/vanvalenlab/deepcell-tf, layers/upsample.py, 0.12: TensorFlow 2's
        `tf.image.resize`, pixel ``floor((i + 0.5) * in / out)``; volumes axis by axis.
"""

from __future__ import annotations

from segrt.graph.builder import static_shape
from segrt.importers.known._base import known_layer
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import several, wrong_input
from segrt.importers.layers._resample import Convention, resize


@known_layer("UpsampleLike", origin="keras-retinanet", packages=("keras_retinanet",))
def of_keras_retinanet(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert to Resize; its own setting of Keras' data format is not saved: channels last."""
    return _like(call, xs, "legacy")


@known_layer("UpsampleLike", origin="deepcell", packages=("deepcell",), required=("data_format",))
def of_deepcell(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert to Resize."""
    return _like(call, xs, "half_pixel")


def _like(call: Call, xs: list[Tensor], convention: Convention) -> Tensor:
    source, target = several(call, xs, exactly=2)
    if source.rank != 4 or target.rank != 4:
        raise wrong_input(call, f"{source.rank} and {target.rank} axes", "two images of 4 axes")
    value, model = call.channels_first(source), call.channels_first(target)
    height, width = static_shape(model)[2:]
    if height and width and None not in static_shape(value)[2:]:
        return call.wrap(resize(call, value, "nearest", convention, size=(height, width)))
    images = call.op("Shape", [value], role="images", start=0, end=2)
    plane = call.op("Shape", [model], role="plane", start=2)
    sizes = call.op("Concat", [images, plane], role="sizes", axis=0)
    half = convention == "half_pixel"
    return call.wrap(
        call.op(
            "Resize",
            [value, None, None, sizes],
            role="resize",
            mode="nearest",
            nearest_mode="round_prefer_ceil" if half else "floor",
            coordinate_transformation_mode="half_pixel" if half else "asymmetric",
        )
    )
