"""Importing: `import segrt` is quick and pulls in no engine; `segrt --help` neither.

Quick is counted in seconds of the processor: by the clock, whatever else the machine does decides.
"""

import json

from policy._source import run_python

HEAVY = ("onnx", "onnx_ir", "onnxruntime", "openvino", "tensorflow", "keras", "tf_keras", "h5py")
PRINT_HEAVY = f"""
import json, sys
print(json.dumps([name for name in {(*HEAVY, "click", "rich", "numpy")!r} if name in sys.modules]))
"""
LONGEST_SECONDS = 0.15


def loaded_by(code: str) -> list[str]:
    return json.loads(run_python(code + PRINT_HEAVY).splitlines()[-1])


def test_import_pulls_in_nothing_heavy():
    assert loaded_by("import segrt") == []


def test_what_is_heavy_is_found():
    assert loaded_by("import click, numpy") == ["click", "numpy"]


def test_help_pulls_in_no_engine():
    code = "import sys; sys.argv = ['segrt', '--help']\nfrom segrt.cli import _app, _errors\n"
    loaded = loaded_by(code + "_errors.run(_app.group, ['--help'])")
    assert [name for name in loaded if name in HEAVY] == []


def import_seconds(module: str) -> float:
    """Processor time of the shortest of five imports, each in a fresh interpreter."""
    code = f"import time; s = time.process_time(); import {module}; print(time.process_time() - s)"
    return min(float(run_python(code)) for _ in range(5))


def test_import_is_quick():
    assert import_seconds("segrt") < LONGEST_SECONDS


def test_a_slow_import_is_measured(tmp_path, monkeypatch):
    busy = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    (tmp_path / "slow_import_sample.py").write_text(busy)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_seconds("slow_import_sample") > LONGEST_SECONDS


def test_the_command_answers_help_within_a_second():
    code = """
import sys, time
from segrt.cli import main
sys.argv = ["segrt", "--help"]
try:
    main()
finally:
    print(time.process_time())
"""
    told = [run_python(code) for _ in range(3)]
    assert all("Commands:" in text for text in told)
    # With Python's own start. Usually a sixth of a second.
    assert min(float(text.splitlines()[-1]) for text in told) < 1.0
