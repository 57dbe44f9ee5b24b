"""Part of `_tensorflow_child`: lets TensorFlow put functions in the place of their calls.

A function to be compiled by XLA (``jit_compile=True``, Keras 3's convolutions with groups) is kept
apart, and so is one marked as not to be inlined; tf2onnx then leaves the call as it is. How a
function is run changes nothing about what it computes. Imports nothing of this project.
"""

from __future__ import annotations

from typing import Any

_APART = ("_XlaMustCompile", "_noinline", "_XlaScope", "_XlaSeparateCompiledGradients")


def allow_inlining(graph: Any) -> bool:
    """Take the marks off every function and call, in place.

    Args:
        graph: A ``GraphDef``.

    Returns:
        Whether there were any.
    """
    functions = list(graph.library.function)
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    found = False
    for holder in (*functions, *nodes):
        for mark in _APART:
            if mark in holder.attr:
                del holder.attr[mark]
                found = True
    return found
