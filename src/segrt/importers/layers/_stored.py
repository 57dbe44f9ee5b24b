"""The arrays that a file holds for one layer, by any name that a converter may ask for.

Files tell little alike about layers that hold layers:

- ``.keras`` and ``.weights.h5``: by attribute and number (``conv/0``);
- HDF5 of Keras 2 and of Keras 3 since 3.1: by the inner layer's name, mostly an automatic one
  (``conv2d_7/kernel``), trainable arrays first;
- HDF5 of Keras 3.0, and of layers built by hand: by the array's own name alone (``kernel``).

A converter names parts by attribute (``conv``). Such a part is found by that name where the file
has it, else by position: the first arrays left, in the file's order, that have the part's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from segrt.errors import ModelFileError
from segrt.importers._layer_graph import Array, WeightEntry
from segrt.importers._match_weights import in_order, snake_case
from segrt.importers._weight_names import stored_names
from segrt.importers.layers._base import REGISTRY

# Names of Keras' own layers' arrays, in the order of the numbers that stand for them.
_SEQUENCES = (
    ("kernel", "bias"), ("depthwise_kernel", "bias"), ("depthwise_kernel", "pointwise_kernel"),
    ("depthwise_kernel", "pointwise_kernel", "bias"), ("gamma", "beta"), ("embeddings",),
    ("alpha",), ("moving_mean", "moving_variance"), ("gamma", "moving_mean", "moving_variance"),
    ("beta", "moving_mean", "moving_variance"), ("kernel",), ("depthwise_kernel",), ("gamma",),
    ("gamma", "beta", "moving_mean", "moving_variance"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Place:
    """An array and where in its layer it lies: the names of parts, then its own name."""

    parts: tuple[str, ...]
    name: str
    entry: WeightEntry


@dataclass(frozen=True, slots=True)
class PartRequest:
    """What a converter asks for as a part.

    Attributes:
        role: The part's name inside its layer, by attribute: ``conv``, ``blocks/0``.
        class_name: Its class.
        names: Its arrays, in Keras' order; None for all there are.
        own_name: The name in the part's settings, "" where there is none.
        fits: Says whether arrays have the shapes that the part needs.
    """

    role: str
    class_name: str
    names: Sequence[str] | None
    own_name: str
    fits: Callable[[Mapping[str, Array]], bool]


class StoredArrays(Mapping[str, Array]):
    """A layer's arrays under the names of the file; asked for by others, too, where one fits."""

    def __init__(
        self,
        entries: Sequence[WeightEntry],
        layer: str,
        read: Callable[[WeightEntry], Array],
        places: Sequence[_Place] | None = None,
    ) -> None:
        """Describe the arrays of ``layer``; ``read`` is called when one is asked for."""
        self.entries = list(entries)
        self._layer = layer
        self._read = read
        self._places = _places(self.entries, layer) if places is None else list(places)
        self._named = dict(zip(stored_names(self.entries), self.entries, strict=True))
        self._arrays: dict[str, Array] = {}
        self._parts: dict[str, StoredArrays] = {}
        self._taken: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def __getitem__(self, key: str) -> Array:
        entry = self._named.get(key) or self._by_other_name(key)
        if entry is None:
            raise KeyError(f"{key}: the file holds {self.listing()}")
        if entry.path not in self._arrays:
            self._arrays[entry.path] = self._read(entry)
        return self._arrays[entry.path]

    def listing(self) -> str:
        """Return names and shapes, for messages."""
        shown = [f"{name} {entry.shape}" for name, entry in self._named.items()]
        more = f" and {len(shown) - 24} more" if len(shown) > 24 else ""
        return ", ".join(shown[:24]) + more or "no arrays"

    def named(self, names: Sequence[str]) -> dict[str, Array] | None:
        """Return the arrays under these names, given in Keras' order; None if they do not fit."""
        found = in_order(names, self.entries)
        if found is None:
            return None
        own = {entry.path: name for name, entry in self._named.items()}
        return {name: self[own[entry.path]] for name, entry in zip(names, found, strict=True)}

    def wrapped(self, attribute: str, wrappers_own: Sequence[str]) -> StoredArrays:
        """Return the arrays of the one layer that this layer wraps."""
        inner = self._under((attribute,))
        if inner:
            return self._sub(inner, 1)
        left = [place for place in self._places if place.name not in wrappers_own]
        common = len({place.parts[:1] for place in left}) == 1 and bool(left[0].parts)
        return self._sub(left, 1 if common else 0)

    def part(self, request: PartRequest) -> tuple[StoredArrays, str]:
        """Return the arrays of a part, and how they were found if that is not certain.

        Raises:
            ModelFileError: None fit; all that there are are listed.
        """
        if request.role in self._parts:
            return self._parts[request.role], ""
        parts = tuple(map(_plain, request.role.split("/")))
        exact, doubt = self._under(parts), ""
        if exact:
            found = self._sub(exact, len(parts))
        else:
            found, doubt = self._by_position(request, parts)
        self._parts[request.role] = found
        self._taken.update(entry.path for entry in found.entries)
        return found, doubt

    def _by_position(
        self, request: PartRequest, parts: tuple[str, ...]
    ) -> tuple[StoredArrays, str]:
        depth = len(parts) - 1
        while depth and not self._under(parts[:depth]):
            depth -= 1
        left = [p for p in self._under(parts[:depth]) if p.entry.path not in self._taken]
        # Attributes are the converter's own names: one that is not there is not another one.
        groups = [] if self._by_attribute and not depth else _groups(left, depth)
        if self._by_attribute and parts[-1].isdigit():
            groups = _of_list(_groups(self._under(parts[:depth]), depth), int(parts[-1]), groups)
        while len(groups) == 1 and not _suits(groups[0], request) and groups[0].depth < 32:
            groups = _groups(groups[0].places, groups[0].depth)
        candidates = [group for group in groups if _suits(group, request)]
        exact = [group for group in candidates if group.name in (request.own_name, parts[-1])]
        subs = [self._sub(group.places, group.depth) for group in exact[:1] or candidates]
        flat = None if self._by_attribute else _flat(left, depth, request.names)
        subs += [self._sub(flat, depth)] if flat else []
        fitting = [sub for sub in subs if request.fits(sub)]
        if not fitting:
            raise ModelFileError(
                f"layer {self._layer!r}: no arrays for its part {request.role!r} "
                f"({request.class_name})",
                found=self.listing(),
                wanted=f"{request.role}/..., or {', '.join(request.names or ['arrays'])} of the "
                "shapes that the part's settings and input ask for",
                hint="correct the role or the settings, or name all arrays in the file's order: "
                "@segrt.keras_layer(..., weights=...)",
            )
        if len(fitting) == 1:
            return fitting[0], ""
        return fitting[0], (
            f"the file does not name part {request.role!r}: the first arrays of its shapes that "
            f"were left are taken ({fitting[0].entries[0].path}), though "
            f"{fitting[1].entries[0].path} would fit as well; declare weights=... in the file's "
            "order to be sure, and verify against a recording"
        )

    @property
    def _by_attribute(self) -> bool:
        return any(place.name.isdigit() for place in self._places)

    def _under(self, parts: tuple[str, ...]) -> list[_Place]:
        return [place for place in self._places if place.parts[: len(parts)] == parts]

    def _sub(self, places: Sequence[_Place], depth: int) -> StoredArrays:
        inner = [
            replace(
                place,
                parts=place.parts[depth:],
                entry=replace(place.entry, name="/".join((*place.parts[depth:], place.name)))
                if place.name.isdigit()
                else place.entry,
            )
            for place in places
        ]
        entries = [place.entry for place in inner]
        return StoredArrays(entries, self._layer, self._read, inner)

    def _by_other_name(self, key: str) -> WeightEntry | None:
        """Find ``conv/kernel`` where the file says ``conv/0``, and the other way round."""
        *front, name = map(_plain, key.split("/"))
        group = [place for place in self._places if place.parts == tuple(front)]
        if not group and front and not self._by_attribute:
            groups = [g for g in _groups(self._places, 0) if any(p.name == name for p in g.places)]
            flat = [place for place in self._places if not place.parts and place.name == name]
            group = groups[0].places if len(groups) == 1 else [] if groups else flat
        named = [place.entry for place in group if place.name == name]
        if len(named) == 1:
            return named[0]
        if name.isdigit():
            whole = not self._by_attribute and int(name) < len(group)
            return group[int(name)].entry if whole else None
        numbers = {s.index(name) for s in _SEQUENCES if name in s and len(s) == len(group)}
        numbered = {place.name: place.entry for place in group}
        return numbered.get(str(numbers.pop())) if len(numbers) == 1 else None


@dataclass(frozen=True, slots=True)
class _Group:
    """Arrays below one name, ``depth`` names deep in the layer."""

    name: str
    depth: int
    places: list[_Place]


def _places(entries: Sequence[WeightEntry], layer: str) -> list[_Place]:
    if any(entry.name.rpartition("/")[2].isdigit() for entry in entries):
        split = [tuple(map(_plain, entry.name.split("/"))) for entry in entries]
        return [_Place(p[:-1], p[-1], e) for p, e in zip(split, entries, strict=True)]
    places = []
    for entry in entries:
        *parts, _ = entry.path.removesuffix(":0").split("/")
        # The group is the layer's (or a nested model's), and names mostly begin with it again.
        last = max((i for i, part in enumerate(parts) if part == layer), default=-1)
        places.append(_Place(tuple(map(_plain, parts[last + 1 :])), _plain(entry.name), entry))
    return places


def _groups(places: Sequence[_Place], depth: int) -> list[_Group]:
    """Return the arrays deeper than ``depth`` by their next name; numbered names by number."""
    found: dict[str, list[_Place]] = {}
    for place in places:
        if len(place.parts) > depth:
            found.setdefault(place.parts[depth], []).append(place)
    groups = [_Group(name, depth + 1, inside) for name, inside in found.items()]
    if any(place.name.isdigit() for place in places):  # HDF5 lists groups by the alphabet
        groups.sort(key=lambda group: _number(group.name))
    return groups


def _of_list(whole: list[_Group], index: int, left: list[_Group]) -> list[_Group]:
    """Return the one of a list of layers that its number says; files number them by class."""
    if len({_number(group.name)[0] for group in whole}) == 1:
        return whole[index : index + 1]
    return left


def _suits(group: _Group, request: PartRequest) -> bool:
    """Say whether a group may hold a part, by its names and the class its name speaks of."""
    stem, _ = _number(group.name)
    own = snake_case(request.class_name.rpartition(">")[2])
    if stem != own and stem in _stems():
        return False
    if request.names is None:
        return True
    wanted = sorted(name.rpartition("/")[2] for name in request.names)
    names = sorted(place.name for place in group.places)
    return len(names) == len(wanted) and (names == wanted or all(map(str.isdigit, names)))


def _flat(places: Sequence[_Place], depth: int, names: Sequence[str] | None) -> list[_Place] | None:
    """Return arrays that lie in no part: the first of each name, or all; None if any is missing."""
    flat = [place for place in places if len(place.parts) == depth]
    if names is None:
        return flat or None
    found = [next((p for p in flat if p.name == name), None) for name in names]
    chosen = [place for place in found if place is not None]
    return chosen if chosen and len(chosen) == len(names) else None


def _stems() -> set[str]:
    return {snake_case(name) for name, _ in REGISTRY}


def _plain(name: str) -> str:
    """Return an attribute's name without the underscore of a private one."""
    return name.lstrip("_") or name


def _number(name: str) -> tuple[str, int]:
    stem, _, number = name.rpartition("_")
    return (stem, int(number)) if stem and number.isdigit() else (name, 0)
