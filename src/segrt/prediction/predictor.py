"""Predict many images: reading, running and writing overlap, memory stays bounded.

Images are read ahead and results are written by a small pool of threads while the calling thread
runs the network. At most `_AHEAD` decoded images wait, and at most `_AHEAD` results.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from segrt.errors import EngineError, ImageError, ShapeError
from segrt.prediction.blend import Band, grid_of
from segrt.prediction.image_work import ImageWork, load
from segrt.prediction.jobs import Job, plan_jobs
from segrt.prediction.network import Network
from segrt.prediction.options import PredictOptions
from segrt.prediction.postprocess import MASKS, probabilities
from segrt.prediction.preprocess import Normaliser
from segrt.prediction.report import ImageResult, PredictReport
from segrt.prediction.write import prepare_folder
from segrt.targets._base import Session
from segrt.types import Preprocess

Progress = Callable[[int, int, ImageResult], None]

_THREADS = 2
_AHEAD = 2


def predict_files(
    session: Session,
    preprocess: Preprocess,
    images: Sequence[Path],
    output: Path,
    *,
    options: PredictOptions | None = None,
    progress: Progress | None = None,
) -> PredictReport:
    """Write masks (and pictures) of images.

    An image that cannot be read, run or written is reported and the others are finished. What is
    wrong for all of them (the folder, the options, a network that is none for images) is raised.

    Args:
        session: The network; used from the calling thread only.
        preprocess: How pixels become its input.
        images: The files, see `segrt.prediction.find_images`.
        output: Folder for the results; created if missing.
        options: What to write and how.
        progress: Called in the calling thread with (finished, all, result) after each image.

    Raises:
        UsageError: Options, output folder, network or its output do not fit.
        SegrtError: With ``options.stop_on_error``, the first image's error.
    """
    started = time.perf_counter()
    options = options or PredictOptions()
    network = Network(session, options.output_name)
    normalise = Normaliser(preprocess, network.channels, network.channel_axis, network.dtype)
    jobs = plan_jobs(images, output, options)
    prepare_folder(output)
    run = _Run(network, normalise, options, len(jobs), progress)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="segrt-images") as pool:
        try:
            for job, read in _read_ahead(pool, jobs, network, preprocess, options):
                run.take(job, read, pool)
            run.finish(pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    order = {(job.source, job.page): place for place, job in enumerate(jobs)}
    results = sorted(run.results, key=lambda result: order[result.source, result.page])
    return PredictReport(tuple(results), time.perf_counter() - started, network.remarks)


def _read_ahead(
    pool: ThreadPoolExecutor,
    jobs: Sequence[Job],
    network: Network,
    preprocess: Preprocess,
    options: PredictOptions,
) -> Iterator[tuple[Job, Future[ImageWork]]]:
    waiting: deque[tuple[Job, Future[ImageWork]]] = deque()
    for job in jobs:
        waiting.append((job, pool.submit(load, job, network, preprocess, options)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


class _Run:
    """The state of one run: tiles that wait for a full batch, results that are being written."""

    def __init__(
        self,
        network: Network,
        normalise: Normaliser,
        options: PredictOptions,
        total: int,
        progress: Progress | None,
    ) -> None:
        self.results: list[ImageResult] = []
        self._network = network
        self._normalise = normalise
        self._options = options
        self._total = total
        self._progress = progress
        self._batch = network.most_tiles(options.batch)
        self._tiles: list[tuple[ImageWork, int]] = []
        self._writing: deque[Future[ImageResult]] = deque()

    def take(self, job: Job, read: Future[ImageWork], pool: ThreadPoolExecutor) -> None:
        """Run an image's tiles as far as they fill batches."""
        try:
            work = read.result()
        except (ImageError, ShapeError) as error:
            self._done(ImageResult(job.source, job.page, None, 0, {}, {}, (), error))
            return
        if self._run_whole(work, pool):
            return
        if self._tiles and self._tiles[0][0].plan.tile != work.plan.tile:
            self._flush(pool)
        for index in range(work.plan.count):
            self._tiles.append((work, index))
            if len(self._tiles) == self._batch:
                self._flush(pool)
            if work.error is not None:
                break

    def _run_whole(self, work: ImageWork, pool: ThreadPoolExecutor) -> bool:
        """Run an image's tiles at once, where the session can; say whether it could."""
        kind = self._options.kind
        if kind == "logits":
            return False  # they become probabilities before they are blended
        grid = grid_of(work.plan, joined=kind in MASKS)
        try:
            maps = self._network.run_image(
                lambda: self._normalise(work.pixels), grid, self._options.batch
            )
            if maps is None:
                return False
            maps = probabilities(maps, kind)
        except EngineError as error:
            work.error = error
            self._done(work.result())
            return True
        work.take(Band(0, maps), self._options)
        self._write(work, pool)
        return True

    def finish(self, pool: ThreadPoolExecutor) -> None:
        """Run what is left and wait for all results."""
        self._flush(pool)
        while self._writing:
            self._done(self._writing.popleft().result())

    def _flush(self, pool: ThreadPoolExecutor) -> None:
        tiles = [(work, index) for work, index in self._tiles if work.error is None]
        self._tiles.clear()
        if tiles:
            self._run(tiles, pool)

    def _write(self, work: ImageWork, pool: ThreadPoolExecutor) -> None:
        self._writing.append(pool.submit(work.write))
        while len(self._writing) > _AHEAD:
            self._done(self._writing.popleft().result())

    def _run(self, tiles: Sequence[tuple[ImageWork, int]], pool: ThreadPoolExecutor) -> None:
        try:
            maps = self._network.run(
                [self._normalise(work.plan.cut(work.pixels, index)) for work, index in tiles]
            )
            maps = probabilities(maps, self._options.kind)
        except EngineError as error:
            works = list({id(work): work for work, _ in tiles}.values())
            if len(works) == 1:
                works[0].error = error
                self._done(works[0].result())
                return
            # One image's failure must not take those along that share its batch.
            for alone in works:
                self._run([item for item in tiles if item[0] is alone], pool)
            return
        for (work, _), tile in zip(tiles, maps, strict=True):
            if work.add(tile, self._options):
                self._write(work, pool)

    def _done(self, result: ImageResult) -> None:
        if result.error is not None and self._options.stop_on_error:
            raise result.error
        self.results.append(result)
        if self._progress is not None:
            self._progress(len(self.results), self._total, result)
