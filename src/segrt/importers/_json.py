"""JSON from model files: bounded, and never anything but a ``ModelFileError`` when it is bad."""

from __future__ import annotations

import json
from typing import Any

from segrt.errors import ModelFileError
from segrt.importers._layer_graph import JsonObject

# The largest published segmentation networks have architectures of a few megabytes.
MAX_JSON_BYTES = 64 * 1024 * 1024


def parse_object(text: str | bytes, what: str) -> JsonObject:
    """Parse a JSON object.

    Args:
        text: The document, UTF-8 if bytes.
        what: Where it was found, for messages ("attribute 'model_config' of unet.h5").

    Raises:
        ModelFileError: Too large, not JSON, nested absurdly deep, or not an object.
    """
    if len(text) > MAX_JSON_BYTES:
        raise ModelFileError(
            f"{what} is too large to be a model's description",
            found=f"{len(text)} bytes",
            wanted=f"at most {MAX_JSON_BYTES} bytes",
        )
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{what} is not valid JSON",
            found=str(error)[:200],
            hint="save the model or its architecture again from Keras",
        ) from error
    if not isinstance(value, dict):
        raise ModelFileError(
            f"{what} is not a JSON object", found=type(value).__name__, wanted="{...}"
        )
    return value
