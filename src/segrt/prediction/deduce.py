"""What a network's graph says about how images go through it."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from segrt.graph.output_kind import output_kind
from segrt.graph.size_multiple import size_multiple
from segrt.graph.specs import input_specs
from segrt.prediction.options import PredictOptions


def deduce(graph: ir.Model, options: PredictOptions) -> PredictOptions:
    """Return the options with the sizes that the network takes and what it puts out.

    Args:
        graph: The network before any pass.
        options: What was asked for.
    """
    spec = input_specs(graph)[0]
    if len(spec.shape) != 4:
        return options
    multiple = size_multiple(
        graph, channel_axis=spec.channel_axis or -1, output=options.output_name
    )
    return replace(options, multiple=multiple, kind=output_kind(graph, options.output_name))
