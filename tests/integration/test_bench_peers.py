"""Peers that fail, err or take too long: the others are timed, and what was timed is told."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx_ir as ir
import pytest

import segrt
from helpers import fake_peers
from helpers.tensorrt_graphs import unet
from segrt.measurement import bench as measurement
from segrt.measurement.run import Asked

QUICK = {"rounds": 5, "threads": 1}
SIDE = 32
COMMAND = """
from helpers import fake_peers
from segrt.cli import main
from segrt.measurement import ceiling

ceiling._CPU_SIDE = 128
fake_peers.register()
main()
"""


@pytest.fixture(autouse=True)
def _small_product(monkeypatch):
    monkeypatch.setattr("segrt.measurement.ceiling._CPU_SIDE", 128)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    model = unet((4, 8), side=None, batch=None)
    for name, value in model.graph.initializers.items():
        if name.endswith("/bias"):
            value.const_value = ir.Tensor(np.abs(value.const_value.numpy()) + 0.2, name=name)
    output = tmp_path_factory.mktemp("peers") / "net.segrt"
    return segrt.build(model, target="onnxruntime", threads=1, output=output)


@pytest.fixture
def fakes(monkeypatch):
    """Let peers be asked for that are made up."""
    given = measurement._peers

    def peers(names):
        made = {"wrong": fake_peers.Wrong, "failing": fake_peers.Failing, "slow": fake_peers.Slow}
        return {n: Asked(made[n](), "") if n in made else given([n])[n] for n in names}

    monkeypatch.setattr(measurement, "_peers", peers)


@pytest.mark.usefixtures("fakes")
def test_a_peer_with_another_output_is_not_timed(package):
    report = segrt.bench(package, against=["wrong"], batches=(1,), size=(SIDE, SIDE), **QUICK)
    (left,) = report.left_out
    assert (left.name, left.batch) == ("wrong", 1)
    assert "its output differs" in left.why
    assert [entry.name for entry in report.entries] == ["segrt"]


@pytest.mark.usefixtures("fakes")
def test_a_peer_that_fails_while_it_is_timed_costs_the_others_nothing(package):
    names = ["failing", "onnxruntime"]
    report = segrt.bench(package, against=names, batches=(1, 2), size=(SIDE, SIDE), **QUICK)
    assert [(left.name, left.batch) for left in report.left_out] == [("failing", 1), ("failing", 2)]
    assert all("ZeroDivisionError" in left.why for left in report.left_out)
    timed = [(entry.name, entry.batch, entry.times.runs) for entry in report.entries]
    assert timed == [(n, b, 5) for b in (1, 2) for n in ("segrt", "onnxruntime")]


@pytest.mark.usefixtures("fakes")
def test_a_peer_that_takes_too_long_is_named_and_not_tried_again(package, caplog):
    with caplog.at_level("INFO", "segrt"):
        report = segrt.bench(
            package, against=["slow"], batches=(1, 2), size=(SIDE,), patience=0.01, **QUICK
        )
    (left,) = report.left_out
    assert (left.name, left.batch) == ("slow", 1)
    assert left.why == "not ready within 0.01 s; not tried at batch 2"
    assert "--patience" in left.hint
    assert [(entry.name, entry.batch) for entry in report.entries] == [("segrt", 1), ("segrt", 2)]
    lasting = [record.getMessage() for record in caplog.records if hasattr(record, "lasting")]
    assert lasting[0] == f"batch 1: slow is left out: {left.why}"
    assert [line.rsplit(" ", 2)[0] for line in lasting[1:]] == ["batch 1: segrt", "batch 2: segrt"]


@pytest.fixture
def command(package, tmp_path):
    """Run the command line, made-up peers among the real ones."""

    def run(*arguments):
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "bench", package.path, "--size", str(SIDE), *arguments,
             "--rounds", "5", "--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md"],
            env={**os.environ, "PYTHONPATH": path}, check=False, capture_output=True, text=True,
        )  # fmt: skip
        report = json.loads((tmp_path / "b.json").read_text())
        return done, report, (tmp_path / "b.md").read_text()

    return run


@pytest.mark.parametrize(
    ("peers", "code"), [(["interrupting"], 130), (["onnxruntime", "stopping"], 143)]
)
def test_what_was_timed_is_told_when_it_is_stopped(command, peers, code):
    *ready, peer = peers
    done, report, markdown = command("--batches", "1,2", "--against", ",".join(peers))
    assert done.returncode == code
    timed = [(entry["name"], entry["batch"]) for entry in report["entries"]]
    assert timed == [(name, 1) for name in ("segrt", *ready)]
    assert all(entry["times"]["runs"] >= 1 for entry in report["entries"])
    (remark,) = report["remarks"]
    assert remark.startswith(f"stopped before the end (batch 1: {peer} gets ready")
    assert f"remark: {remark}" in done.stdout
    assert "Milliseconds a run" in done.stdout
    assert markdown.splitlines()[-1] == f"- {remark}"
    assert all(f"| 1 | {name} |" in markdown for name in ("segrt", *ready))
    assert "Traceback" not in done.stderr


def test_what_is_done_is_told_on_the_way(command):
    done, report, markdown = command("--batches", "2,1", "--against", "slow", "--patience", "0.01")
    assert done.returncode == 0
    left = "not ready within 0.01 s; not tried at batch 1"
    lines = done.stderr.splitlines()
    assert lines[0] == f"batch 2: slow is left out: {left}"
    assert [line.rsplit(" ", 2)[0] for line in lines[1:]] == ["batch 2: segrt", "batch 1: segrt"]
    assert f"left out: slow at batch 2: {left}" in done.stdout
    assert f"left out: slow at batch 2: {left}" in markdown
    assert len(report["entries"]) == 2
