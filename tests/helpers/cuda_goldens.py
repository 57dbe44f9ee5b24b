"""Which golden models the CUDA engine is tried on."""

from __future__ import annotations

from helpers.goldens import GOLDENS, Golden

# Newest first: each model is taken from the first of these that has it.
_FOLDERS = ("keras-3.15", "tf_keras-2.21", "tf.keras-2.15", "known-keras-3.15")


def _rank(golden: Golden) -> tuple[int, bool, str]:
    folder = golden.folder.name
    place = _FOLDERS.index(folder) if folder in _FOLDERS else len(_FOLDERS)
    return place, not golden.file.endswith(".keras"), str(golden)


def one_of_each() -> list[Golden]:
    """Return a golden for each model, however many versions of Keras saved it."""
    found: dict[str, Golden] = {}
    for golden in sorted(GOLDENS, key=_rank):
        found.setdefault(golden.name, golden)
    return sorted(found.values(), key=str)
