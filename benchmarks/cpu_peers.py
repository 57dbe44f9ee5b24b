"""SegRT's CPU session against the usual ways to run a Keras U-Net on a CPU, in one run.

Needs an environment with TensorFlow, Keras 3, tf2onnx, ONNX Runtime and OpenVINO beside SegRT:

    PYTHONPATH=src python benchmarks/cpu_peers.py --models w16,w64 --rounds 21 --json result.json

All candidates get the same tiles in turns, with a pause before each run: threads that spin on
after one library's run (ONNX Runtime's and TensorFlow's do) would slow the next one's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import segrt
from segrt.errors import UnavailableError
from segrt.targets._processor import processor_name

SIDE = 256
REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEGRT_SHARED", REPOSITORY.parent / "shared"))
PEERS = ("keras predict", "tf.function", "tf2onnx + onnxruntime", "tf2onnx + openvino")

Run = Callable[[np.ndarray], np.ndarray]


def u_net(width: int) -> Any:
    """Build zhixuhao's U-Net with random weights; 64 is the published width."""
    import keras
    from keras import layers

    def conv(x: Any, filters: int, size: int = 3) -> Any:
        options = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
        return layers.Conv2D(filters, size, **options)(x)

    keras.utils.set_random_seed(0)
    x = image = layers.Input((SIDE, SIDE, 1))
    skips = []
    for level in range(5):
        x = conv(conv(x, width << level), width << level)
        if level >= 3:
            x = layers.Dropout(0.5)(x)
        if level < 4:
            skips.append(x)
            x = layers.MaxPooling2D()(x)
    for level in reversed(range(4)):
        x = conv(layers.UpSampling2D()(x), width << level, 2)
        x = layers.Concatenate(axis=3)([skips[level], x])
        x = conv(conv(x, width << level), width << level)
    x = conv(x, 2)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))


def images(count: int) -> list[np.ndarray]:
    """Return tiles of membrane images, (1, 256, 256, 1) in 0..1; noise where they are missing.

    Cut, not resized: the trained net knows membranes at their native size.
    """
    files = sorted((SHARED / "data" / "membrane" / "test").glob("*.png"))
    if not files:
        print("no membrane images found: using noise")
        rng = np.random.default_rng(0)
        return [rng.random((1, SIDE, SIDE, 1), dtype=np.float32) for _ in range(count)]
    tiles = []
    for index in range(count):
        pixels = np.asarray(Image.open(files[index % len(files)]).convert("L"), np.float32) / 255
        # Another corner for every image: top left, top right ...
        top, left = SIDE * (index // 2 % 2), SIDE * (index % 2)
        tiles.append(pixels[None, top : top + SIDE, left : left + SIDE, None])
    return tiles


def peers(model: Any, threads: int) -> dict[str, Run]:
    """Return the other ways to run ``model``, at batch 1."""
    import onnxruntime
    import openvino
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((1, SIDE, SIDE, 1), tf.float32, name="image")]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=18)
    data = proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    onnx_session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
    core = openvino.Core()
    request = core.compile_model(
        core.read_model(data),
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        },
    ).create_infer_request()
    runs: tuple[Run, ...] = (
        lambda image: model.predict(image, verbose=0),
        lambda image: function(tf.constant(image)).numpy(),
        lambda image: onnx_session.run(None, {"image": image})[0],
        lambda image: np.array(request.infer([image], share_inputs=True)[0]),
    )
    return dict(zip(PEERS, runs, strict=True))


def segrt_runs(file: Path, threads: int) -> dict[str, Run]:
    """Return SegRT's sessions, fp32 and, where the processor has it, bf16."""
    found: dict[str, Run] = {}
    for precision in ("fp32", "bf16"):
        try:
            package = segrt.build(file, target="cpu", precision=precision, threads=threads, batch=1)
        except UnavailableError as error:
            print(f"no {precision}: {error}")
            continue
        session = segrt.open_session(package)
        print(f"segrt {precision}: {json.dumps(package.manifest.engine)}")
        found[f"segrt {precision}"] = _feeder(session)
    return found


def _feeder(session: Any) -> Run:
    (source,), (result,) = session.inputs, session.outputs
    return lambda image: session.run({source.name: image})[result.name]


def measure(
    runs: dict[str, Run], batch: list[np.ndarray], rounds: int, pause_s: float
) -> dict[str, list[float]]:
    """Return milliseconds per candidate; every round runs all of them on one image."""
    for run in runs.values():
        run(batch[0])
        run(batch[-1])
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for count in range(rounds):
        image = batch[count % len(batch)]
        # Another order every round: nobody always follows the same neighbour.
        for name in names[count % len(names) :] + names[: count % len(names)]:
            time.sleep(pause_s)
            started = time.perf_counter()
            runs[name](image)
            times[name].append((time.perf_counter() - started) * 1e3)
    return times


def report(runs: dict[str, Run], times: dict[str, list[float]], batch: list[np.ndarray]) -> Any:
    """Print and return the table: times, against the best peer, agreement with Keras."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min(medians[name] for name in PEERS)
    wanted = [runs[PEERS[0]](image) for image in batch]
    rows = []
    for name, run in runs.items():
        found = [run(image) for image in batch]
        scale = np.linalg.norm(np.concatenate(wanted))
        agreement = [np.mean((a > 0.5) == (b > 0.5)) for a, b in zip(found, wanted, strict=True)]
        rows.append(
            {
                "candidate": name,
                "median_ms": round(medians[name], 2),
                "fastest_ms": round(min(times[name]), 2),
                "against_best_peer": round(best / medians[name], 3),
                "relative_l2": float(np.linalg.norm(np.subtract(found, wanted)) / scale),
                "mask_agreement": float(np.mean(agreement)),
                "worst_agreement": float(min(agreement)),
            }
        )
        row = rows[-1]
        print(
            f"{name:24s} median {row['median_ms']:8.2f} ms  fastest {row['fastest_ms']:8.2f} ms  "
            f"{row['against_best_peer']:.2f} x best peer  relative L2 {row['relative_l2']:.1e}  "
            f"masks agree {row['mask_agreement']:.6f}, worst {row['worst_agreement']:.6f}"
        )
    return rows


def main() -> None:
    """Measure the models asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="w16,w64", help="w16 is the trained net, w<N> random")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pause-ms", type=float, default=50)
    parser.add_argument("--json", type=Path, help="write the tables here")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print(f"{processor_name()}, {arguments.threads} threads, load {os.getloadavg()[0]:.2f}")
    tables = {}
    batch = images(arguments.images)
    for name in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            file = SHARED / "models" / "unet_membrane_w16.h5"
            if name != "w16" or not file.exists():
                file = Path(folder) / f"{name}.h5"
                u_net(int(name[1:])).save(file)
            model = keras.models.load_model(file, compile=False)
            print(f"\n{name}: {model.count_params():,} parameters")
            runs = peers(model, arguments.threads) | segrt_runs(file, arguments.threads)
        times = measure(runs, batch, arguments.rounds, arguments.pause_ms / 1e3)
        tables[name] = report(runs, times, batch)
    if arguments.json:
        arguments.json.write_text(json.dumps({"processor": processor_name(), "tables": tables}))


if __name__ == "__main__":
    main()
