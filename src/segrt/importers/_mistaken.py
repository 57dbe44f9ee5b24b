"""What a file of no known format is most likely to be, and what its owner can do."""

from __future__ import annotations

from pathlib import Path

_SAVE = "save the whole model from Keras: model.save('model.h5') or model.save('model.keras')"
_PYTORCH = "export it where PyTorch is: torch.onnx.export(model, ..., 'model.onnx')"

# First bytes, what they mean, what to do.
_HEADS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a pointer of Git LFS: the file itself was never fetched",
        "run in its repository: git lfs pull",
    ),
    (b"<", "a web page or XML, not a model", "download the file itself, not the page about it"),
    (
        b"{",
        "JSON",
        "this looks like an architecture: give the file of weights, with this as --architecture",
    ),
    (b"\x89PNG", "a picture (PNG)", "pictures are for: segrt predict -i"),
    (b"\xff\xd8\xff", "a picture (JPEG)", "pictures are for: segrt predict -i"),
    (b"II*\0", "a picture (TIFF)", "pictures are for: segrt predict -i"),
    (b"MM\0*", "a picture (TIFF)", "pictures are for: segrt predict -i"),
    (b"\x80", "a pickle, as PyTorch and scikit-learn write them; it is never opened", _PYTORCH),
    (b"\x93NUMPY", "a NumPy array", _SAVE),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
)


def explain(path: Path, head: bytes) -> tuple[str, str]:
    """Return what was found and what to do.

    Args:
        path: The file, or the folder whose description was read.
        head: Its first 16 bytes.
    """
    size = path.stat().st_size
    if size == 0:
        return "an empty file", "copy or download it again"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", "give the Keras model that it was made from"
    for start, found, hint in _HEADS:
        # Pages and JSON may begin with blank lines.
        if (head.lstrip() if start in (b"<", b"{") else head).startswith(start[:16]):
            return found, hint
    return f"a file of {size} bytes that begins with {head!r}", _SAVE


def explain_zip(names: set[str]) -> str | None:
    """Say what to do with a zip archive that is no ``.keras``, None where nothing is known."""
    if any(name.endswith("data.pkl") for name in names):
        return f"this is PyTorch's format: {_PYTORCH}"
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy's .npz: if it is a recording, give it to segrt verify --against"
    if any(name.endswith((".h5", ".keras", ".onnx", "saved_model.pb")) for name in names):
        return "unpack it: the model is inside"
    return None
