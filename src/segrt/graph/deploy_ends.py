"""Both ends of a graph as they are deployed: what `segrt build --input` and `--head` ask for."""

from __future__ import annotations

import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph.mask_output import parse_head, put_out_masks
from segrt.graph.pixel_input import take_pixels
from segrt.types import BuildOptions

PIXELS = "uint8"


def deploy_ends(model: ir.Model, options: BuildOptions) -> ir.Model:
    """Return ``model`` with the ends that ``options`` ask for; itself where they ask for none.

    Raises:
        UsageError: Unknown words, or ends that the network cannot be given.
    """
    if options.head is not None:
        model = put_out_masks(model, parse_head(options.head))
    if options.input is not None:
        if options.input != PIXELS:
            raise UsageError(
                f"unknown type of input {options.input!r}", found=options.input, wanted=PIXELS
            )
        model = take_pixels(model, options.preprocess)
    return model
