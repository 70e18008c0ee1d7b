"""lucid works from a bare checkout, an editable install, a wheel and an sdist."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent
# What a build or a tool leaves behind, or what belongs to one working copy.
LITTER = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", "__pycache__", "build", "dist", "*.egg-info"
)
# Run in an empty folder: what is imported, from where, and whether it works.
PROBE = """
import json, sys
import lucid
from lucid.distributions import Categorical, MixtureSameFamily, Normal
from lucid.backends.cupy import sources
mixture = MixtureSameFamily(
    Categorical(probs=lucid.tensor([0.3, 0.7], device="cpu")),
    Normal(lucid.tensor([-2.0, 2.0], device="cpu"), 1.0),
)
print(json.dumps({
    "lucid": lucid.__file__,
    "kernels": str(sources.folder()),
    "log_prob": float(mixture.log_prob(0.5).item()),
    "cupy": "cupy" in sys.modules,
}))
"""
LOG_PROB = -2.3442  # log(0.3 φ(2.5) + 0.7 φ(−1.5))


def python(
    *arguments: str,
    cwd: Path,
    path: Path | None = None,
    executable: str | Path = sys.executable,
) -> str:
    """Output of another Python that sees `path` first, and no other PYTHONPATH."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [str(executable), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def check_it_works(answer: str, lucid: Path, kernels: Path) -> None:
    found = json.loads(answer)
    assert Path(found["lucid"]) == lucid / "__init__.py"
    assert Path(found["kernels"]) == kernels
    assert found["log_prob"] == pytest.approx(LOG_PROB, abs=1e-4)
    assert found["cupy"] is False


def files(folder: Path, *patterns: str) -> set[str]:
    """Files of a folder of the checkout, as paths below it."""
    return {
        path.relative_to(folder).as_posix()
        for pattern in patterns
        for path in folder.rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout without what was built in it: builds leave files behind."""
    return Path(
        shutil.copytree(
            HOUSE, tmp_path_factory.mktemp("copy") / "checkout", ignore=LITTER
        )
    )


@pytest.fixture(scope="session")
def built(copy: Path) -> tuple[Path, Path]:
    """(wheel, sdist); the wheel is built from the sdist."""
    python("-m", "build", "--no-isolation", cwd=copy)
    (wheel,) = (copy / "dist").glob("*.whl")
    (sdist,) = (copy / "dist").glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="session")
def installed(
    built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder that holds the wheel's contents, as pip lays them out."""
    target = tmp_path_factory.mktemp("installed").resolve()
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]
    python(*pip, str(target), str(built[0]), cwd=target)
    return target


def test_every_folder_with_python_is_in_the_list_of_packages() -> None:
    listed = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {path.parent.relative_to(HOUSE) for path in HOUSE.glob("lucid/**/*.py")}
    packages = {".".join(folder.parts) for folder in folders}
    beside = {path.parent.relative_to(HOUSE) for path in HOUSE.glob("bench/**/*.py")}
    packages |= {".".join(("lucid", *folder.parts)) for folder in beside}
    packages |= {"lucid.kernels", "lucid.kernels.families"}
    assert set(listed["tool"]["setuptools"]["packages"]) == packages


@pytest.mark.slow
def test_the_wheel_holds_lucid_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
    metadata = {name for name in names if ".dist-info/" in name}
    assert {name.split("/")[0] for name in names - metadata} == {"lucid"}
    expected = {f"lucid/{name}" for name in files(HOUSE / "lucid", "*")}
    expected |= {f"lucid/kernels/{name}" for name in files(HOUSE / "kernels", "*.cuh")}
    expected |= {
        f"lucid/bench/{name}" for name in files(HOUSE / "bench", "*.py", "*.cuh")
    }
    assert names - metadata == expected
    assert "lucid/py.typed" in names
    assert "lucid/kernels/families/normal.cuh" in names
    assert not {name for name in names if "kernels/" in name and name.endswith(".py")}


@pytest.mark.slow
def test_the_sdist_holds_what_a_checkout_holds(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    with tarfile.open(built[1]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    for folder, patterns in {
        "lucid": ("*",),
        "kernels": ("*",),
        "bench": ("*.py", "*.cuh"),
        "tests": ("*",),
    }.items():
        assert files(unpacked / folder, "*") >= files(HOUSE / folder, *patterns)
    for name in ("README.md", "LICENSE", "CONTRIBUTING.md", "pyproject.toml"):
        assert (unpacked / name).read_bytes() == (HOUSE / name).read_bytes()
    answer = python("-c", PROBE, cwd=unpacked)
    check_it_works(answer, unpacked / "lucid", unpacked / "kernels")


@pytest.mark.slow
def test_the_wheel_works(installed: Path, tmp_path: Path) -> None:
    answer = python("-c", PROBE, cwd=tmp_path, path=installed)
    check_it_works(answer, installed / "lucid", installed / "lucid" / "kernels")
    for bench in (["lucid.bench"], ["lucid", "bench"]):
        help_text = python("-m", *bench, "--help", cwd=tmp_path, path=installed)
        assert "cpu" in help_text
    script = str(installed / "bin" / "lucid")
    assert "score" in python(script, "--help", cwd=tmp_path, path=installed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_wheel_says_what_it_needs(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info")
    wheel = importlib.metadata.Distribution.at(metadata)
    assert wheel.metadata["Name"] == "lucid-distributions"
    assert wheel.metadata["Requires-Python"] == ">=3.11"
    always = [need for need in wheel.requires or [] if "extra ==" not in need]
    assert always == ["numpy>=2", "scipy>=1.13"]
    extras = set(wheel.metadata.get_all("Provides-Extra") or [])
    assert {"cuda12", "cuda13", "test", "bench", "parquet", "plot"} <= extras
    assert {(e.name, e.value) for e in wheel.entry_points} == {
        ("lucid", "lucid.cli:main")
    }


def test_a_bare_checkout_works(tmp_path: Path) -> None:
    answer = python("-c", PROBE, cwd=tmp_path, path=HOUSE)
    check_it_works(answer, HOUSE / "lucid", HOUSE / "kernels")
    for bench in (["bench"], ["lucid", "bench"]):
        assert "cpu" in python("-m", *bench, "--help", cwd=tmp_path, path=HOUSE)
    assert "score" in python("-m", "lucid", "--help", cwd=tmp_path, path=HOUSE)


@pytest.mark.slow
def test_an_editable_install_works_and_is_live(copy: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    executable = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    # NumPy, SciPy and setuptools come from the environment that runs this test.
    (site / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    pip += ["--ignore-installed", "--no-build-isolation", "-e", str(copy)]
    empty = tmp_path / "empty"
    empty.mkdir()
    python(*pip, cwd=empty, executable=executable)
    answer = python("-c", PROBE, cwd=empty, executable=executable)
    check_it_works(answer, copy / "lucid", copy / "kernels")
    for bench in (["lucid.bench"], ["lucid", "bench"]):
        help_text = python("-m", *bench, "--help", cwd=empty, executable=executable)
        assert "cpu" in help_text
    added = copy / "lucid" / "distributions" / "added_later.py"
    added.write_text("VALUE = 41 + 1\n")
    command = "from lucid.distributions.added_later import VALUE; print(VALUE)"
    try:
        assert python("-c", command, cwd=empty, executable=executable) == "42\n"
    finally:
        added.unlink()
    # Neither folder is importable under its own name.
    for name in ("kernels", "bench"):
        command = f"import importlib.util as u; print(u.find_spec({name!r}))"
        assert python("-c", command, cwd=empty, executable=executable) == "None\n"
