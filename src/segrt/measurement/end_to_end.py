"""From image files to mask files: how many a second, and where the time goes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from segrt.errors import ImageError
from segrt.measurement.report import ImageTimes
from segrt.prediction.image_work import ImageWork, load
from segrt.prediction.jobs import Job, plan_jobs
from segrt.prediction.network import Network
from segrt.prediction.options import PredictOptions
from segrt.prediction.postprocess import probabilities
from segrt.prediction.predictor import predict_files
from segrt.prediction.preprocess import Normaliser
from segrt.targets._base import Session
from segrt.types import Preprocess

# Of so many images the steps are timed one after the other.
_STEPPED = 32

T = TypeVar("T")


def time_images(
    session: Session, preprocess: Preprocess, images: Sequence[Path], options: PredictOptions
) -> ImageTimes:
    """Predict images into a folder that is thrown away.

    Twice: once step by step for the shares, which also warms everything up, and once as
    `segrt predict` works, with reading and writing beside the network.

    Raises:
        ImageError: An image cannot be read.
        UsageError: Options or network do not fit.
        EngineError: The engine fails.
    """
    with tempfile.TemporaryDirectory(prefix="segrt-bench-") as folder:
        steps = _Steps(session, preprocess, options)
        for job in plan_jobs(images, Path(folder) / "steps", options)[:_STEPPED]:
            steps.run(job)
        report = predict_files(session, preprocess, images, Path(folder) / "all", options=options)
    if report.failed:
        raise report.failed[0].error or ImageError("an image failed")
    whole = sum(steps.seconds.values())
    return ImageTimes(
        images=len(report.results),
        tiles=sum(result.tiles for result in report.results),
        batch=steps.batch,
        images_per_second=len(report.results) / report.seconds,
        decoding=steps.seconds["decoding"] / whole,
        inference=steps.seconds["inference"] / whole,
        writing=steps.seconds["writing"] / whole,
    )


class _Steps:
    """The steps of a prediction, one after the other, with a stopwatch each."""

    def __init__(self, session: Session, preprocess: Preprocess, options: PredictOptions) -> None:
        self._network = Network(session, options.output_name)
        self._preprocess = preprocess
        self._options = options
        network = self._network
        self._normalise = Normaliser(
            preprocess, network.channels, network.channel_axis, network.dtype
        )
        self.batch = network.most_tiles(options.batch)
        self.seconds = {"decoding": 0.0, "inference": 0.0, "writing": 0.0}

    def run(self, job: Job) -> None:
        """Take one image all the way.

        Raises:
            SegrtError: It fails.
        """
        Path(next(iter(job.files.values()))).parent.mkdir(parents=True, exist_ok=True)
        work = self._timed(
            "decoding", lambda: load(job, self._network, self._preprocess, self._options)
        )
        for first in range(0, work.plan.count, self.batch):
            places = range(first, min(first + self.batch, work.plan.count))
            self._tiles(work, places)
        result = self._timed("writing", work.write)
        if result.error is not None:
            raise result.error

    def _tiles(self, work: ImageWork, places: range) -> None:
        def run() -> Sequence[object]:
            tiles = [self._normalise(work.plan.cut(work.pixels, place)) for place in places]
            return list(probabilities(self._network.run(tiles), self._options.kind))

        maps = self._timed("inference", run)
        self._timed("writing", lambda: [work.add(tile, self._options) for tile in maps])  # type: ignore[arg-type]

    def _timed(self, step: str, run: Callable[[], T]) -> T:
        before = time.perf_counter()
        result = run()
        self.seconds[step] += time.perf_counter() - before
        return result
