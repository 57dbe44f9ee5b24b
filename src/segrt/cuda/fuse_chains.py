"""Join what is computed of an image to what it is then combined with: the image itself.

A swish is an image times its sigmoid. As two passes it reads three images and writes two.
"""

from __future__ import annotations

from dataclasses import replace

from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Chain, Operation, Program

# Steps with what they are when their operands change places.
_SWAPPED = {
    "add": "add", "mul": "mul", "max": "max", "min": "min",
    "sub": "rsub", "rsub": "sub", "div": "rdiv", "rdiv": "div",
}  # fmt: skip


def fuse_chains(program: Program) -> Program:
    """Return a program in which chains keep what they come back to, instead of reading it again."""
    kept: list[Operation] = []
    for reader in program.operations:
        maker = _maker(program, kept, reader)
        steps = None
        if isinstance(reader, Chain) and maker is not None:
            steps = _joined(maker, reader)
        if steps is None or maker is None or not isinstance(reader, Chain):
            kept.append(reader)
            continue
        kept.remove(maker)
        vectors = maker.vectors + reader.vectors
        kept.append(replace(reader, inputs=maker.inputs, steps=steps, vectors=vectors))
    return replace(program, operations=tuple(kept))


def _maker(program: Program, kept: list[Operation], reader: Operation) -> Chain | None:
    """Return the chain from one of a reader's two images to the other one, if only it reads it."""
    if not isinstance(reader, Chain) or len(reader.inputs) != 2:
        return None
    for maker in kept:
        if not isinstance(maker, Chain) or maker.output not in reader.inputs:
            continue
        others = tuple(name for name in reader.inputs if name != maker.output)
        # What has a type or scale of its own may be rounded to it.
        own = maker.output in program.types or maker.output in program.scales
        if maker.inputs == others and program.uses(maker.output) == 1 and not own:
            return maker
    return None


def _joined(maker: Chain, reader: Chain) -> tuple[Step, ...] | None:
    """Return the steps of both; None where they cannot be taken one after the other."""
    at = [step.other for step in reader.steps].index("image")
    before, step, behind = reader.steps[:at], reader.steps[at], reader.steps[at + 1 :]
    if any(each.op == "keep" for each in (*maker.steps, *before)):
        return None
    if reader.inputs[0] == maker.output:
        combined = replace(step, other="kept")
        return (Step("keep"), *maker.steps, *before, combined, *behind)
    # What is done to the image first is done to the product as well.
    factors = all(each.op in ("mul", "div") and each.other == "number" for each in before)
    if step.op not in _SWAPPED or (before and not (factors and step.op == "mul")):
        return None
    combined = Step(_SWAPPED[step.op], "kept", step.settings)
    return (Step("keep"), *maker.steps, *before, combined, *behind)
