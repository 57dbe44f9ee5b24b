"""Processes that build cuDNN's plans side by side, each with a handle of its own on the same GPU.

A process that fails, or cannot even begin, costs nothing but time: what it did not build is built
where it is wanted.
"""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO

from segrt import _child
from segrt._messages import read, write
from segrt.cuda.compiling import processors
from segrt.cuda.graph_specs import PlanId
from segrt.cuda.plan_protocol import answered, request

_LOG = logging.getLogger(__name__)
_MOST = 8
# Device memory that a process's context and handle take, generously; of the free memory all
# processes together take a quarter at most.
_CONTEXT_BYTES = 600 << 20
_SHARE = 4
# A plan takes a second; this is for a process that does not answer at all.
_PATIENCE_S = 120
_WORKER = "segrt.cuda.plan_worker"


def count_for(free_bytes: int) -> int:
    """Return how many processes may be begun; one alone gains nothing.

    Args:
        free_bytes: Of device memory.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        return 0  # what would begin is another program
    # One processor stays with what goes on here.
    count = min(_MOST, processors() - 1, free_bytes // (_SHARE * _CONTEXT_BYTES))
    return count if count > 1 else 0


def begin(device: int) -> subprocess.Popen[bytes]:
    """Begin a process that builds plans on a GPU; see `segrt.cuda.plan_worker`.

    Raises:
        OSError: It cannot begin.
    """
    return _child.begin(_WORKER, str(device), stderr=subprocess.DEVNULL)


class Builders:
    """Processes that build what they are asked for, each begun when there is something for it.

    Args:
        count: How many there may be.
        begin: Begins one.
    """

    def __init__(self, count: int, begin: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._count = count
        self._begin = begin
        self._processes: list[subprocess.Popen[bytes]] = []
        self._todo: list[queue.SimpleQueue[PlanId | None]] = []
        self._of_name: dict[str, int] = {}
        self._asked: Counter[int] = Counter()
        self._done: queue.SimpleQueue[tuple[PlanId, bytes] | None] = queue.SimpleQueue()

    def ask(self, plan: PlanId) -> None:
        """Have a plan built; of one name only the first takes long, so one process builds all."""
        if plan.name not in self._of_name:
            self._of_name[plan.name] = self._next()
        index = self._of_name[plan.name]
        self._asked[index] += 1
        if index < len(self._todo):
            self._todo[index].put(plan)

    def _next(self) -> int:
        """Return a process that has not begun yet, else the one with least to do."""
        if len(self._processes) < self._count:
            try:
                self._add(self._begin())
            except OSError as error:
                _LOG.debug("no more processes to build plans: %s", error)
                self._count = len(self._processes)
            else:
                return len(self._processes) - 1
        return min(range(len(self._processes)), key=lambda index: self._asked[index], default=0)

    def _add(self, process: subprocess.Popen[bytes]) -> None:
        todo: queue.SimpleQueue[PlanId | None] = queue.SimpleQueue()
        self._processes.append(process)
        self._todo.append(todo)
        threading.Thread(target=_feed, args=(process, todo, self._done), daemon=True).start()

    def finish(self) -> Iterator[tuple[PlanId, bytes]]:
        """Yield plans with what they can be made from, as they get ready; then end."""
        try:
            for todo in self._todo:
                todo.put(None)
            for _ in self._todo:
                yield from iter(lambda: self._done.get(timeout=_PATIENCE_S), None)
        except queue.Empty:
            _LOG.debug("the processes that build plans are silent for %d s", _PATIENCE_S)
        finally:
            self.close()

    def close(self) -> None:
        """End the processes, whatever they do."""
        for process, todo in zip(self._processes, self._todo, strict=True):
            process.kill()
            todo.put(None)
            process.wait()


def _feed(
    process: subprocess.Popen[bytes],
    todo: queue.SimpleQueue[PlanId | None],
    done: queue.SimpleQueue[tuple[PlanId, bytes] | None],
) -> None:
    """Let a process build what comes, until None does; says None at the end, whatever comes."""
    try:
        with process:
            requests, answers = process.stdin, process.stdout
            assert requests is not None
            assert answers is not None
            while (plan := todo.get()) is not None:
                written = _ask(plan, requests, answers)
                if written:
                    done.put((plan, written))
    except (OSError, EOFError, ValueError) as error:
        _LOG.debug("a process that builds plans ended: %s", error)
    finally:
        done.put(None)


def _ask(plan: PlanId, requests: IO[bytes], answers: IO[bytes]) -> bytes:
    """Let a plan be built; return nothing where cuDNN refuses it."""
    write(requests, request(plan))
    message = read(answers)
    if message is None:
        raise EOFError
    written, problem = answered(message)
    if problem:
        _LOG.debug("not built ahead: %s: %s", plan.name, problem)
    return written
