"""Zero padding before max pooling survives the graph optimisers that users run the ONNX with."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from helpers import keras_files as kf
from helpers import keras_math
from helpers.closeness import assert_same_bits
from segrt.importers._base import import_model


def write(folder, padding, side):
    pad = kf.layer("ZeroPadding2D", "pad", {"padding": [[1, 1], [1, 1]]}, ("image",))
    config = {"pool_size": [3, 3], "strides": [2, 2], "padding": padding}
    pool = kf.layer("MaxPooling2D", "pool", config, ("pad",))
    image = kf.input_layer(shape=(None, side, side, 1))
    described = kf.model_config([image, pad, pool], outputs=("pool",))
    return kf.write_h5(folder / "m.h5", config=described, weights={})


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("side", [6, 7, None])
def test_onnxruntime_by_default(padding, side, tmp_path):
    model = import_model(write(tmp_path, padding, side))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    image = -1 - np.random.default_rng(1).random((1, side or 6, side or 6, 1), dtype=np.float32)
    (found,) = session.run(None, {"image": image})
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    wanted = keras_math.collect(
        (i, j, window[:, inside].max(axis=1))
        for i, j, window, inside in keras_math.windows(padded, (3, 3), (2, 2), padding=padding)
    )
    assert_same_bits(found, wanted.astype(np.float32))
