"""The steps of the demo: inspect, build, verify against recorded Keras, predict, judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from segrt import api
from segrt.demo.sheet import write_sheet
from segrt.graph.summary import ModelSummary, summarise
from segrt.prediction.options import PRODUCTS, PredictOptions

if TYPE_CHECKING:
    from segrt.prediction.report import PredictReport
    from segrt.targets._package import Package
    from segrt.verification.report import Report

MODEL = "cells_unet.h5"
RECORDING = "keras_recording.npz"

Mask: TypeAlias = npt.NDArray[np.bool_]
Tell: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Score:
    """How well the mask of one test image agrees with the truth it was drawn from.

    Attributes:
        image: File name.
        iou: Intersection over union of the cells.
        accuracy: Share of the pixels that are right.
    """

    image: str
    iou: float
    accuracy: float


@dataclass(slots=True)
class Walk:
    """What the demo did.

    Attributes:
        summary: The imported network.
        package: What was built.
        report: The comparison with the recording of real Keras.
        predicted: The masks that were written.
        scores: Each test image against its truth.
        sheet: Picture of image, truth, mask and overlay side by side.
        seconds: Wall-clock time by step.
    """

    summary: ModelSummary
    package: Package
    report: Report
    predicted: PredictReport
    scores: tuple[Score, ...]
    sheet: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the comparison held and every image has a mask."""
        return self.report.ok and not self.predicted.failed


def run(
    output: Path, *, target: str = "cpu", threads: int | None = None, tell: Tell = lambda _: None
) -> Walk:
    """Walk from the bundled Keras file to verified masks.

    Args:
        output: Folder for the package, the masks and the pictures; created if missing.
        target: What to build for.
        threads: Threads of the engine; None leaves it to the library.
        tell: Told what is being done, before each step.

    Raises:
        SegrtError: A step failed; see `segrt.build`, `segrt.verify` and `segrt.predict`.
    """
    output.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        tell(name)
        started = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - started

    with as_file(files("segrt.demo") / "data") as data:
        with step("inspect"):
            summary = summarise(api.load(data / MODEL))
        with step("build"):
            package = api.build(
                data / MODEL, target=target, output=output / "cells.segrt", threads=threads
            )
        with step("verify"):
            report = api.verify(package, against=data / RECORDING)
        with step("predict"):
            predicted = api.predict(
                package,
                data / "images",
                output / "masks",
                threads=threads,
                options=PredictOptions(save=PRODUCTS),
            )
        scores, sheet = _judge(predicted, data / "labels", output / "contact_sheet.png")
    return Walk(summary, package, report, predicted, scores, sheet, seconds)


def score(image: str, found: Mask, truth: Mask) -> Score:
    """Compare a mask with the truth; two empty masks agree fully."""
    union = int((found | truth).sum())
    iou = int((found & truth).sum()) / union if union else 1.0
    return Score(image, iou, float((found == truth).mean()))


def _judge(predicted: PredictReport, labels: Path, sheet: Path) -> tuple[tuple[Score, ...], Path]:
    scores, rows = [], []
    for result in predicted.results:
        if result.error is not None:
            continue
        truth = _read(labels / result.source.name)
        found = _read(result.files["mask"])
        # Any value but 0 is a cell, in the label (255) and in the written mask alike.
        scores.append(score(result.source.name, found > 0, truth > 0))
        rows.append(
            (
                _read(result.source),
                truth,
                (found > 0) * np.uint8(255),
                _read(result.files["overlay"]),
            )
        )
    captions = [
        f"{one.image}: IoU {one.iou:.3f}, {one.accuracy:.1%} of the pixels right" for one in scores
    ]
    write_sheet(sheet, ("image", "truth", "mask", "overlay"), rows, captions)
    return tuple(scores), sheet


def _read(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)
