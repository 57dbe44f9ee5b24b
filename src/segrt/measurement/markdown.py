"""The times as a table for a document."""

from __future__ import annotations

from segrt.measurement.report import BenchReport
from segrt.measurement.report_table import left_out_text, milliseconds, operations_text, speed_text


def to_markdown(report: BenchReport) -> str:
    """Return the head, the times, and what was left out, as Markdown."""
    shapes = ", ".join(
        f"{name} {' x '.join(map(str, shape))}" for name, shape in report.shapes.items()
    )
    head = (
        f"{report.package}, target {report.target}, {report.precision}, on {report.device}; "
        f"{shapes}, {operations_text(report.operations)} an image"
    )
    if report.ceiling.tflops:
        head += f"; ceiling {speed_text(report.ceiling.tflops)} ({report.ceiling.how})"
    lines = [
        f"{head}.",
        "",
        "| batch | what | p50 ms | p90 | p99 | images/s | TFLOP/s | of ceiling | MiB | rel L2 |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for entry in report.entries:
        times = [milliseconds(t) for t in (entry.times.p50, entry.times.p90, entry.times.p99)]
        share = "" if entry.ceiling_share is None else f"{entry.ceiling_share:.0%}"
        memory = "" if entry.memory_bytes is None else f"{entry.memory_bytes / 2**20:.0f}"
        what = f"{entry.name} ({entry.note})" if entry.note else entry.name
        row = [str(entry.batch), what, *times, f"{entry.images_per_second:.1f}"]
        row += [f"{entry.tflops:.3g}", share, memory, f"{entry.error:.1e}"]
        lines.append(f"| {' | '.join(row)} |")
    notes = [*map(left_out_text, report.left_out), *report.remarks]
    lines += ["", *(f"- {' '.join(note.split())}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"
