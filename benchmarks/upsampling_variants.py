"""What the spellings of an upsampling do: to a ramp, to an image, and to the masks of a network.

    PYTHONPATH=src python benchmarks/upsampling_variants.py            # the tables
    PYTHONPATH=src python benchmarks/upsampling_variants.py --pictures docs/explanation/img

Everything is run by ONNX Runtime; the reference is NumPy's own repetition of pixels, and for
bilinear the weighting by distance that Keras documents. The network is the bundled one of
`segrt demo`, with each of its three UpSampling2D layers spelled in the way of the row.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
from PIL import Image, ImageDraw

import segrt
from segrt import api
from segrt.targets.onnxruntime import OnnxRuntime
from segrt.types import BuildOptions

Array: TypeAlias = npt.NDArray[Any]
Spelling: TypeAlias = dict[str, str]

DATA = Path(segrt.__file__).parent / "demo" / "data"
FACTORS = (2, 3)
RAMP = (7, 5)
EXACT = ("asymmetric", "floor")
SHOWN = (EXACT, ("tf_half_pixel_for_nn", "round_prefer_floor"), ("half_pixel", "floor"))
NEAREST = (
    EXACT,
    ("tf_half_pixel_for_nn", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("tf_half_pixel_for_nn", "round_prefer_floor"),
    ("half_pixel", "floor"),
    ("half_pixel", "ceil"),
    ("asymmetric", "round_prefer_floor"),
    ("asymmetric", "round_prefer_ceil"),
    ("asymmetric", "ceil"),
    ("align_corners", "round_prefer_floor"),
    ("align_corners", "floor"),
)
LINEAR = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
FORMS = ("resize", "expand", "deconvolution", "transposed", "subpixel")


def nearest(coordinates: str, rounding: str) -> Spelling:
    """Return the attributes of a nearest Resize."""
    return {
        "mode": "nearest",
        "coordinate_transformation_mode": coordinates,
        "nearest_mode": rounding,
    }


def linear(coordinates: str) -> Spelling:
    """Return the attributes of a bilinear Resize."""
    return {"mode": "linear", "coordinate_transformation_mode": coordinates}


def resize(image: Array, factor: int, spelling: Spelling) -> Array:
    """Resize an image (H, W) with ONNX Runtime."""
    scales = onnx.numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32), "scales")
    node = onnx.helper.make_node("Resize", ["x", "", "scales"], ["y"], **spelling)
    sizes: list[Any] = [None] * 4
    graph = onnx.helper.make_graph(
        [node], "resize",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, sizes)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, sizes)],
        [scales],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns that tf_half_pixel_for_nn is old: here it is wanted
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    made: Array = session.run(None, {"x": image[None, None].astype(np.float32)})[0][0, 0]
    return made


def repeated(image: Array, factor: int) -> Array:
    """Return what UpSampling2D's nearest is: every pixel a block."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def interpolated(image: Array, factor: int) -> Array:
    """Return what UpSampling2D's bilinear is in tf.keras and Keras 3: half-pixel centers."""
    for axis in (0, 1):
        size = image.shape[axis]
        where = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        weights = np.maximum(0, 1 - np.abs(where[:, None] - np.arange(size)))
        image = np.moveaxis(np.tensordot(weights, image, (1, axis)), 0, axis)
    return image


def row_shift(factor: int, spelling: Spelling) -> str:
    """Return how far the read pixels lie from the right ones, along one long row."""
    size = 9
    row = np.tile(np.arange(size, dtype=np.float64), (2, 1))
    shift = resize(row, factor, spelling)[0] - repeated(row, factor)[0]
    least, most = round(shift.min()), round(shift.max())
    return "0" if least == most == 0 else f"{least:+d}..{most:+d}"


def ramp_table() -> list[str]:
    """Return the table of nearest spellings on an integer ramp, in Markdown."""
    lines = [
        "| coordinates | rounding | wrong pixels, x2 | read from (pixels off) | wrong pixels, x3 "
        "| read from (pixels off) |",
        "|---|---|---|---|---|---|",
    ]
    ramp = np.arange(RAMP[0] * RAMP[1], dtype=np.float64).reshape(RAMP)
    for coordinates, rounding in NEAREST:
        spelling = nearest(coordinates, rounding)
        cells = [f"`{coordinates}`", f"`{rounding}`"]
        for factor in FACTORS:
            wrong = resize(ramp, factor, spelling) != repeated(ramp, factor)
            cells += [f"{wrong.sum()} of {wrong.size}", row_shift(factor, spelling)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def linear_table() -> list[str]:
    """Return the table of bilinear spellings, in Markdown: a ramp and a photograph-like image."""
    lines = [
        "| coordinates | ramp x2: largest error (steps) | image x2: mean (largest) error, of 255 |",
        "|---|---|---|",
    ]
    row = np.tile(np.arange(16, dtype=np.float64), (16, 1))
    image = demo_image(0)
    for coordinates in LINEAR:
        spelling = linear(coordinates)
        on_ramp = np.abs(resize(row, 2, spelling) - interpolated(row, 2))
        on_image = np.abs(resize(image, 2, spelling) - interpolated(image, 2))
        lines.append(
            f"| `{coordinates}` | {on_ramp.max():.2f} | {on_image.mean():.2f} "
            f"({on_image.max():.1f}) |"
        )
    return lines


def demo_image(index: int) -> Array:
    """Return one of the demo's images, (H, W), 0 to 255."""
    return np.asarray(Image.open(DATA / "images" / f"cells_{index}.png"), dtype=np.float64)


def demo_truth(index: int) -> npt.NDArray[np.bool_]:
    """Return where the cells are."""
    return np.asarray(Image.open(DATA / "labels" / f"cells_{index}.png")) > 127


def spelled(model: ir.Model, spelling: Spelling) -> ir.Model:
    """Return a copy of a network with every Resize spelled otherwise."""
    copy = model.clone()
    for node in copy.graph:
        if node.op_type == "Resize":
            for name, text in spelling.items():
                node.attributes[name] = ir.AttrString(name, text)
    return copy


def outputs_of(model: ir.Model) -> list[Array]:
    """Return the network's output (H, W) for each demo image."""
    with OnnxRuntime().open_model(model, BuildOptions(threads=2)) as session:
        name = session.inputs[0].name
        feeds = [(demo_image(index) / 255).astype(np.float32) for index in range(6)]
        return [
            next(iter(session.run({name: feed[None, :, :, None]}).values()))[0, :, :, 0]
            for feed in feeds
        ]


def agreement(outputs: list[Array], reference: list[Array]) -> str:
    """Compare the outputs with the reference's, and their masks with the truth."""
    pairs = list(zip(outputs, reference, strict=True))
    same = np.mean([((a > 0.5) == (b > 0.5)).mean() for a, b in pairs])
    largest = max(float(np.abs(a - b).max()) for a, b in pairs)
    both = sum(float(((o > 0.5) & demo_truth(i)).sum()) for i, o in enumerate(outputs))
    either = sum(float(((o > 0.5) | demo_truth(i)).sum()) for i, o in enumerate(outputs))
    return f"{largest:.2g} | {same:.4%} | {both / either:.4f}"


def network_table() -> list[str]:
    """Return what each spelling and each exact form does to the demo network's masks."""
    model = api.load(DATA / "cells_unet.h5")
    reference = outputs_of(model)
    lines = [
        "| upsampling in all three places | largest output error | pixels with the same mask "
        "| IoU with the truth |",
        "|---|---|---|---|",
    ]
    for form in FORMS:
        lowered, _ = api.lower(model, target="onnxruntime", upsampling=form)
        lines.append(f"| form `{form}` | {agreement(outputs_of(lowered), reference)} |")
    for coordinates, rounding in NEAREST[1:]:
        found = agreement(outputs_of(spelled(model, nearest(coordinates, rounding))), reference)
        lines.append(f"| `{coordinates}`, `{rounding}` | {found} |")
    found = agreement(outputs_of(spelled(model, linear("half_pixel"))), reference)
    lines.append(f"| bilinear instead of nearest | {found} |")
    return lines


def ramp_picture() -> Image.Image:
    """Draw a 5x5 pattern upsampled by 2 in each spelling; wrong pixels get a red dot."""
    cell, gap, size, factor = 22, 28, 5, 2
    random = np.random.default_rng(3)
    pattern = random.permutation(size * size).reshape(size, size) * 10.0
    side = size * factor * cell
    sheet = Image.new("RGB", ((side + gap) * len(SHOWN) + gap, side + 2 * gap), "white")
    draw = ImageDraw.Draw(sheet)
    wanted = repeated(pattern, factor)
    for index, (coordinates, rounding) in enumerate(SHOWN):
        left = gap + index * (side + gap)
        made = resize(pattern, factor, nearest(coordinates, rounding))
        draw.text((left, 8), f"{coordinates}, {rounding}", fill="black")
        for y, x in np.ndindex(made.shape):
            corner = (left + x * cell, gap + y * cell)
            grey = int(made[y, x])
            draw.rectangle([corner, (corner[0] + cell - 1, corner[1] + cell - 1)], (grey,) * 3)
            if made[y, x] != wanted[y, x]:
                middle = (corner[0] + cell // 2, corner[1] + cell // 2)
                draw.ellipse(
                    [(middle[0] - 3, middle[1] - 3), (middle[0] + 3, middle[1] + 3)], (220, 30, 30)
                )
    return sheet


def mask_picture() -> Image.Image:
    """Draw an image, its mask, and the masks of shifted spellings with wrong pixels in red."""
    index, gap = 0, 22
    model = api.load(DATA / "cells_unet.h5")
    image = demo_image(index).astype(np.uint8)
    height, width = image.shape
    panels = [("image", np.stack([image] * 3, axis=-1))]
    reference = outputs_of(model)[index] > 0.5
    for coordinates, rounding in SHOWN:
        mask = outputs_of(spelled(model, nearest(coordinates, rounding)))[index] > 0.5
        colours = np.where(mask, 235, 40)[..., None].repeat(3, axis=-1).astype(np.uint8)
        colours[mask & ~reference] = (220, 30, 30)
        colours[~mask & reference] = (30, 90, 220)
        panels.append((f"{coordinates}, {rounding}", colours))
    sheet = Image.new("RGB", ((width * 2 + 8) * len(panels), height * 2 + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for position, (title, pixels) in enumerate(panels):
        left = position * (width * 2 + 8)
        draw.text((left + 2, 5), title, fill="black")
        large = Image.fromarray(pixels).resize((width * 2, height * 2), Image.Resampling.NEAREST)
        sheet.paste(large, (left, gap))
    return sheet


def main() -> None:
    """Print the tables; write the pictures if asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help="folder to write the pictures to")
    arguments = parser.parse_args()
    for table in (ramp_table, linear_table, network_table):
        print("\n".join(table()), end="\n\n")
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        ramp_picture().save(arguments.pictures / "nearest_spellings.png", optimize=True)
        colours = mask_picture().quantize(64)
        colours.save(arguments.pictures / "nearest_masks.png", optimize=True)


if __name__ == "__main__":
    main()
