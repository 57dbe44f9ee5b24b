"""Quantise a trained network to eight bits so that its masks stay: for the CUDA engine.

    python benchmarks/eight_bits.py model.h5 train/*.png -o model-int8.onnx
    segrt build model-int8.onnx -o model.segrt --target cuda --precision int8

Four steps on the network as the engine gets it, none of them a training:

1. Ranges: how large each channel behind a ReLU becomes on the images, but for a few outliers.
2. Equalised: each channel is divided by its range and the weights that read it are multiplied by
   it. A ReLU, a pool, a shuffle and a concatenation let that through, so the network computes the
   same, and one scale serves all channels (Nagel et al. 2019, arXiv:1906.04721).
3. Fitted: a range is made smaller as long as that brings the outputs nearer to what they were,
   on images that the ranges were not taken from.
4. Rounded: a layer's weights one by one, each error made up for by those still to come, by the
   second moments of what the layer reads (Frantar et al. 2022, arXiv:2210.17323).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import quantised
from quantised import write

# Share of each channel's numbers that lie within its range, and what is added to it.
_WITHIN, _HEADROOM = 0.99999, 1.2
# A channel that is hardly ever used gets this part of the largest range.
_LEAST = 1e-3
# How far channels are made alike: less leaves the weights less far apart.
_ALIKE = 0.75
# How many of the images ranges are fitted on, and by which factor a range shrinks at a time, in
# two rounds.
_FITTED, _SMALLER = 4, (0.85, 0.93)
# Added to the second moments' diagonal, in units of its mean.
_DAMPING = 1e-3
# Pixels of an image that second moments are taken from; more cost time only.
_PIXELS = 1 << 13
_BLOCK = 128
# Values of up to this many channels, and the weights that read them, stay as they are.
_FEW = 8

Arrays = dict[str, np.ndarray]


def quantise(model: ir.Model, images: Sequence[np.ndarray]) -> ir.Model:
    """Return a copy with explicit quantisation.

    Args:
        model: Lowered; convolutions with ReLU, pools, shuffles, upsamplings, concatenations.
        images: What the network is run on, one batch each, as it takes them; ten will do.
    """
    copy = model.clone()
    equalise(copy, ranges(copy, images[:-_FITTED]))
    wide = [node.outputs[0] for node in _relus(copy) if _channels(node.outputs[0]) > _FEW]
    largest = fit(copy, [value.name or "" for value in wide], images[-_FITTED:])
    moments = _second_moments(copy, images)
    scales = {}
    for node in _convolutions(copy):
        if node.name in moments:
            kernel = _array(node, 1)
            scales[node.name] = (np.abs(kernel).max(axis=(1, 2, 3)) / 127).astype(np.float32)
            _replace(node, 1, round_weights(kernel, scales[node.name], moments[node.name]))
    return write(copy, largest, scales)


def ranges(model: ir.Model, images: Sequence[np.ndarray]) -> Arrays:
    """Return the range of each channel of every value behind a ReLU."""
    names = [node.outputs[0].name or "" for node in _relus(model)]
    largest: Arrays = {}
    pixels = dict.fromkeys(names, 0)
    for values in _run(model, names, images):
        for name, value in values.items():
            flat = np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)
            pixels[name] += flat.shape[1]
            most = int((1 - _WITHIN) * flat.shape[1] * len(images)) + 1
            known = largest.get(name, flat[:, :0])
            both = np.concatenate([known, np.partition(flat, -most, axis=1)[:, -most:]], axis=1)
            largest[name] = np.partition(both, -most, axis=1)[:, -most:]
    found = {}
    for name, top in largest.items():
        place = int((1 - _WITHIN) * pixels[name])
        reach = np.sort(top, axis=1)[:, -1 - place] * _HEADROOM
        found[name] = np.maximum(reach, max(reach.max() * _LEAST, 1e-6)).astype(np.float32)
    return found


def equalise(model: ir.Model, reach: Mapping[str, np.ndarray]) -> None:
    """Make every range behind a ReLU 1, and its channels more alike; what reads them undoes it."""
    factors: dict[ir.Value, np.ndarray] = {}
    for node in model.graph:
        sources = [factors[x] for x in node.inputs if x is not None and x in factors]
        result = node.outputs[0]
        if node.op_type == "Relu":
            ends = _shared(result, reach[result.name or ""])
            factors[result] = ends.max() * (ends / ends.max()) ** _ALIKE
            maker = node.inputs[0].producer() if node.inputs[0] is not None else None
            assert maker is not None
            assert maker.op_type == "Conv"
            _replace(maker, 1, _array(maker, 1) / factors[result].reshape(-1, 1, 1, 1))
            _replace(maker, 2, _array(maker, 2) / factors[result])
        elif node.op_type == "Concat":
            assert len(sources) == len(node.inputs)
            factors[result] = np.concatenate(sources)
        elif node.op_type == "DepthToSpace":
            factors[result] = _unshuffled(node, sources[0])[0]
        elif node.op_type in ("MaxPool", "Resize"):
            factors[result] = sources[0]
        elif sources:
            assert node.op_type == "Conv", f"{node.op_type} is not known"
            _replace(node, 1, _array(node, 1) * sources[0].reshape(1, -1, 1, 1))


def fit(model: ir.Model, names: Sequence[str], images: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the range of each of these values behind a ReLU, all of which begin with 1."""
    outputs = [value.name or "" for value in model.graph.outputs]
    wanted = [values[name] for values in _run(model, outputs, images) for name in outputs]

    def error(largest: Mapping[str, float]) -> float:
        rounded = write(model, largest, {}, unsigned=True)
        found = [values[name] for values in _run(rounded, outputs, images) for name in outputs]
        return sum(float(np.sum((a - b) ** 2)) for a, b in zip(found, wanted, strict=True))

    largest = dict.fromkeys(names, 1.0)
    least = error(largest)
    # Parts of a concatenation have one range: numbering the values shows who shares.
    shared = quantised.ranges(model.graph, {name: float(i) for i, name in enumerate(names)})
    groups: dict[float, list[str]] = {}
    for value, number in shared.items():
        if value.name in largest:
            groups.setdefault(number, []).append(value.name)
    for group, smaller in ((group, step) for step in _SMALLER for group in groups.values()):
        while True:
            tried = largest | {name: largest[name] * smaller for name in group}
            new = error(tried)
            if new >= least:
                break
            largest, least = tried, new
    return largest


def round_weights(kernel: np.ndarray, scale: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return weights (out, in, y, x) as multiples of ``scale`` (out).

    Args:
        kernel: Where it is zero, as between phases, it stays so.
        scale: Of each output.
        moments: Second moments of the windows (in y x, in y x).
    """
    flat = kernel.reshape(len(kernel), -1).astype(np.float64)
    result = np.zeros_like(flat)
    used, group = np.unique(flat != 0, axis=0, return_inverse=True)
    for index, columns in enumerate(used):
        rows = np.flatnonzero(group.reshape(-1) == index)
        if columns.any():
            part = _compensated(
                flat[np.ix_(rows, columns)], scale[rows, None], moments[np.ix_(columns, columns)]
            )
            result[np.ix_(rows, columns)] = part
    return result.reshape(kernel.shape).astype(np.float32)


def _compensated(weights: np.ndarray, scale: np.ndarray, moments: np.ndarray) -> np.ndarray:
    count = weights.shape[1]
    damped = moments + np.eye(count) * (_DAMPING * np.mean(np.diag(moments)) + 1e-12)
    order = np.argsort(-np.diag(damped))
    weights = weights[:, order].copy()
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    rounded = np.empty_like(weights)
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        errors = np.empty((len(weights), end - start))
        for i in range(start, end):
            rounded[:, i] = np.clip(np.rint(weights[:, i] / scale[:, 0]), -127, 127) * scale[:, 0]
            errors[:, i - start] = (weights[:, i] - rounded[:, i]) / upper[i, i]
            weights[:, i:end] -= np.outer(errors[:, i - start], upper[i, i:end])
        weights[:, end:] -= errors @ upper[start:end, end:]
    result = np.empty_like(rounded)
    result[:, order] = rounded
    return result


def _second_moments(model: ir.Model, images: Sequence[np.ndarray]) -> Arrays:
    """Return those of the windows that each convolution of more than a few channels reads."""
    wanted = {n.name or "": n for n in _convolutions(model) if _array(n, 1).shape[1] > _FEW}
    names = list(dict.fromkeys(n.inputs[0].name or "" for n in wanted.values() if n.inputs[0]))
    rng = np.random.default_rng(0)
    sums: Arrays = {}
    for values in _run(model, names, images):
        for name, node in wanted.items():
            assert node.inputs[0] is not None
            windows = _windows(values[node.inputs[0].name or ""], node, rng)
            sums[name] = sums.get(name, 0) + (windows.T @ windows).astype(np.float64)
    return sums


def _windows(image: np.ndarray, node: ir.Node, rng: np.random.Generator) -> np.ndarray:
    """Return windows (pixels, in y x) at random places."""
    size = _array(node, 1).shape[2:]
    top, left, bottom, right = node.attributes["pads"].as_ints()
    padded = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
    views = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(2, 3))
    n, _, h, w = views.shape[:4]
    places = rng.choice(n * h * w, min(n * h * w, _PIXELS), replace=False)
    b, y, x = np.unravel_index(places, (n, h, w))
    return np.ascontiguousarray(views[b, :, y, x].reshape(len(places), -1))


def _run(
    model: ir.Model, names: Iterable[str], images: Sequence[np.ndarray]
) -> Iterator[dict[str, np.ndarray]]:
    """Run a network image by image; give the values of these names."""
    import onnxruntime as ort

    seen = model.clone()
    known = {value.name: value for node in seen.graph for value in node.outputs}
    names = list(names)
    new = [known[name] for name in names if not known[name].is_graph_output()]
    seen.graph.outputs.extend(new)
    data = ir.serde.serialize_model(seen).SerializeToString()
    options = ort.SessionOptions()
    # What the graph says is wanted, not what could be computed in its stead.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    for image in images:
        yield dict(zip(names, session.run(names, {feed: image}), strict=True))


def _shared(value: ir.Value, reach: np.ndarray) -> np.ndarray:
    """Return the ranges; where phases become one channel, they share the largest."""
    for reader, _ in value.uses():
        if reader.op_type == "DepthToSpace":
            each = _unshuffled(reader, reach).max(axis=0)
            back = np.stack([each] * (len(reach) // len(each)))
            return back.T.reshape(-1) if _by_channel(reader) else back.reshape(-1)
    return reach


def _by_channel(node: ir.Node) -> bool:
    return "mode" in node.attributes and node.attributes["mode"].as_string() == "CRD"


def _unshuffled(node: ir.Node, channels: np.ndarray) -> np.ndarray:
    """Return one number a channel as (phases, channels behind the shuffle)."""
    phases = node.attributes["blocksize"].as_int() ** 2
    return channels.reshape(-1, phases).T if _by_channel(node) else channels.reshape(phases, -1)


def _channels(value: ir.Value) -> int:
    return int(value.shape[1]) if value.shape is not None else 0


def _convolutions(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "Conv"]


def _relus(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "Relu"]


def _array(node: ir.Node, index: int) -> np.ndarray:
    value = node.inputs[index]
    assert value is not None
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy())


def _replace(node: ir.Node, index: int, array: np.ndarray) -> None:
    value = node.inputs[index]
    assert value is not None
    value.const_value = ir.tensor(array.astype(np.float32), name=value.name)


def main() -> None:
    """Quantise a model file."""
    from PIL import Image

    import segrt
    from segrt.passes._base import PassContext
    from segrt.passes._pipeline import lower
    from segrt.targets.cuda import LOWERINGS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    lowered, _ = lower(segrt.load(options.model), PassContext(LOWERINGS[0].upsampling_forms))
    _, height, width, channels = lowered.graph.inputs[0].shape.numpy()  # type: ignore[union-attr]
    images: list[Any] = []
    for path in options.images:
        image = Image.open(path).convert("L" if channels == 1 else "RGB").resize((width, height))
        pixels = np.asarray(image, np.float32).reshape(1, height, width, channels)
        images.append(pixels / 255)
    ir.save(quantise(lowered, images), options.output)


if __name__ == "__main__":
    main()
