"""Registries: every plain file of a registry's folder registers something, names are unique."""

import json

import pytest

from policy._source import ROOT, SOURCE, relative, run_python
from segrt._registry import Registry, RegistryError

# Module that holds the registry -> folder whose plain files fill it.
REGISTRIES = {
    "segrt.checks._base": "segrt/checks/rules",
    "segrt.cuda.kernels._base": "segrt/cuda/kernels",
    "segrt.graph.custom_ops": "segrt/graph/custom",
    "segrt.importers._base": "segrt/importers",
    "segrt.importers.known._base": "segrt/importers/known",
    "segrt.importers.lambdas._base": "segrt/importers/lambdas",
    "segrt.importers.layers._base": "segrt/importers/layers",
    "segrt.importers.operations._base": "segrt/importers/operations",
    "segrt.measurement.gauges._base": "segrt/measurement/gauges",
    "segrt.measurement.jax_ops._base": "segrt/measurement/jax_ops",
    "segrt.measurement.peers._base": "segrt/measurement/peers",
    "segrt.measurement.torch_ops._base": "segrt/measurement/torch_ops",
    "segrt.passes._base": "segrt/passes",
    "segrt.passes.upsampling._base": "segrt/passes/upsampling",
    "segrt.targets._base": "segrt/targets",
    "segrt.targets.trt.layers._base": "segrt/targets/trt/layers",
    "segrt.targets.trt.readers._base": "segrt/targets/trt/readers",
}
LOAD = """
import importlib, json, sys
registry = importlib.import_module({module!r}).REGISTRY
print(json.dumps(registry.names()))
"""


@pytest.mark.parametrize("module", REGISTRIES)
def test_registry_loads_in_a_fresh_interpreter(module):
    # Fresh, because a file that something else imported first cannot be told from an empty one.
    names = json.loads(run_python(LOAD.format(module=module)))
    files = [p for p in (SOURCE / REGISTRIES[module]).glob("*.py") if not p.stem.startswith("_")]
    assert files
    assert len(names) >= len(files)


def test_no_registry_is_forgotten():
    holders = [
        relative(path).removeprefix("src/").removesuffix(".py").replace("/", ".")
        for path in SOURCE.rglob("*.py")
        if "REGISTRY: Registry[" in path.read_text("utf-8")
    ]
    assert sorted(holders) == sorted(REGISTRIES)


def folder(tmp_path, monkeypatch, name, **files):
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    for file, text in files.items():
        (package / f"{file}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Registry("sample", name)


def test_an_empty_file_is_found(tmp_path, monkeypatch):
    registry = folder(tmp_path, monkeypatch, "empty_sample_registry", nothing="x = 1\n")
    with pytest.raises(RegistryError, match=r"nothing registers no sample"):
        registry.load()


def test_machinery_need_not_register(tmp_path, monkeypatch):
    registry = folder(tmp_path, monkeypatch, "machinery_sample_registry", _machine="x = 1\n")
    assert registry.names() == []


def test_a_second_registration_is_found():
    registry: Registry[object] = Registry("sample", "nowhere")
    registry.register("a")(object())
    with pytest.raises(RegistryError, match="registered twice"):
        registry.register("a")(object())


def test_every_file_of_the_command_line_is_a_verb():
    import click

    from segrt.cli._app import group

    verbs = group.list_commands(click.Context(group))
    files = sorted(p.stem for p in (ROOT / "src/segrt/cli").glob("[!_]*.py"))
    assert verbs == files
    assert all(group.get_command(click.Context(group), verb) for verb in verbs)
