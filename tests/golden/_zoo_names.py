"""Golden models whose layers are called what this project calls other things."""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

from _zoo import golden
from _zoo_nets import EVERYTHING


@golden(
    (1, 4, 6, 3),
    formats=EVERYTHING,
    needs=lambda kit: kit.label == "keras-3.15",
    remark="`x@1` and `x#1` are layers, not the second call and the second output of `x`",
)
def names_like_calls(kit):
    """Layers whose names look like calls and outputs, and hold spaces, quotes and other scripts."""
    layers = kit.layers
    image = kit.Input((4, 6, 3), name="Bild ä")
    first = layers.Conv2D(3, 3, padding="same", name="x@1")(image)
    second = layers.Conv2D(3, 3, padding="same", name="x#1")(first)
    third = layers.Conv2D(3, 3, padding="same", name="x")(second)
    total = layers.Add(name='a\'b "c"')([first, second, third])
    return kit.functional(image, layers.Conv2D(1, 1, name="выход")(total))
