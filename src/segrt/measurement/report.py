"""What a measurement found: plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from segrt._report_json import plain, to_text
from segrt.measurement.ceiling import Ceiling
from segrt.measurement.gauges._base import LayerTime
from segrt.measurement.statistics import Times

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to run the network, at one batch size.

    Attributes:
        name: ``segrt`` for the package's engine alone, ``segrt, with copies`` for `Session.run`
            on arrays of the host where that is not the same, else the peer's name.
        batch: Images a run.
        times: Milliseconds a run.
        images_per_second: By the median.
        tflops: 10^12 operations of the network a second, by the median.
        ceiling_share: ``tflops`` as a share of the measured matrix product's; None without one.
        memory_bytes: What it holds; None where unknown.
        error: Relative L2 difference of the outputs from the network before any pass, in fp32; of
            masks the share of pixels that differ.
        holds: Whether that is what the precision explains.
        note: What a reader of the times should know.
    """

    name: str
    batch: int
    times: Times
    images_per_second: float
    tflops: float
    ceiling_share: float | None
    memory_bytes: int | None
    error: float
    holds: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A peer that was asked for and was not timed.

    Attributes:
        name: Its name.
        batch: At which batch size; None: at none of them.
        why: In words.
        hint: What to do; "" if nothing helps.
    """

    name: str
    batch: int | None
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ImageTimes:
    """From image files to mask files.

    Attributes:
        images: How many files (pages).
        tiles: How many tiles went through the network.
        batch: Tiles at once.
        images_per_second: With reading, running and writing overlapped, as `segrt predict` works.
        decoding: Share of the time that reading takes when one step follows the other.
        inference: Share of the network, with preparing pixels and probabilities.
        writing: Share of assembling and writing masks.
    """

    images: int
    tiles: int
    batch: int
    images_per_second: float
    decoding: float
    inference: float
    writing: float


@dataclass(frozen=True, slots=True)
class BenchReport:
    """The result of `segrt.bench`.

    Attributes:
        package: Its name.
        target: What it was built for, and the engine chosen.
        precision: What it computes in.
        device: Processor or GPU.
        threads: Of a CPU engine; None: as the library chooses.
        shapes: Sizes of each input for one image, by name.
        operations: Floating-point operations of the network for one image; times and shares
            are reckoned with these for all.
        lowered_operations: Those of the package's own graph, after the passes.
        ceiling: The measured matrix product.
        entries: The package and its peers.
        left_out: Peers that were not timed.
        layers: What each step of the engine takes at the first batch size; () if not asked for.
        images: From files to files; None if not asked for.
        remarks: What a reader should know.
    """

    package: str
    target: str
    precision: str
    device: str
    threads: int | None
    shapes: dict[str, tuple[int, ...]]
    operations: int
    lowered_operations: int
    ceiling: Ceiling
    entries: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...] = ()
    layers: tuple[LayerTime, ...] = ()
    images: ImageTimes | None = None
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the package itself computes what the network says."""
        return all(entry.holds for entry in self.entries)

    def of(self, name: str, batch: int) -> Entry:
        """Return one entry.

        Raises:
            KeyError: There is none.
        """
        for entry in self.entries:
            if (entry.name, entry.batch) == (name, batch):
                return entry
        raise KeyError(f"no entry {name!r} at batch {batch}")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; infinities and NaN as the strings ``inf`` and ``nan``."""
        found: dict[str, Any] = plain({"format": FORMAT, "ok": self.ok, **asdict(self)})
        return found

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return to_text(self.to_dict())
