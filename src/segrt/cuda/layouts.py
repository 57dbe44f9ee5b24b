"""Which values are kept as images, N H W C, and which dense in the order of the graph's axes.

Volumes, N D H W C, are images here.

Operations on images want images and make them. Those on values of any rank take what comes, so a
value is an image where one such operation meets it, and no operation is there only to convert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from segrt.cuda.operations import Chain, Custom, Export, Import, Operation
from segrt.cuda.tensor_operations import TensorOperation


def images_among(
    operations: Sequence[Operation], shapes: Mapping[str, Sequence[int]]
) -> frozenset[str]:
    """Return the names of the values that are images.

    Args:
        operations: With the graph's names for values.
        shapes: Of all values.
    """
    found: set[str] = set()
    for operation in operations:
        if not isinstance(operation, TensorOperation) and not _goes_along(operation):
            found |= _images_of(operation, shapes)
    # Element-by-element operations compute on either, but not on both at once.
    chains = [_images_of(operation, shapes) for operation in operations if _goes_along(operation)]
    changed = True
    while changed:
        mixed = [names for names in chains if names & found and not names <= found]
        changed = bool(mixed)
        found = found.union(*mixed)
    return frozenset(found)


def _goes_along(operation: Operation) -> bool:
    return isinstance(operation, Chain) and not operation.vectors


def _images_of(operation: Operation, shapes: Mapping[str, Sequence[int]]) -> set[str]:
    # Graph inputs and outputs are in the graph's order, whatever the image within.
    names: Iterable[str] = (*operation.inputs, operation.output)
    if isinstance(operation, Import):
        names = (operation.output,)
    elif isinstance(operation, Export):
        names = operation.inputs
    # An operation of the user's own knows no volumes; others are of five axes for these only.
    ranks = (4,) if isinstance(operation, Custom) else (4, 5)
    return {name for name in names if len(shapes[name]) in ranks}
