"""The kernels' text: found by a file, put together whole, each header once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lucid.backends.cupy import device, kernels, sources, specs, structs


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A folder of headers, and an empty package beside it."""
    package = tmp_path / "lucid"
    monkeypatch.setattr(sources, "__file__", str(package / "backends/cupy/sources.py"))
    for cached in (sources.folder, sources.inlined):
        cached.cache_clear()
    yield tmp_path
    for cached in (sources.folder, sources.inlined):
        cached.cache_clear()


def write(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.cuh").write_text(text, encoding="utf-8")


def test_the_package_comes_before_the_checkout(house):
    write(house / "kernels", logsumexp="")
    assert sources.folder() == house / "kernels"
    sources.folder.cache_clear()
    write(house / "lucid/kernels", logsumexp="")
    assert sources.folder() == house / "lucid/kernels"


def test_a_folder_of_that_name_is_not_enough(house):
    write(house / "kernels", other="")
    with pytest.raises(FileNotFoundError, match=r"no logsumexp\.cuh in .*Reinstall"):
        sources.folder()


def test_each_header_is_put_in_its_place_once(house):
    write(house / "kernels", logsumexp="", low="#pragma once\nint low;\n")
    write(house / "kernels", high='#pragma once\n#include "low.cuh"\nint high;\n')
    write(house / "kernels/families", one='#include "../low.cuh"\nint one;\n')
    text = sources.inlined("high.cuh", "families/one.cuh")
    assert text.split() == ["int", "low;", "int", "high;", "int", "one;"]


def test_a_header_from_outside_is_refused(house):
    write(house / "kernels", logsumexp="", bad='#include "../secret.cuh"\n')
    write(house, secret="int secret;\n")
    with pytest.raises(ValueError, match="lies outside"):
        sources.inlined("bad.cuh")


def test_an_edited_header_is_another_source():
    spec = kernels.mixture(structs.named("Normal"), "float32", 1, 8)
    assert '#include "' not in spec.source
    assert "#pragma once" not in spec.source
    for header in ("logsumexp.cuh", "families/normal.cuh", "special.cuh"):
        line = (sources.folder() / header).read_text(encoding="utf-8").splitlines()[-5]
        assert line in spec.source


def test_nothing_imports_cupy_before_a_device_is_asked_for():
    code = "import sys, lucid.backends.cupy; sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


class Recorder:
    """CuPy's constructors and calls, written down."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def __getattr__(self, name):
        def construct(*arguments, **options):
            self.calls.append((name, arguments, options))
            return lambda *args, **kwargs: self.calls.append((args, kwargs))

        return construct


def test_a_kernel_is_built_once_and_launched_as_cupy_expects():
    cuda = device.CudaDevice(0, Recorder())
    raw = specs.Raw("name", "text", 16)
    for _ in range(2):
        cuda.launch(raw, (3, 2), (128,), ["a", "b"])
    cuda.elementwise(specs.Elementwise("e", "in", "out", "op", "pre"), ["x", "y"])
    parts = ("r", "in", "out", "map", "reduce", "post", "identity", "type", "pre")
    cuda.reduce(specs.Reduction(*parts), ["x", "y"], 0, "out")
    launch = (((3, 2), (128,), ("a", "b")), {"shared_mem": 16})
    assert cuda.xp.calls == [
        ("RawKernel", ("text", "name"), {}),
        launch,
        launch,
        ("ElementwiseKernel", ("in", "out", "op", "e"), {"preamble": "pre"}),
        (("x", "y"), {}),
        (
            "ReductionKernel",
            ("in", "out", "map", "reduce", "post", "identity", "r"),
            {"reduce_type": "type", "preamble": "pre"},
        ),
        (("x", "y", "out"), {"axis": 0}),
    ]
