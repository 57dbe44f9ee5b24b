"""Let a convolution add another image to its result, as blocks with shortcuts do.

An addition by itself reads two images and writes one; a convolution that adds reads only one more.
"""

from __future__ import annotations

from dataclasses import replace

from segrt.cuda.heads import is_head
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Chain, Convolution, Operation, Program


def fuse_residuals(program: Program) -> Program:
    """Return a program whose convolutions add images themselves, where only that reads them.

    Graphs in integers stay as they are: what is added is of another scale than the result.
    """
    if program.scales:
        return program
    kept: list[Operation] = []
    for reader in program.operations:
        maker = _maker(program, kept, reader)
        if maker is None:
            kept.append(reader)
            continue
        other = reader.inputs[1 - reader.inputs.index(maker.output)]
        # At the addition's place: the other image may be made behind the convolution.
        kept.remove(maker)
        kept.append(replace(maker, inputs=(*maker.inputs, other), output=reader.output))
    return replace(program, operations=tuple(kept))


def _maker(program: Program, kept: list[Operation], reader: Operation) -> Convolution | None:
    """Return the convolution that can take an addition over; of two the later one.

    That is the one whose own input need not be kept longer.
    """
    if not isinstance(reader, Chain) or reader.steps != (Step("add", "image"),):
        return None
    if not _ends(program, reader.output):
        return None
    for maker in reversed(kept):
        if not isinstance(maker, Convolution) or maker.output not in reader.inputs:
            continue
        plain = maker.activation == "none" and not maker.residual and not is_head(maker)
        if plain and program.uses(maker.output) == 1 and _alike(program, maker, reader):
            return maker
    return None


def _alike(program: Program, maker: Convolution, reader: Chain) -> bool:
    """Say whether all images are of one size, and of the type that the engine computes in."""
    names = {*maker.inputs, *reader.inputs, reader.output}
    sizes = {program.shapes[name] for name in (*reader.inputs, reader.output)}
    return len(sizes) == 1 and not names & (program.types.keys() | program.dense)


def _ends(program: Program, value: str) -> bool:
    """Say whether no pass follows that would add too, at no cost: any but a ReLU alone."""
    readers = [op for op in program.operations if value in op.inputs]
    if program.uses(value) != 1 or not isinstance(readers[0], Chain):
        return True
    behind = readers[0]
    return behind.inputs[0] != value or [step.op for step in behind.steps] == ["relu"]
