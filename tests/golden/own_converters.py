"""Converters for the layers of ``make_own_layers.py``: as a user would write them, for any file."""

import segrt


@segrt.keras_layer(
    "ScaleShift",
    weights=lambda config: [segrt.WeightSpec("scale"), segrt.WeightSpec("shift", False)],
)
def scale_shift(call, x):
    scale = call.weight("scale", call.weights["scale"])
    shift = call.weight("shift", call.weights["shift"])
    product = call.op("Mul", [call.source(x), scale])
    return segrt.Tensor(call.op("Add", [product, shift]), segrt.Layout.SOURCE)


@segrt.keras_layer("Single")
def single(call, x):
    """Ask for arrays one by one: by part and name, and by number."""
    kernel = call.weight("conv/kernel", call.weights["conv/kernel"].transpose(3, 2, 0, 1))
    bias = call.weight("conv/bias", call.weights["conv/bias"])
    inner = call.op("Conv", [call.channels_first(x), kernel, bias], pads=[1, 1, 1, 1])
    slope = call.weight("slope", call.weights["0"].reshape(-1, 1, 1))
    return call.wrap(call.op("Mul", [inner, slope], role="scaled"))


@segrt.keras_layer("ConvBlock")
def conv_block(call, x):
    filters = call.config["filters"]
    wide = {"kernel_size": 3, "padding": "same"}
    y = call.apply_part("Conv2D", {**wide, "filters": filters + 1}, x, role="first")
    y = call.apply_part("BatchNormalization", {"epsilon": 1e-3}, y, role="norm")
    y = call.apply_part("ReLU", {}, y)
    y = call.apply_part("Conv2D", {**wide, "filters": filters}, y, role="second")
    dense = {"units": filters, "activation": "sigmoid"}
    gate = call.apply_part("Dense", dense, y, role="gate")
    return call.apply_part("Multiply", {}, [y, gate])


@segrt.keras_layer("Outer")
def outer(call, x):
    settings = {"filters": call.config["filters"], "kernel_size": 1}
    y = call.apply_part("ConvBlock", {"filters": call.config["filters"]}, x, role="block")
    y = call.apply_part("ScaleShift", {}, y, role="fit")
    offset = call.weight("offset", call.weights["0"])
    y = segrt.Tensor(call.op("Add", [call.source(y), offset], role="moved"), segrt.Layout.SOURCE)
    for index in range(2):
        y = call.apply_part("Conv2D", settings, y, role=f"blocks/{index}")
    return call.apply_part("Conv2D", {**settings, "name": "named_conv"}, y, role="last")


@segrt.keras_layer("OwnConv")
def own_conv(call, x):
    return call.apply_part("Conv2D", call.config, x)
