"""What Keras layers compute, written from their definitions: loops over pixels, in float64."""

import numpy as np


def same_or_valid(size, extent, stride, padding):
    """Return (outputs, before, after) of TensorFlow's padding rule for one axis."""
    if padding == "valid":
        return (size - extent) // stride + 1, 0, 0
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + extent - size, 0)
    return outputs, total // 2, total - total // 2


def windows(x, kernel, strides=(1, 1), dilations=(1, 1), padding="valid"):
    """Yield (i, j, window, inside) for every output pixel; x is N H W C, window N h w C."""
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    plans = [
        same_or_valid(size, extent, stride, padding)
        for size, extent, stride in zip(x.shape[1:3], extents, strides, strict=True)
    ]
    # More than enough behind, so that windows that end beyond the padding can be cut out.
    behind = [extent + stride for extent, stride in zip(extents, strides, strict=True)]
    widths = ((0, 0), (plans[0][1], behind[0]), (plans[1][1], behind[1]), (0, 0))
    padded = np.pad(np.asarray(x, np.float64), widths)
    mask = np.pad(np.ones(x.shape[1:3], bool), widths[1:3])
    for i in range(plans[0][0]):
        for j in range(plans[1][0]):
            rows = slice(i * strides[0], i * strides[0] + extents[0], dilations[0])
            columns = slice(j * strides[1], j * strides[1] + extents[1], dilations[1])
            yield i, j, padded[:, rows, columns], mask[rows, columns]


def collect(pixels):
    """Return N H W C from (i, j, values N C)."""
    found = {(i, j): values for i, j, values in pixels}
    height, width = (1 + max(key[axis] for key in found) for axis in (0, 1))
    return np.stack(
        [np.stack([found[i, j] for j in range(width)], axis=1) for i in range(height)], axis=1
    )


def conv(x, kernel, bias=0.0, *, strides=(1, 1), dilations=(1, 1), groups=1, padding="valid"):
    depth, filters = x.shape[-1] // groups, kernel.shape[-1] // groups

    def pixel(window):
        parts = []
        for group in range(groups):
            taken = window[..., group * depth : (group + 1) * depth]
            taps = kernel[..., group * filters : (group + 1) * filters]
            parts.append(np.einsum("nhwi,hwio->no", taken, taps))
        return np.concatenate(parts, axis=-1) + bias

    return collect(
        (i, j, pixel(window))
        for i, j, window, _ in windows(x, kernel.shape[:2], strides, dilations, padding)
    )


def depthwise(x, kernel, bias=0.0, *, strides=(1, 1), dilations=(1, 1), padding="valid"):
    return collect(
        (i, j, np.einsum("nhwi,hwim->nim", window, kernel).reshape(len(x), -1) + bias)
        for i, j, window, _ in windows(x, kernel.shape[:2], strides, dilations, padding)
    )


def transposed(x, kernel, bias, lengths, strides, padding):
    """Scatter every input pixel; the gradient of a convolution over an image of ``lengths``."""
    height, width = kernel.shape[:2]
    cuts = []
    for size, length, extent, stride in zip(
        x.shape[1:3], lengths, (height, width), strides, strict=True
    ):
        outputs, before, _ = same_or_valid(length, extent, stride, padding)
        assert outputs == size, "no convolution of this length leads back to the input"
        cuts.append(before)
    room = [length + extent + stride for length, extent, stride in
            zip(lengths, (height, width), strides, strict=True)]  # fmt: skip
    full = np.zeros((len(x), room[0], room[1], kernel.shape[2]))
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            top, left = i * strides[0], j * strides[1]
            full[:, top : top + height, left : left + width] += np.einsum(
                "ni,hwoi->nhwo", x[:, i, j].astype(np.float64), kernel
            )
    return full[:, cuts[0] : cuts[0] + lengths[0], cuts[1] : cuts[1] + lengths[1]] + bias


def bilinear(x, factors, *, half_pixel):
    """Sample between the two nearest pixels of every axis, with the border repeated."""
    result = np.asarray(x, np.float64)
    for axis, factor in zip((1, 2), factors, strict=True):
        size = result.shape[axis]
        places = np.arange(size * factor) / factor
        if half_pixel:
            places = (np.arange(size * factor) + 0.5) / factor - 0.5
        low = np.floor(places).astype(int)
        share = (places - low).reshape([-1 if a == axis else 1 for a in range(4)])
        first, second = np.clip(low, 0, size - 1), np.clip(low + 1, 0, size - 1)
        result = np.take(result, first, axis) * (1 - share) + np.take(result, second, axis) * share
    return result
