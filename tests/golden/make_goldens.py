"""Makes the golden models and recordings in ``tests/golden/data`` with real Keras.

Run it once under each Keras; every run fills one folder of ``data`` and its ``index.json``:

    python -m venv k3 && k3/bin/pip install tensorflow-cpu==2.21.0 keras==3.15.1 tf_keras==2.21.0
    k3/bin/python tests/golden/make_goldens.py                             data/keras-3.15
    k3/bin/python tests/golden/make_goldens.py --keras tf_keras            data/tf_keras-2.21
    pip install tensorflow-cpu==2.16.2 keras==3.0.5                        data/keras-3.0
    pip install tensorflow-cpu==2.15.1      (--keras tensorflow.keras)     data/tf.keras-2.15
    pip install tensorflow-cpu==2.12.1      (--keras tensorflow.keras)     data/tf.keras-2.12

These need Python 3.11 and run the project's own ``segrt.verification.record``. The older ones need
Python 3.7; pip's resolver picks wrong companions there, so they are pinned and installed without
it (``pip install --no-deps``):

    tensorflow==1.15.5 keras==2.2.4 h5py==2.10.0 numpy==1.18.5 protobuf==3.20.3 six==1.16.0
    scipy==1.4.1 pyyaml==5.4.1 keras-applications==1.0.8 keras-preprocessing==1.1.2 gast==0.2.2
    astor==0.8.1 google-pasta==0.2.0 opt-einsum==3.3.0 tensorboard==1.15.0
    tensorflow-estimator==1.15.1 termcolor==1.1.0 wrapt==1.12.1 absl-py==0.15.0 grpcio==1.48.2
    markdown==3.3.7 werkzeug==1.0.1 importlib-metadata==4.12.0 zipp==3.8.1
    typing-extensions==4.3.0 cached-property==1.5.2 wheel==0.37.1

for ``data/keras-2.2.4``; the same with ``--keras tensorflow.keras`` for ``data/tf.keras-1.15``; and
with keras==2.0.9 for ``data/keras-2.0.9``. There `_graph_mode.py` records, by the same rules.

An index entry names the saved files (with their hashes and, for weights-only files, the
architecture), the recording, the tolerance (relative L2), and remarks, among them what that Keras
failed to save. Weights and inputs are drawn from the model's name: the same under every Keras.
"""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: B905, BLE001, PTH100, PTH103, PTH107, PTH110, PTH118, PTH120, PTH123
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

import argparse
import hashlib
import importlib
import json
import os
import sys
import traceback
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "..", "src"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# oneDNN sums in an order that depends on the processor; the plain kernels do not.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np  # noqa: E402


def load_kit(module):
    """Import a Keras by its module name and wrap it."""
    import tensorflow
    from _kit import Kit

    inside = module == "tensorflow.keras"
    keras = tensorflow.keras if inside else importlib.import_module(module)
    if not hasattr(keras, "__version__"):
        keras = importlib.import_module("keras")  # since TensorFlow 2.13 the same by another name
    text = keras.__version__
    numbers = text.split("-")[0].split(".")
    version = tuple(int(number) for number in numbers[:3])
    graph_mode = int(tensorflow.__version__.split(".")[0]) < 2
    shown = tensorflow.__version__ if inside else text
    label = "%s-%s" % (module.replace("tensorflow", "tf"), ".".join(shown.split(".")[:2]))
    if module == "keras" and version < (3,):
        label = "keras-" + text
    return Kit(keras, label, version, graph_mode)


def save(kit, model, folder, entry):
    """Save the model in every format this Keras has.

    Returns:
        The index' list of files and remarks on formats that this Keras failed to write.
    """
    archives = kit.version >= (2, 12)
    named = kit.modern and not kit.keras_3  # Keras 2 takes the format by name, others by suffix
    plans = []
    if "full" in entry.formats:
        options = {"save_format": "h5"} if named else {}
        plans.append((".h5", "keras-h5", model.save, options))
    if "archive" in entry.formats and archives:
        options = {"save_format": "keras"} if named else {}
        plans.append((".keras", "keras-archive", model.save, options))
    if "weights" in entry.formats and archives:
        plans.append((".weights.h5", "keras-weights-h5", model.save_weights, {}))
    if "weights" in entry.formats and not kit.keras_3:
        plans.append(("_weights.h5", "legacy-weights-h5", model.save_weights, {}))
    files, remarks = [], []
    for suffix, kind, write, options in plans:
        path = os.path.join(folder, entry.name + suffix)
        try:
            write(path, **options)
        except Exception as error:
            os.remove(path)
            remarks.append("Keras cannot save this model as %s: %s" % (suffix, error))
            continue
        files.append({"file": entry.name + suffix, "format": kind, "sha256": sha256(path)})
        if "weights" in kind:
            files[-1]["architecture"] = entry.name + ".json"
    if "weights" in entry.formats:
        with open(os.path.join(folder, entry.name + ".json"), "w") as stream:
            stream.write(model.to_json())
    return files, remarks


def sha256(path):
    """Return a file's hash."""
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def draw_inputs(entry):
    """Return the inputs of an entry: the same under every Keras."""
    random = np.random.RandomState(zlib.crc32(entry.name.encode()))
    return [random.normal(0.0, 1.0, shape).astype("float32") for shape in entry.shapes]


def run(kit, model, inputs, path, meta):
    """Record the model's values into ``path``."""
    if kit.graph_mode:
        from _graph_mode import record_graph_mode

        record_graph_mode(kit, model, inputs, path, meta)
        return
    from pathlib import Path

    from segrt.verification.record import record_model

    record_model(kit.keras, model, inputs, Path(path), meta)


def rewrite(path, change):
    """Apply ``change(array)`` to every array of a recording."""
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files}
    np.savez_compressed(
        path, **{name: x if name == "meta" else change(x) for name, x in arrays.items()}
    )


def channels_first(array):
    """N H W C to N C H W; other ranks as they are."""
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array


def train_once(kit, model, inputs):
    """One optimizer step, so that there is state to save."""
    shape = tuple(int(size) if size else len(inputs[0]) for size in model.output_shape)
    model.train_on_batch(inputs[0], np.ones(shape, "float32"))


def make(kit, folder, entry):
    """Make one golden; return its entry in the index."""
    seed = zlib.crc32(entry.name.encode()) % 2**31
    inputs = draw_inputs(entry)
    kit.clear()
    if callable(entry.formats):
        entry.formats = entry.formats(kit)
    model = entry.build(kit)
    if entry.train:
        train_once(kit, model, inputs)
    kit.randomise(model, seed)
    files, remarks = save(kit, model, folder, entry)
    recording = os.path.join(folder, entry.name + ".npz")
    meta = {"made_by": "tests/golden/make_goldens.py", "source_sha256": files[0]["sha256"]}
    if entry.twin is None:
        run(kit, model, inputs, recording, meta)
    else:
        weights = model.get_weights()
        kit.clear()
        twin = entry.twin(kit)
        # Slopes of one per channel have their axis elsewhere in the other layout.
        shapes = [array.shape for array in twin.get_weights()]
        twin.set_weights([w.reshape(shape) for w, shape in zip(weights, shapes)])
        run(kit, twin, inputs, recording, meta)
        if entry.transpose:
            rewrite(recording, channels_first)
    return {
        "name": entry.name,
        "files": files,
        "recording": entry.name + ".npz",
        "keras": kit.label,
        "remarks": ([entry.remark] if entry.remark else []) + remarks,
        "tolerance": 1e-5,
    }


def main():
    """Parse the command line and make the goldens."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--keras", default="keras", help="keras, tf_keras or tensorflow.keras")
    parser.add_argument("--only", nargs="*", help="names of models; default: all")
    parser.add_argument("--data", default=os.path.join(HERE, "data"))
    options = parser.parse_args()
    kit = load_kit(options.keras)
    from _zoo import ZOO

    families = (
        "nets", "layers", "files", "volumes", "norms", "attention", "operations", "wrappers",
        "locally", "backend", "names",
    )  # fmt: skip
    for module in (f"_zoo_{family}" for family in families):
        importlib.import_module(module)
    folder = os.path.join(options.data, kit.label)
    os.makedirs(folder, exist_ok=True)
    index_path = os.path.join(folder, "index.json")
    index = {}
    if os.path.exists(index_path):
        with open(index_path) as stream:
            index = {item["name"]: item for item in json.load(stream)}
    failed = 0
    for entry in ZOO:
        if (options.only and entry.name not in options.only) or not entry.needs(kit):
            continue
        try:
            index[entry.name] = make(kit, folder, entry)
            print("made", kit.label, entry.name)
        except Exception:
            failed += 1
            print("FAILED", kit.label, entry.name)
            traceback.print_exc()
    with open(index_path, "w") as stream:
        json.dump([index[name] for name in sorted(index)], stream, indent=1, sort_keys=True)
        stream.write("\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
