"""Importing OpenVINO sends its vendor an event, unless its client is kept out: SegRT must."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Run in a process of its own: the client keeps its state in modules and in the home directory.
# A connection is refused and noted, so that a failing test sends nothing either.
PROBE = """
import socket
attempts = []
def refuse(self, address, *rest):
    attempts.append(address)
    raise OSError("no network in this test")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda *given, **options: refuse(None, given)

import numpy as np
import onnx_ir as ir
from openvino_telemetry.utils.sender import TelemetrySender
TelemetrySender.send = lambda *given: attempts.append("an event")

from segrt.graph.builder import IR_VERSION, GraphBuilder
from segrt.targets._build import build_package, open_package
from segrt.types import BuildOptions

graph = ir.Graph([], [], nodes=[], opset_imports={"": 18}, name="net")
build = GraphBuilder(graph)
x = build.input("x", (1, 2, 8, 8), ir.DataType.FLOAT)
graph.outputs.append(build.op("Relu", [x], name="y"))
model = ir.Model(graph, ir_version=IR_VERSION)
package = build_package(model, BuildOptions(), "openvino", "net.segrt",
                        lambda given, lowering: (given.clone(), ()))
with open_package(package, selftest=True) as session:
    session.run({"x": np.zeros((1, 2, 8, 8), np.float32)})
MORE
print("attempts:", attempts)
"""


# Where one of these is set the client keeps quiet by itself, and the test would show nothing.
CI_VARIABLES = ("CI", "TF_BUILD", "JENKINS_URL")


def attempts(folder: Path, more: str = "") -> str:
    pytest.importorskip("openvino")
    pytest.importorskip("openvino_telemetry", reason="OpenVINO came without its telemetry client")
    quiet = {name: value for name, value in os.environ.items() if name not in CI_VARIABLES}
    environment = {**quiet, "HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE.replace("MORE", more)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_building_and_running_sends_nothing(tmp_path):
    assert "attempts: []" in attempts(tmp_path)
    assert not (tmp_path / "intel").exists(), "where the client keeps its identity"


def test_the_probe_notices_what_a_bare_import_sends(tmp_path):
    more = """
for name in [name for name in sys.modules if name.startswith("openvino.tools.ovc")]:
    del sys.modules[name]
import openvino.tools.ovc
"""
    assert "an event" in attempts(tmp_path, "import sys" + more)
