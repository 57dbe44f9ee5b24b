"""What a verification found: plain data, and the verdict that follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from segrt._report_json import plain, to_text
from segrt.verification.metrics import Metrics
from segrt.verification.segmentation import MaskAgreement
from segrt.verification.shift import Shift

Status: TypeAlias = Literal["ok", "wrong", "inherited", "fused", "left out", "unmatched"]


@dataclass(frozen=True, slots=True)
class Row:
    """One Keras value.

    Attributes:
        name: Its name.
        layer_class: Keras class, "" if unknown.
        status: ``ok``; ``wrong``: its own error is over budget; ``inherited``: only its error in
            the whole run is; ``fused``: dissolved by a rewrite, for the reason in ``note``;
            ``left out``: nothing of it can be recovered; ``unmatched``: one side lacks it, or it
            is ambiguous.
        whole: Its error in the whole run, None where it was not compared.
        own: Its error when fed with the reference's values, None where that could not be had.
        recovered: Whether it was computed back from a folded value.
        shift: A shift that explains its own error; upsampling layers only.
        note: What does not hold, or why it was not compared.
    """

    name: str
    layer_class: str
    status: Status
    whole: Metrics | None = None
    own: Metrics | None = None
    recovered: bool = False
    shift: Shift | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.status in ("ok", "fused", "left out")


@dataclass(frozen=True, slots=True)
class OutputRow:
    """One output of the package's own session, as it is deployed.

    Attributes:
        name: Its name.
        metrics: Its error.
        masks: How well the masks agree; None for outputs that are no images.
        shift: A shift that explains the difference.
        note: What does not hold, "" if all does.
    """

    name: str
    metrics: Metrics
    masks: MaskAgreement | None = None
    shift: Shift | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.note


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `segrt.verify`.

    Attributes:
        subject: What was verified, for people.
        reference: What it was compared with, for people.
        precision: Whose tolerances were used.
        images: How many images were run.
        rows: Every Keras value, in the order of computation.
        outputs: Every output of the deployed session.
        remarks: What a reader should know.
    """

    subject: str
    reference: str
    precision: str
    images: int
    rows: tuple[Row, ...]
    outputs: tuple[OutputRow, ...]
    remarks: tuple[str, ...] = field(default=())

    @property
    def compared(self) -> int:
        """How many Keras values were compared."""
        return sum(row.whole is not None for row in self.rows)

    @property
    def ok(self) -> bool:
        """Whether everything holds. A report that compared nothing does not."""
        return (
            self.compared > 0
            and bool(self.outputs)
            and all(row.holds for row in self.rows)
            and all(output.holds for output in self.outputs)
        )

    @property
    def first_over_budget(self) -> Row | None:
        """The first layer whose own error is over budget, else the first over it at all."""
        for status in ("wrong", "inherited"):
            for row in self.rows:
                if row.status == status:
                    return row
        return None

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.ok:
            agree = [o.masks.agreement for o in self.outputs if o.masks is not None]
            masks = f"; masks agree on {min(agree):.4%} of the pixels" if agree else ""
            return f"holds: {self.compared} Keras values within the budget{masks}"
        if not self.compared or not self.outputs:
            return "does not hold: nothing was compared"
        first = self.first_over_budget
        if first is not None:
            return f"does not hold: first over budget is {first.name!r}: {first.note}"
        broken = [row for row in self.rows if not row.holds]
        if broken:
            return f"does not hold: {broken[0].name!r}: {broken[0].note}"
        output = next(output for output in self.outputs if not output.holds)
        return f"does not hold: output {output.name!r}: {output.note}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; infinities and NaN as the strings ``inf`` and ``nan``."""
        first = self.first_over_budget
        summary = {
            "format": 1,
            "ok": self.ok,
            "verdict": self.verdict,
            "compared": self.compared,
            "first_over_budget": None if first is None else first.name,
        }
        found: dict[str, Any] = plain({**summary, **asdict(self)})
        return found

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return to_text(self.to_dict())
