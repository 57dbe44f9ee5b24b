"""Images larger than a CUDA package's input: tiled on the GPU, against tiling on the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

import segrt
from helpers.emulated_target import emulate
from helpers.tensorrt_graphs import one_node, weights
from segrt.cuda import tiles
from segrt.errors import DeviceMemoryError
from segrt.graph.builder import GraphBuilder
from segrt.prediction.blend import Blender, Mosaic, grid_of
from segrt.prediction.network import Network
from segrt.prediction.options import PredictOptions
from segrt.prediction.tiling import TilePlan, plan_tiles
from segrt.targets._base import REGISTRY, Session, TileRunner
from segrt.targets.cuda import CudaSession
from segrt.types import BuildOptions, TileGrid

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
CELLS = Path(segrt.__file__).parent / "demo/data/cells_unet.h5"
RNG = np.random.default_rng(5)


@pytest.fixture
def opened(monkeypatch, tmp_path):
    gpus = emulate(monkeypatch, tmp_path / "cache")
    yield gpus
    assert all(gpu.closed for gpu in gpus), "a session was left open"


def _cells(folder: Path, **options) -> segrt.Package:
    options = {"size": (32, 32), "batch": 2} | options
    return segrt.build(CELLS, target="cuda", output=folder / "p.segrt", threads=1, **options)


def _on_the_host(network: Network, image: np.ndarray, grid: TileGrid, plan: TilePlan, batch: int):
    """Cut, run the same batches and put together, all in NumPy but the network."""
    first = network.channel_axis == 1
    pixels = np.moveaxis(image, 0, -1) if first else image
    cut = [plan.cut(pixels, index) for index in range(plan.count)]
    feeds = [np.moveaxis(tile, -1, 0) if first else tile for tile in cut]
    found = [
        tile
        for begin in range(0, plan.count, batch)
        for tile in network.run(feeds[begin : begin + batch])
    ]
    blender = (Mosaic if grid.joined else Blender)(plan, found[0].shape[-1])
    bands = [blender.add(tile) for tile in found]
    return np.concatenate([band.values for band in bands if band is not None])


def _check(
    session: Session, image: np.ndarray, plan: TilePlan, batch: int, *, joined: bool = False
) -> None:
    assert isinstance(session, TileRunner)
    network, grid = Network(session, None), grid_of(plan, joined=joined)
    found = network.run_image(lambda: image, grid, batch)
    assert found is not None
    assert found.dtype == np.float32
    wanted = _on_the_host(network, image, grid, plan, network.batch or batch)
    assert wanted.min() < wanted.max()
    if joined:
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("size", [(45, 70), (20, 100)])
def test_probabilities_are_the_hosts(opened, tmp_path, size, batch):
    package = _cells(tmp_path, batch=batch)
    with segrt.open_session(package) as session:
        plan = plan_tiles(size, (32, 32), (0 if size[0] < 32 else 8, 8))
        _check(session, RNG.random((*size, 1), np.float32), plan, 2)
    launched = opened[-1].launched
    batches = -(-plan.count // (batch or 2))
    assert launched.count("gather_tiles") == launched.count("blend_tiles") == batches


def _colours(*, first: bool, classes: int = 3) -> ir.Model:
    """A padded convolution to several channels and softmax, channels first or last."""

    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        value = x if first else b.op("Transpose", [x], name="in", perm=[0, 3, 1, 2])
        kernel = b.constant("kernel", weights(classes, 3, 3, 3))
        value = b.op("Conv", [value, kernel], name="conv", pads=[1, 1, 1, 1])
        value = b.op("Softmax", [value], name="soft", axis=1)
        return value if first else b.op("Transpose", [value], name="y", perm=[0, 2, 3, 1])

    return one_node(fill, (2, 3, 12, 16) if first else (2, 12, 16, 3))


@pytest.mark.parametrize("first", [False, True])
def test_colours_and_classes_in_either_order(opened, first: bool):
    target = REGISTRY.find("cuda")
    assert target is not None
    with target.open_model(_colours(first=first), BuildOptions()) as session:
        assert session.inputs[0].shape == ((2, 3, 12, 16) if first else (2, 12, 16, 3))
        size = (3, 30, 33) if first else (30, 33, 3)
        image = RNG.random(size, np.float32)
        _check(session, image, plan_tiles((30, 33), (12, 16), (4, 5)), 2)
    assert "gather_tiles" in opened[-1].launched


def test_pixels_in_and_masks_out(opened, tmp_path):
    with segrt.open_session(_cells(tmp_path, input="uint8", head="mask")) as session:
        image = RNG.integers(0, 256, (50, 70, 1), np.uint8)
        _check(session, image, plan_tiles((50, 70), (32, 32), (8, 8)), 2, joined=True)
    assert "blend_tiles" in opened[-1].launched


def _predicted(package, folder: Path, name: str) -> dict[str, np.ndarray]:
    report = segrt.predict(
        package,
        folder / "in",
        output=folder / name,
        options=PredictOptions(save=("mask", "prob")),
    )
    assert not report.failed
    return {file.name: _read(file) for file in (folder / name).iterdir()}


def _read(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image).astype(int)


def _images(folder: Path) -> Iterator[Path]:
    (folder / "in").mkdir()
    for index, size in enumerate([(45, 70), (20, 25), (33, 40)]):
        file = folder / "in" / f"{index}.png"
        Image.fromarray(RNG.integers(0, 256, size, np.uint8)).save(file)
        yield file


def _same_files(package, folder: Path, monkeypatch) -> None:
    """Predict with and without the GPU's tiling; one of the images needs no tiles at all."""
    assert len(list(_images(folder))) == 3
    calls = []
    run = CudaSession.run_tiles

    def counted(self, image, *rest):
        calls.append(run(self, image, *rest))
        return calls[-1]

    monkeypatch.setattr(CudaSession, "run_tiles", counted)
    here = _predicted(package, folder, "gpu")
    assert len(calls) == 2
    assert all(found is not None for found in calls)
    monkeypatch.setattr(CudaSession, "run_tiles", lambda *_: None)
    there = _predicted(package, folder, "host")
    assert len(there) == 6
    assert here.keys() == there.keys()
    for name, wanted in there.items():
        # Only a probability that lies within rounding of the next shade may differ.
        bound = 1 if "prob" in name else 0
        assert np.abs(here[name] - wanted).max() <= bound
        assert wanted.min() < wanted.max()


def test_predict_writes_the_same_files(opened, tmp_path, monkeypatch):
    _same_files(_cells(tmp_path), tmp_path, monkeypatch)


def test_too_little_memory_leaves_it_to_the_host(opened, tmp_path, monkeypatch):
    with segrt.open_session(_cells(tmp_path)) as session:
        network, gpu = Network(session, None), opened[-1]
        plan, image = plan_tiles((45, 70), (32, 32), (8, 8)), np.ones((45, 70, 1), np.float32)
        before, allocate = set(gpu.live), gpu.allocate

        def refuse(size, purpose):
            if purpose == "blended image":
                raise DeviceMemoryError("there is no more")
            return allocate(size, purpose)

        gpu.allocate = refuse
        assert network.run_image(lambda: image, grid_of(plan), 2) is None
        assert set(gpu.live) == before


def test_an_output_of_another_size_is_left_to_the_host(opened):
    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        return b.op("MaxPool", [x], name="half", kernel_shape=[2, 2], strides=[2, 2])

    target = REGISTRY.find("cuda")
    assert target is not None
    with target.open_model(one_node(fill, (1, 1, 8, 8)), BuildOptions()) as session:
        image = np.ones((1, 8, 20), np.float32)
        grid = grid_of(plan_tiles((8, 20), (8, 8), (0, 2)))
        assert Network(session, None).run_image(lambda: image, grid, 1) is None


def test_a_failing_engine_fails_its_image_only(opened, tmp_path, monkeypatch):
    package = _cells(tmp_path)
    assert len(list(_images(tmp_path))) == 3

    def fail(*_, **__):
        raise RuntimeError("lost")

    monkeypatch.setattr(tiles, "run_tiles", fail)
    report = segrt.predict(package, tmp_path / "in", output=tmp_path / "out")
    assert sorted(result.source.name for result in report.failed) == ["0.png", "2.png"]
    assert "lost" in str(report.failed[0].error)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_on_a_gpu(tmp_path, monkeypatch, precision: str):
    package = _cells(tmp_path, size=(64, 64), batch=3, precision=precision)
    with segrt.open_session(package) as session:
        for size in ((150, 201), (40, 300)):
            overlap = (0 if size[0] < 64 else 16, 16)
            plan = plan_tiles(size, (64, 64), overlap)
            _check(session, RNG.random((*size, 1), np.float32), plan, 3)
    _same_files(_cells(tmp_path), tmp_path, monkeypatch)
