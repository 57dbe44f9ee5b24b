"""Makes the goldens of custom layers: real Keras with the packages that publish them.

    python -m venv k212 && k212/bin/pip install tensorflow-cpu==2.12.1 pillow
    k212/bin/pip install --no-deps keras-unet-collection==0.1.13 tensorflow-addons==0.23.0 \
        typeguard==2.13.3 efficientnet==1.1.1 keras-applications==1.0.8 keras-cv==0.9.0 \
        n2v==0.3.3 efficientunet==0.0.6
    k212/bin/pip install --no-deps --ignore-requires-python deepcell==0.12.10
    k212/bin/python tests/golden/make_known_layers.py                     data/known-tf.keras-2.12
    python -m venv k3 && k3/bin/pip install tensorflow-cpu==2.21.0 keras==3.15.1
    k3/bin/python tests/golden/make_known_layers.py --keras keras         data/known-keras-3.15

Layers that no package installs are written out here from their published definition (`_published`).
"""

# ruff: noqa: BLE001, PTH100, PTH103, PTH118, PTH120, PTH123, T201

import argparse
import importlib
import json
import os
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import make_goldens  # noqa: E402


def spare_fixed_variables(kit):
    """Let the kit leave alone what is no weight: indices, masks, flags."""
    randomise = kit.randomise

    def draw(model, seed):
        kept = [
            (weight, weight.numpy())
            for weight in model.weights
            if weight.dtype not in ("float32", tf.float32) or "attn_mask" in weight.name
        ]
        randomise(model, seed)
        for weight, value in kept:
            weight.assign(value)

    import tensorflow as tf

    kit.randomise = draw


def main():
    """Parse the command line and make the goldens."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--keras", default="tensorflow.keras", help="keras or tensorflow.keras")
    parser.add_argument("--only", nargs="*", help="names of models; default: all")
    parser.add_argument("--data", default=os.path.join(HERE, "data"))
    options = parser.parse_args()
    kit = make_goldens.load_kit(options.keras)
    kit.label = "known-" + kit.label
    spare_fixed_variables(kit)
    from _zoo import ZOO

    importlib.import_module("_zoo_known")
    folder = os.path.join(options.data, kit.label)
    os.makedirs(folder, exist_ok=True)
    index = []
    for entry in ZOO:
        if (options.only and entry.name not in options.only) or not entry.needs(kit):
            continue
        try:
            index.append(make_goldens.make(kit, folder, entry))
            print("made", kit.label, entry.name)
        except Exception:
            print("FAILED", kit.label, entry.name)
            traceback.print_exc()
    if not options.only:
        with open(os.path.join(folder, "index.json"), "w") as stream:
            json.dump(index, stream, indent=1, sort_keys=True)
            stream.write("\n")


if __name__ == "__main__":
    main()
