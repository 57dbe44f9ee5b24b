"""What `segrt inspect` says about a model of another exporter, and its comparison with Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from segrt.types import Finding
    from segrt.verification.foreign import ForeignReport
    from segrt.verification.metrics import Metrics


def comparison_table(report: ForeignReport) -> Table:
    """Return the table of all nodes that were compared, the damaged ones in red."""
    from segrt.cli import _console

    table = _console.table(
        f"{report.foreign} against {report.keras}",
        "node", "operator", "Keras layer", ">own rel L2", ">rel L2", "what is wrong",
    )  # fmt: skip
    for row in report.rows:
        table.add_row(
            row.node,
            row.operator,
            f"{row.layer} ({row.layer_class})" if row.layer_class else row.layer,
            _error(row.own),
            _error(row.whole),
            "; ".join(row.damage),
            style="bold red" if row.damage else "",
        )
    return table


def comparison_text(report: ForeignReport) -> str:
    """Return the outputs' errors, the remarks and the verdict."""
    lines = [f"output  {name}: relative L2 {error:.2e}" for name, error in report.outputs.items()]
    lines += [f"remark: {remark}" for remark in report.remarks]
    return "\n".join([*lines, report.verdict])


def suspects_text(findings: Sequence[Finding]) -> str:
    """Return what is suspicious about a foreign graph's upsampling, one a line."""
    return "\n".join(f"suspicious: {f.subject}: {f.message} [{f.rule}]" for f in findings)


def _error(metrics: Metrics | None) -> str:
    if metrics is None:
        return ""
    return metrics.problem or f"{metrics.relative_l2:.2e}"
