"""Golden models of the locally connected layers, which Keras 3 no longer has."""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: B905, BLE001, PTH100, PTH103, PTH107, PTH110, PTH118, PTH120, PTH123
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

from _zoo import golden
from _zoo_layers import fan


def _has(kit):
    return kit.has("LocallyConnected2D")


def _implementations(kit):
    """Since Keras 2.3 there are three, and the last two take any padding."""
    return (1, 2, 3) if kit.modern else (1,)


@golden((2, 7, 6, 2), needs=_has)
def locally_connected_images(kit):
    """Every implementation, stride and padding on images."""
    local = kit.layers.LocallyConnected2D
    branches = [
        local(3, (3, 2), name="plain"),
        local(2, 3, strides=(2, 3), use_bias=False, name="strided", activation="relu"),
    ]
    for kind in _implementations(kit)[1:]:
        options = {"implementation": kind}
        branches += [
            local(3, (2, 3), name="plain_%d" % kind, **options),
            local(2, 2, strides=(2, 1), name="strided_%d" % kind, activation="elu", **options),
            local(2, (2, 3), padding="same", name="same_%d" % kind, **options),
            local(2, (3, 4), 2, "same", name="same_strided_%d" % kind, **options),
        ]
    return fan(kit, (2, 7, 6, 2), branches)


@golden((2, 2, 6, 5), needs=_has)
def locally_connected_channels_first(kit):
    """The same with channels first: these layers run so on a CPU, too."""
    local = kit.layers.LocallyConnected2D
    branches = []
    for kind in _implementations(kit):
        options = {"implementation": kind} if kind > 1 else {}
        options["data_format"] = "channels_first"
        branches += [
            local(3, (3, 2), name="plain_%d" % kind, **options),
            local(2, 2, strides=(1, 2), name="strided_%d" % kind, activation="tanh", **options),
        ]
    return fan(kit, (2, 2, 6, 5), branches)


@golden((2, 9, 3), needs=_has)
def locally_connected_sequences(kit):
    """Every implementation on sequences, in both layouts where Keras keeps the setting."""
    local = kit.layers.LocallyConnected1D
    branches = [local(2, 3, name="plain"), local(3, 2, strides=3, use_bias=False, name="strided")]
    for kind in _implementations(kit)[1:]:
        branches += [
            local(2, 3, implementation=kind, name="plain_%d" % kind, activation="sigmoid"),
            local(2, 4, strides=2, implementation=kind, padding="same", name="same_%d" % kind),
        ]
    if kit.modern:
        for kind in (1, 2, 3):
            name = "first_%d" % kind
            branches.append(
                local(2, 2, data_format="channels_first", implementation=kind, name=name)
            )
    return fan(kit, (2, 9, 3), branches)
