"""One logger in a process, and yet each network and session reads its own messages."""

from __future__ import annotations

import threading

from helpers.tensorrt_fakes import FakeTensorRt
from segrt.targets.trt.logger import Log

LIBRARY = FakeTensorRt()
ERROR = LIBRARY.ILogger.Severity.ERROR


def test_a_message_goes_to_the_log_of_its_thread():
    mine = Log(LIBRARY)
    theirs: list[Log] = []
    turn = threading.Barrier(2, timeout=100)

    def work() -> None:
        theirs.append(Log(LIBRARY))
        turn.wait()
        turn.wait()
        theirs[0].sink.log(ERROR, "theirs")

    other = threading.Thread(target=work)
    other.start()
    turn.wait()
    # The other thread activated last, and still this is about the work done here.
    mine.sink.log(ERROR, "mine")
    turn.wait()
    other.join()
    assert mine.errors() == ["mine"]
    assert theirs[0].errors() == ["theirs"]
    assert mine.sink is theirs[0].sink


def test_messages_of_the_librarys_own_threads_go_to_who_activated_last():
    first, second = Log(LIBRARY), Log(LIBRARY)
    thread = threading.Thread(target=lambda: first.sink.log(ERROR, "from a worker"))
    thread.start()
    thread.join()
    assert (first.errors(), second.errors()) == ([], ["from a worker"])


def test_what_was_forgotten_is_not_checked_again():
    log = Log(LIBRARY)
    log.sink.log(ERROR, "old")
    log.forget()
    log.check("nothing")
    assert log.messages == []
