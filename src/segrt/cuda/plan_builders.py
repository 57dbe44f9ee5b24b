"""Processes that build cuDNN's plans side by side, each with a handle of its own on the same GPU.

A process that fails, or cannot even begin, costs nothing but time: what it did not build is built
where it is wanted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from segrt.cuda.compiling import processors
from segrt.cuda.graph_specs import PlanId
from segrt.cuda.plan_protocol import read_answer, write_request

_LOG = logging.getLogger(__name__)
_MOST = 8
# Device memory that a process's context and handle take, generously; of the free memory all
# processes together take a quarter at most.
_CONTEXT_BYTES = 600 << 20
_SHARE = 4
# A plan takes a second; this is for a process that does not answer at all.
_PATIENCE_S = 120
_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from segrt.cuda.plan_worker import main
main(int(sys.argv[2]))
"""


def count_for(plans: int, free_bytes: int) -> int:
    """Return how many processes are worth it; one alone gains nothing.

    Args:
        plans: How many are to be built.
        free_bytes: Of device memory.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        return 0  # what would begin is another program
    fitting = free_bytes // (_SHARE * _CONTEXT_BYTES)
    # One processor stays with kernels that are compiled meanwhile.
    count = min(_MOST, processors() - 1, plans // 2, fitting)
    return count if count > 1 else 0


def begin(device: int) -> subprocess.Popen[bytes]:
    """Begin a process that builds plans on a GPU; see `segrt.cuda.plan_worker`.

    Raises:
        OSError: It cannot begin.
    """
    command = [sys.executable, "-P", "-c", _CODE, json.dumps(sys.path), str(device)]
    return subprocess.Popen(  # noqa: S603 - Python itself, and this file's own code
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def build(
    plans: Sequence[PlanId],
    count: int,
    begin: Callable[[], subprocess.Popen[bytes]],
) -> Iterator[tuple[PlanId, bytes]]:
    """Yield plans with what they can be made from, as they get ready.

    Args:
        plans: What to build.
        count: How many processes.
        begin: Begins one.
    """
    todo: queue.SimpleQueue[list[PlanId]] = queue.SimpleQueue()
    for group in _alike(plans):
        todo.put(group)
    done: queue.SimpleQueue[tuple[PlanId, bytes] | None] = queue.SimpleQueue()
    running = list(_begun(count, begin))
    threads = [
        threading.Thread(target=_feed, args=(process, todo, done), daemon=True)
        for process in running
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            yield from iter(lambda: done.get(timeout=_PATIENCE_S), None)
    except queue.Empty:
        _LOG.debug("the processes that build plans are silent for %d s: given up", _PATIENCE_S)
    finally:
        for process in running:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe and pipe.close()


def _begun(
    count: int, begin: Callable[[], subprocess.Popen[bytes]]
) -> Iterator[subprocess.Popen[bytes]]:
    """Begin as many processes as can be."""
    try:
        for _ in range(count):
            yield begin()
    except OSError as error:
        _LOG.debug("no more processes to build plans: %s", error)


def _alike(plans: Sequence[PlanId]) -> list[list[PlanId]]:
    """Return plans in groups that one process builds: of one name only the first takes long."""
    groups: dict[str, list[PlanId]] = defaultdict(list)
    for plan in plans:
        groups[plan.name].append(plan)
    return sorted(groups.values(), key=len, reverse=True)


def _feed(
    process: subprocess.Popen[bytes],
    todo: queue.SimpleQueue[list[PlanId]],
    done: queue.SimpleQueue[tuple[PlanId, bytes] | None],
) -> None:
    """Let a process build groups until none is left; says None at the end, whatever comes."""
    requests, answers = process.stdin, process.stdout
    try:
        while requests is not None and answers is not None:
            for plan in todo.get_nowait():
                written = _ask(plan, requests, answers)
                if written:
                    done.put((plan, written))
    except queue.Empty:
        pass
    except (OSError, EOFError, ValueError) as error:
        _LOG.debug("a process that builds plans ended: %s", error)
    finally:
        done.put(None)


def _ask(plan: PlanId, requests: IO[bytes], answers: IO[bytes]) -> bytes:
    """Let a plan be built; return nothing where cuDNN refuses it."""
    write_request(requests, plan)
    written, problem = read_answer(answers)
    if problem:
        _LOG.debug("not built ahead: %s: %s", plan.name, problem)
    return written
