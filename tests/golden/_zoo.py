"""The registry of golden models: small nets that together show all a Keras file can hold."""

ZOO = []


class Entry:
    """One golden model.

    Attributes:
        name: Of its files.
        build: ``build(kit) -> model``, uncompiled unless the file shall hold training state.
        shapes: Shape of each input, batch first.
        formats: What to save: ``full`` (.h5), ``archive`` (.keras), ``weights`` (weights-only
            .h5 and JSON); or ``formats(kit)`` that says so.
        needs: ``needs(kit) -> bool``: whether this Keras can build it.
        twin: ``twin(kit) -> model`` that Keras can run on this machine where it cannot run the
            model itself; it gets the model's weights.
        transpose: The twin is channels last and the model channels first.
        train: Train one step before the weights are drawn, so that optimizer state is saved.
        remark: For people.
    """

    def __init__(self, name, build, shapes, formats, needs, twin, transpose, train, remark):
        self.name = name
        self.build = build
        self.shapes = shapes
        self.formats = formats
        self.needs = needs
        self.twin = twin
        self.transpose = transpose
        self.train = train
        self.remark = remark


def golden(
    *shapes,
    formats=("full", "archive"),
    needs=lambda kit: True,
    twin=None,
    transpose=False,
    train=False,
    remark="",
):
    """Register a model builder under its function's name."""

    def decorate(build):
        ZOO.append(
            Entry(build.__name__, build, shapes, formats, needs, twin, transpose, train, remark)
        )
        return build

    return decorate
