"""A network of fixed sizes on a GPU: planned, tuned, captured, ready to run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.cuda.capture import record
from segrt.cuda.choices import Chooser
from segrt.cuda.cudnn_graph import Library
from segrt.cuda.driver import Gpu
from segrt.cuda.jobs import Choice, Job, Proposal, can_be_built, signature
from segrt.cuda.memory import place_buffers
from segrt.cuda.need import Need, weights_bytes
from segrt.cuda.operations import MergedUpsampling, Program, Shuffle
from segrt.cuda.plan import Place, Plan
from segrt.cuda.planning import blamed, jobs_of, plan_program, read_program
from segrt.cuda.referee import Referee
from segrt.cuda.stages import Stages
from segrt.cuda.transfers import Copiers, Staged
from segrt.cuda.tune import PlanCache, Tuner, event_us, is_thorough, replay_us
from segrt.cuda.views import storage
from segrt.errors import DeviceMemoryError, SegrtError
from segrt.types import Precision

_LOG = logging.getLogger(__name__)
_NOISE_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class End:
    """A graph input or output on the GPU.

    Attributes:
        address: Where it begins.
        dtype: Element type, as in a `View`.
        shape: In the source's axis order.
    """

    address: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StepTime:
    """How long one step takes alone.

    Attributes:
        layer: The Keras layer.
        operation: What it does.
        choice: How.
        time_us: Median, in microseconds.
    """

    layer: str
    operation: str
    choice: str
    time_us: float


class Engine:
    """Runs one network at one set of sizes; one run at a time.

    Args:
        model: A graph whose sizes are all known.
        precision: What to compute in.
        gpu: The device; several engines may share it.
        library: cuDNN on that device's stream.

    Raises:
        UnsupportedLayerError: The engine has no implementation for some layers.
        DeviceMemoryError: It does not suffice; says how much would.
        EngineError: A library fails.
    """

    def __init__(self, model: ir.Model, precision: Precision, gpu: Gpu, library: Library) -> None:
        self._gpu = gpu
        self._library = library
        self._memory: list[Any] = []
        self._graph: Any = None
        self._jobs: list[Job] = []
        self._choices: list[Choice] = []
        self._sources: list[Staged] = []
        self._targets: list[Staged] = []
        self._copiers = Copiers()
        gpu.use()
        self.stages = Stages()
        with self.stages.stage("reading the graph"):
            program = read_program(model, precision, gpu.capability)
        self._shapes = _sizes(model.graph.outputs)
        self._input_shapes = _sizes(model.graph.inputs)
        self._types = [value.dtype for value in model.graph.outputs]
        ahead = ThreadPoolExecutor(1, "weights")
        self._chooser = Chooser(gpu, library, precision, ahead)
        thorough = "-thorough" if is_thorough() else ""
        known = f"{gpu.name}-{gpu.driver}-cudnn{library.version}-{precision}{thorough}"
        cache = PlanCache(known)
        self._referee = Referee(gpu, precision)
        self._tuner = Tuner(gpu, cache, self._referee, self.stages)
        self._need = Need(*gpu.memory())
        self._need.parts["weights"] = weights_bytes(program, storage(precision))
        try:
            with self.stages.stage("planning"):
                plan = plan_program(program, precision, gpu.capability)
                self._prepare(program, plan)
        except DeviceMemoryError as error:
            self.close()
            raise self._need.lacking(error) from error
        except BaseException:
            self.close()
            raise
        finally:
            gpu.stop_compiling()
            ahead.shutdown(cancel_futures=True)
            library.plans.forget()
            cache.save()
        _LOG.info("%d steps ready in %s", len(self._jobs), self.stages)

    def _prepare(self, program: Program, plan: Plan) -> None:
        offsets, size = place_buffers(plan.buffers)
        self.arena_bytes = size
        self._need.parts["activations"] = size
        ends = {place.buffer: place for place in (*plan.inputs.values(), *plan.outputs.values())}
        self._need.parts["inputs and outputs"] = sum(p.view.span_bytes for p in ends.values())
        arena = self._allocate(size, "activations")
        addresses = {name: arena + offset for name, offset in offsets.items()}
        # An input that nothing reads has no place.
        self._inputs = [index for index, name in enumerate(program.inputs) if name in plan.inputs]
        for index in self._inputs:
            place = plan.inputs[program.inputs[index]]
            self._sources.append(self._stage(place, addresses))
        for name in program.outputs:
            self._targets.append(self._stage(plan.outputs[name], addresses))
        self._fill_with_noise(self._memory[0])
        self._jobs = jobs_of(plan, addresses)
        self._choose()
        self._referee.close()
        self._tuner.close()
        self.scratch_bytes = max((choice.workspace for choice in self._choices), default=0)
        self._need.parts["scratch memory"] = self.scratch_bytes
        scratch = self._allocate(self.scratch_bytes, "scratch memory")
        self._scratch = scratch
        with self.stages.stage("first run and recording"):
            # Once outside the recording: whatever libraries load at first use is loaded then.
            self._put(scratch)
            self._gpu.stream.sync()
            self._graph = record(self._gpu, lambda: self._put(scratch))

    def _choose(self) -> None:
        """Choose a way for every job; what they may want is compiled meanwhile."""
        asked: dict[str, Sequence[Proposal]] = {}
        with self.stages.stage("asking for ways"):
            for job in self._jobs:
                name = signature(job)
                if name not in asked:
                    with _blaming(job):
                        found = self._tuner.wanted(name, self._chooser.proposals(job))
                        can_be_built(found)
                    usual = [way for way in found if not way.last_resort] or found
                    self._gpu.compile(launch for way in usual for launch in way.launches)
                    self._library.plans.begin(way.plan for way in usual if way.plan is not None)
                    asked[name] = found
        with self.stages.stage("plans of cuDNN"):
            self._library.plans.wait()
        for index, job in enumerate(self._jobs):
            name = signature(job)
            place = (index + 1, len(self._jobs))
            _LOG.info("layer %d of %d: %s", *place, job.operation.layer, extra={"progress": place})
            # Of two alike the first is tuned; the other one is then known.
            ways: Iterable[Proposal] = asked.pop(name, ()) or self._chooser.proposals(job)
            self._choices.append(self._tuner.choose(name, ways, job))

    def _put(self, scratch: int) -> None:
        for choice in self._choices:
            choice.run(scratch)

    def _allocate(self, size: int, purpose: str) -> int:
        self._memory.append(self._gpu.allocate(size, purpose))
        return int(self._memory[-1].handle)

    def _stage(self, place: Place, addresses: dict[str, int]) -> Staged:
        """Allocate device and staging memory of a graph input or output."""
        addresses[place.buffer] = self._allocate(place.view.span_bytes, "inputs and outputs")
        return Staged(self._gpu, self._memory[-1], place.view, self._copiers)

    def _fill_with_noise(self, arena: Any) -> None:
        """Fill memory with ordinary numbers: timed on zeros, products run faster than on data."""
        noise = np.random.default_rng(0).normal(0, 1, _NOISE_BYTES // 4).astype(np.float16)
        tile = self._gpu.upload(np.concatenate([noise, noise]), "noise")
        for start in range(0, arena.size - tile.size, tile.size):
            self._gpu.copy(int(arena.handle) + start, tile)
        self._gpu.stream.sync()
        tile.close(self._gpu.stream)

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run once: arrays in the order, layout and types of the graph's inputs and outputs."""
        self._gpu.use()
        stream = self._gpu.stream
        for index, source in zip(self._inputs, self._sources, strict=True):
            source.send(arrays[index])
        self._graph.launch(stream)
        for target in self._targets:
            target.begin_fetch()
        if not all(target.in_pieces for target in self._targets):
            stream.sync()
        ends = zip(self._targets, self._shapes, self._types, strict=True)
        return [
            target.finish_fetch(shape, np.float32 if kind is None else kind.numpy())
            for target, shape, kind in ends
        ]

    def source(self, index: int) -> End:
        """Return where an input lies on the GPU."""
        staged = self._sources[self._inputs.index(index)]
        return End(staged.address, staged.dtype, self._input_shapes[index])

    def result(self, index: int) -> End:
        """Return where an output lies on the GPU."""
        staged = self._targets[index]
        return End(staged.address, staged.dtype, self._shapes[index])

    def launch(self) -> None:
        """Put the network on the stream: from what lies in its inputs to its outputs."""
        self._gpu.use()
        self._graph.launch(self._gpu.stream)

    def time_us(self, replays: int = 30) -> float:
        """Return the median time of the network on the GPU alone, in microseconds."""
        self._gpu.use()
        return replay_us(self._gpu, lambda: self._graph.launch(self._gpu.stream), replays)

    def once_us(self) -> float:
        """Return the time of one run of the network on the GPU alone, in microseconds."""
        self._gpu.use()
        return event_us(self._gpu, lambda: self._graph.launch(self._gpu.stream))

    def profile(self) -> list[StepTime]:
        """Time every step alone."""
        self._gpu.use()
        times = [
            StepTime(
                job.operation.layer,
                type(job.operation).__name__,
                choice.name,
                self._tuner.time_us(choice),
            )
            for job, choice in zip(self._jobs, self._choices, strict=True)
        ]
        self._tuner.close()
        return times

    @property
    def upsamples_at_once(self) -> bool:
        """Whether own kernels compute all that is upsampled and then convolved, and there is some.

        They read the small image and write the result: no other form of upsampling does less.
        """
        found = list(zip(self._jobs, self._choices, strict=True))
        merged = [
            way
            for job, way in found
            if isinstance(job.operation, MergedUpsampling) and job.operation.transposed is None
        ]
        apart = any(isinstance(job.operation, Shuffle) for job, _ in found)
        return bool(merged) and not apart and not any("cudnn" in way.name for way in merged)

    @property
    def device_bytes(self) -> int:
        """Bytes of device memory: arena, scratch, inputs, outputs and weights."""
        held = sum(int(buffer.size) for buffer in self._memory)
        return held + self._chooser.parameter_bytes

    def close(self) -> None:
        """Free everything; closing twice is allowed."""
        self._gpu.use()
        self._gpu.stream.sync()
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        self._choices.clear()
        self._jobs.clear()
        self._referee.close()
        self._tuner.close()
        self._chooser.close()
        for buffer in self._memory:
            buffer.close(self._gpu.stream)
        self._memory.clear()
        for staged in (*self._sources, *self._targets):
            staged.close()
        self._sources.clear()
        self._targets.clear()
        self._copiers.close()


@contextmanager
def _blaming(job: Job) -> Iterator[None]:
    """Let errors within name the layer."""
    try:
        yield
    except SegrtError as error:
        named = blamed(job, error)
        if named is error:
            raise
        raise named from error


def _sizes(values: Sequence[ir.Value]) -> list[tuple[int, ...]]:
    return [tuple(value.shape.numpy()) for value in values if value.shape is not None]
