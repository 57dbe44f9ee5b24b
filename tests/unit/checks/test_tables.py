"""Versions, JetPacks and architectures: the tables and how a target is read."""

import itertools
import re
from pathlib import Path

import pytest

from segrt.checks._architectures import ARCHITECTURES, find_architecture
from segrt.checks._base import REGISTRY
from segrt.checks._features import FEATURES, NEWEST_MINOR, OLDEST
from segrt.checks._jetpack import JETPACKS, find_jetpack
from segrt.checks._parse import parse_gpu, parse_target
from segrt.checks._release import Release
from segrt.errors import UsageError
from segrt.targets.trt.layers._base import REGISTRY as CONVERTERS

ENGINES = ["cpu", "cuda", "onnxruntime", "openvino"]


@pytest.mark.parametrize(
    ("version", "feature", "expected"),
    [
        ((5, 1), "resize", False),
        ((6, 0), "resize", True),
        ((6, 0, 0), "resize", False),
        ((7, 2), "resize-half-pixel", False),
        ((8, 0), "resize-half-pixel", True),
        ((8, 4), "resize-cubic", False),
        ((8, 4, 3), "resize-cubic", False),
        ((8, 5), "resize-cubic", True),
        ((6, 0), "erf", False),
        ((7, 0), "erf", True),
        ((8, 5), "normalization", False),
        ((8, 6), "normalization", True),
        ((10, 14), "normalization-v2", False),
        ((10, 15), "normalization-v2", True),
        ((8, 6), "uff", True),
        ((9, 0), "uff", False),
        ((10, 16), "weak-typing", True),
        ((11, 0), "weak-typing", False),
    ],
)
def test_features_by_version(version, feature, expected):
    assert Release("tensorrt", version).has(feature) is expected


def test_rtx_has_no_plugins_but_all_layers():
    release = Release("rtx", (1, 7))
    assert not release.has("plugins")
    assert release.has("resize-half-pixel")
    assert release.has("normalization-v2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tensorrt:5.1", "TensorRT 5.1"),
        ("TensorRT:8.4", "TensorRT 8.4"),
        ("tensorrt:8", "TensorRT 8.6"),
        ("tensorrt:10.3.0", "TensorRT 10.3.0"),
        ("tensorrt", "TensorRT 11.5"),
        ("rtx:1.7", "TensorRT for RTX 1.7"),
        ("tensorrt-rtx", "TensorRT for RTX 1.7"),
        ("jetpack:6.2", "TensorRT 10.3.0 (JetPack 6.2, L4T 36.4-36.5)"),
        ("jetpack:4.6", "TensorRT 8.0.1 (JetPack 4.6, L4T 32.6)"),
        ("jetpack:4.6.1", "TensorRT 8.2.1 (JetPack 4.6.1, L4T 32.7)"),
        ("jetpack:5.1.2", "TensorRT 8.5.2 (JetPack 5.1.2, L4T 35.2-35.6)"),
        ("jetpack:6.0", "TensorRT 8.6.2 (JetPack 6.0, L4T 36.3, by one source only)"),
        ("cpu", "cpu"),
        ("cuda", "cuda"),
    ],
)
def test_targets_are_read(text, expected):
    assert str(parse_target(text, ENGINES)) == expected


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("tensorflow:2", "jetpack:VERSION"),
        ("tensorrt:4.0", "8.0-8.6"),
        ("tensorrt:5.0", "5.1"),
        ("tensorrt:8.9", "8.0-8.6"),
        ("tensorrt:12.0", "11.0-11.5"),
        ("tensorrt:new", "tensorrt:8.6"),
        ("tensorrt:", "tensorrt:8.6"),
        ("rtx:2.0", "1.0-1.7"),
        ("jetpack:9.0", "6.1-6.2.2"),
        ("jetpack:4.2", "TensorRT 5.1"),
        ("jetpack", "jetpack:VERSION"),
        ("cpu:1", "cpu"),
    ],
)
def test_unknown_targets_are_refused_with_what_is_known(text, listed):
    with pytest.raises(UsageError) as caught:
        parse_target(text, ENGINES)
    assert listed in str(caught.value)


@pytest.mark.parametrize(
    ("capability", "version", "expected"),
    [
        ("7.0", (10, 4), True), ("7.0", (10, 5), False), ("6.1", (8, 6), True),
        ("6.1", (10, 0), False), ("12.0", (10, 3), False), ("12.0", (10, 8), True),
        ("3.5", (8, 6), False),
    ],
)  # fmt: skip
def test_architectures(capability, version, expected):
    assert Release("tensorrt", version).runs_on(parse_gpu(capability)) is expected


def test_rtx_refuses_data_center_gpus():
    release = Release("rtx", (1, 7))
    assert release.runs_on(parse_gpu("8.9"))
    assert not release.runs_on(parse_gpu("9.0"))


def test_an_unknown_gpu_is_refused_with_the_list():
    with pytest.raises(UsageError, match=r"8\.9 \(Ada\)"):
        parse_gpu("4.2")
    assert find_architecture("4.2") is None


def test_parser_opsets():
    opsets = {v: Release("tensorrt", v).parser_opset() for v in ((5, 1), (7, 0), (8, 6), (10, 3))}
    assert opsets == {(5, 1): 9, (7, 0): 10, (8, 6): 17, (10, 3): 20}
    assert Release("rtx", (1, 7)).parser_opset() is None


def test_tables_are_in_order():
    names = [entry.name for entry in FEATURES]
    assert len(set(names)) == len(names)
    assert all(entry.source and entry.first >= OLDEST for entry in FEATURES)
    assert all(entry.last is None or entry.first <= entry.last for entry in FEATURES)
    assert [entry.tensorrt for entry in JETPACKS] == sorted(e.tensorrt for e in JETPACKS)
    assert all(one.last < two.first for one, two in itertools.pairwise(JETPACKS))
    assert set(NEWEST_MINOR) >= {entry.tensorrt[0] for entry in JETPACKS} - {4}
    capabilities = [c for entry in ARCHITECTURES for c in entry.capabilities]
    assert len(set(capabilities)) == len(capabilities)
    assert find_jetpack((4, 5)) is find_jetpack((4, 4, 1))
    assert find_jetpack((4, 2, 1)) is None


def test_every_operator_that_converters_make_has_a_rule():
    import segrt.importers.layers as layers

    texts = [path.read_text("utf-8") for path in Path(layers.__path__[0]).glob("*.py")]
    made = set()
    for text in texts:
        made |= set(re.findall(r'(?:call\.ops?|simple|builder\.ops?)\(\s*"([A-Z]\w+)"', text))
    assert {"Conv", "Resize", "Celu"} <= made
    assert sorted(made - set(REGISTRY.names())) == []


def test_every_operator_that_is_written_for_tensorrt_has_a_rule():
    # A constant is no layer of its own.
    assert sorted(set(CONVERTERS.names()) - set(REGISTRY.names())) == ["Constant"]
