"""Recordings come from elsewhere: damaged, foreign and hostile ones are refused clearly."""

import io
import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from segrt.errors import RecordingError
from segrt.verification.recording import Recording, is_recording

META = {"format": 1, "keras_version": "2.15.0", "backend": "tensorflow"}


def arrays(**more):
    rng = np.random.default_rng(0)
    return {
        "meta": np.array(json.dumps(META)),
        "input/input_1": rng.random((3, 8, 8, 1), dtype=np.float32),
        "output/out": rng.random((3, 8, 8, 2), dtype=np.float32),
        "layer/outer/conv@1": rng.random((3, 4, 4, 5), dtype=np.float32),
        **more,
    }


@pytest.fixture
def save(tmp_path):
    def write(content, compressed=True):
        path = tmp_path / "reference.npz"
        (np.savez_compressed if compressed else np.savez)(path, **content)
        return path

    return write


@pytest.mark.parametrize("compressed", [True, False])
def test_reads_whole_and_parts(save, compressed):
    content = arrays()
    recording = Recording(save(content, compressed))
    assert recording.names() == ("outer/conv@1",)
    assert recording.outputs() == ("out",)
    assert np.array_equal(recording.inputs()["input_1"], content["input/input_1"])
    layer = content["layer/outer/conv@1"]
    assert np.array_equal(recording.get("outer/conv@1"), layer)
    assert np.array_equal(recording.get("outer/conv@1", slice(1, 3)), layer[1:3])
    assert dict(recording.fetch_outputs(slice(2, 3)))["out"].shape == (1, 8, 8, 2)
    assert "2.15.0" in recording.kind
    recording.close()


def test_meta_may_be_bytes_and_arrays_in_column_order(save):
    layer = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(3, 2, 4))
    content = arrays(**{"meta": np.array(json.dumps(META).encode()), "layer/f": layer})
    recording = Recording(save(content))
    assert np.array_equal(recording.get("f"), layer)
    assert np.array_equal(recording.get("f", slice(1, 2)), layer[1:2])


def test_a_part_of_a_large_array_takes_little_memory(save):
    recording = Recording(save(arrays(**{"layer/big": np.zeros((3, 1 << 22), np.float32)})))
    tracemalloc.start()
    recording.get("big", slice(2, 3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * (1 << 24)  # one image of 16 MiB, not three


def test_knows_a_recording_by_its_content(save, tmp_path):
    assert is_recording(save(arrays()))
    other = tmp_path / "model.keras"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("config.json", "{}")
    assert not is_recording(other)
    assert not is_recording(tmp_path / "missing")


BROKEN = {
    "no meta": lambda c: c.pop("meta"),
    "meta is no JSON": lambda c: c.update(meta=np.array("{")),
    "meta is a list": lambda c: c.update(meta=np.array("[1]")),
    "meta of another format": lambda c: c.update(meta=np.array('{"format": 2}')),
    "meta is a number": lambda c: c.update(meta=np.array(3)),
    "meta is huge": lambda c: c.update(meta=np.array("x" * (1 << 20))),
    "no input": lambda c: c.pop("input/input_1"),
    "foreign key": lambda c: c.update({"weights": np.zeros(3)}),
    "empty name": lambda c: c.update({"layer/": np.zeros(3)}),
    "text layer": lambda c: c.update({"layer/a": np.array(["a", "b", "c"])}),
    "complex layer": lambda c: c.update({"layer/a": np.zeros(3, np.complex64)}),
    "another batch": lambda c: c.update({"layer/a": np.zeros((2, 4))}),
    "empty batch": lambda c: c.update({"layer/a": np.zeros((0, 4))}),
}


@pytest.mark.parametrize("how", BROKEN)
def test_refuses(save, how):
    content = arrays()
    BROKEN[how](content)
    with pytest.raises(RecordingError, match=r"reference\.npz"):
        Recording(save(content))


def test_numbers_and_vectors_are_no_batches(save):
    content = arrays(**{"layer/shape": np.array([3.0, 8.0]), "layer/size": np.float32(8)})
    recording = Recording(save(content))
    assert set(recording.loose) == {"shape", "size"}
    assert not {"shape", "size"} & set(recording.names())


def test_images_cut_up_into_a_larger_batch_are_no_batch_of_images(save):
    content = arrays()
    images = next(array for key, array in content.items() if key.startswith("input/")).shape[0]
    content["layer/cut"] = np.zeros((4 * images, 2, 2, 1), np.float32)
    recording = Recording(save(content))
    assert recording.loose == ("cut",)
    assert "cut" not in recording.names()


class Evil:
    def __reduce__(self):
        raise AssertionError("a pickle of a recording was touched")


def test_refuses_objects_without_unpickling(tmp_path):
    path = tmp_path / "reference.npz"
    np.savez(path, **arrays())
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|O", "fortran_order": False, "shape": (3,)}
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("layer/evil.npy", header.getvalue() + pickle.dumps([1, 2, 3]))
    with pytest.raises(RecordingError):
        Recording(path)


@pytest.mark.parametrize("shape", [(1 << 40,), (3, 1 << 30), (3, 5)])
def test_refuses_sizes_that_are_not_there(tmp_path, shape):
    path = tmp_path / "reference.npz"
    np.savez(path, **arrays())
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("layer/bomb.npy", header.getvalue() + b"\0" * 16)
    tracemalloc.start()
    with pytest.raises(RecordingError, match="damaged"):
        Recording(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_a_key_that_occurs_twice(save):
    path = save(arrays())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("layer/outer/conv@1.npy", b"")
    with pytest.raises(RecordingError, match="twice"):
        Recording(path)


def test_refuses_damaged_files(save, tmp_path):
    whole = save(arrays()).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "reference.npz"
    for cut in rng.integers(0, len(whole), 20):
        path.write_bytes(whole[:cut])
        with pytest.raises(RecordingError):
            Recording(path)
    path.write_bytes(rng.bytes(4096))
    with pytest.raises(RecordingError):
        Recording(path)
    with pytest.raises(RecordingError):
        Recording(tmp_path / "missing.npz")


def test_flipped_bytes_never_end_in_another_error(save, tmp_path):
    whole = bytearray(save(arrays()).read_bytes())
    rng = np.random.default_rng(1)
    path = tmp_path / "reference.npz"
    for position in rng.integers(0, len(whole), 150):
        changed = bytearray(whole)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        try:
            recording = Recording(path)
            for name in recording.names():
                recording.get(name)
            recording.close()
        except RecordingError:
            pass
