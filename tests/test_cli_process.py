"""The command `lucid` in a process of its own: terminals, signals, limits, absences."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.backends import cuda_status
from lucid.cli import main
from lucid.io import npy

DATA = Path(lucid.__file__).parent / "data"
MODEL = f"{DATA}/faithful.json"
SCORE = ["-m", "lucid", "score", MODEL, "data.npy", "-o", "out.npy"]


@pytest.fixture(autouse=True, scope="module")
def _heed_interrupts() -> Iterator[None]:
    """What a shell runs in the background ignores Ctrl-C, and so would the command."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with data; commands in it find this lucid, on the CPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(DATA.parent.parent))
    monkeypatch.setenv("LUCID_DEVICE", "cpu")
    np.save("data.npy", np.random.default_rng(0).normal(70, 10, 20_000))
    return tmp_path


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def on_a_terminal(*arguments: str) -> str:
    """What a terminal as stderr gets to show."""
    pty = pytest.importorskip("pty")
    reader, terminal = pty.openpty()
    pytest.importorskip("termios").tcsetwinsize(terminal, (24, 100))
    os.set_blocking(reader, False)
    with open(reader, "rb", buffering=0) as shown, open(terminal, "wb") as stderr:
        subprocess.run(
            [sys.executable, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            check=True,
            timeout=60,
        )
        return (shown.read(10_000) or b"").decode()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_module_is_the_command(folder: Path) -> None:
    done = python(*SCORE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rows                 20,000\n" in done.stdout
    assert names(folder) == ["data.npy", "out.npy"]


def test_a_terminal_shows_progress(folder: Path) -> None:
    pytest.importorskip("tqdm")
    shown = on_a_terminal(*SCORE, "--block-rows", "1000")
    assert "data.npy" in shown
    assert "rows/s" in shown


def test_a_terminal_without_tqdm_shows_one_line(folder: Path) -> None:
    shown = on_a_terminal("-c", without("tqdm"))
    assert shown.count("\n") == 1
    assert "pip install 'lucid-distributions[cli]'" in shown


def without(package: str, *changes: str) -> str:
    """A program that runs the command as if a package were not installed."""
    arguments = [*SCORE[2:], *changes]
    return (
        f"import sys; sys.modules[{package!r}] = None; "
        f"from lucid.cli import main; sys.exit(main({arguments!r}))"
    )


@pytest.mark.parametrize(
    ("package", "changes"),
    [
        ("matplotlib", ["--plot", "picture.png"]),
        ("pyarrow", ["-o", "out.parquet"]),
    ],
)
def test_a_missing_package_is_named(
    folder: Path, package: str, changes: list[str]
) -> None:
    done = python("-c", without(package, *changes))
    assert done.returncode == 6
    assert done.stderr.startswith("lucid: error: ")
    assert f"needs the package {package}: pip install" in done.stderr
    assert done.stderr.count("\n") == 1
    assert names(folder) == ["data.npy"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_score_leaves_nothing(
    folder: Path, number: signal.Signals
) -> None:
    shape = (100_000_000,)  # sparse, and minutes of work in blocks this small
    np.lib.format.open_memmap("data.npy", "w+", np.float64, shape)
    Path("out.npy").write_text("older")
    process = subprocess.Popen(
        [sys.executable, *SCORE, "--block-rows", "100"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(names(folder)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    if number == signal.SIGINT:
        assert err == "lucid: interrupted; out.npy was not written\n"
    assert Path("out.npy").read_text() == "older"
    assert names(folder) == ["data.npy", "out.npy"]


def interrupted(call: str) -> subprocess.CompletedProcess[str]:
    """The command, interrupted by Ctrl-C inside of a call before its first block."""
    lines = [
        "import ctypes, signal, sys",
        "from lucid.cli import command, score",
        "def interrupt(): signal.raise_signal(signal.SIGINT)",
        f"score.check_model = lambda *arguments: {call}",
        f"sys.exit(command.main({SCORE[2:]!r}))",
    ]
    Path("interrupted.py").write_text("\n".join(lines))
    return python("-m", "interrupted")


def test_an_interrupt_in_code_made_from_text_has_the_same_code(folder: Path) -> None:
    done = interrupted("exec('interrupt()')")
    assert done.returncode == 130
    assert done.stderr == "lucid: interrupted; out.npy was not written\n"
    assert names(folder) == ["data.npy", "interrupted.py"]


def test_an_interrupt_that_a_callback_swallows_is_not_lost(folder: Path) -> None:
    done = interrupted("ctypes.CFUNCTYPE(None)(interrupt)()")
    assert done.returncode == 130
    assert done.stderr.endswith("lucid: interrupted; out.npy was not written\n")
    assert names(folder) == ["data.npy", "interrupted.py"]


def test_a_full_disk(folder: Path) -> None:
    resource = pytest.importorskip("resource")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = python(*SCORE, preexec_fn=limit)  # 160,000 bytes of scores
    assert done.returncode == 5
    assert done.stderr == "lucid: error: out.npy: File too large\n"
    assert names(folder) == ["data.npy"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_of_the_output_is_not_the_datas(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    def full(self: Any, columns: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(npy.NpyEncoder, "append", full)
    assert main(SCORE[2:]) == 5
    assert capsys.readouterr().err == f"lucid: error: out.npy: {os.strerror(code)}\n"
    assert names(folder) == ["data.npy"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may")
def test_a_folder_that_is_read_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.chmod(0o500)
    assert main(SCORE[2:]) == 5
    assert capsys.readouterr().err == "lucid: error: out.npy: Permission denied\n"


def test_memory_that_runs_out(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(self: Any, size: int) -> Any:
        raise MemoryError

    monkeypatch.setattr(npy.NpyRows, "blocks", exhausted)
    assert main(SCORE[2:]) == 1
    assert capsys.readouterr().err == "lucid: error: out of memory\n"
    assert names(folder) == ["data.npy"]


def test_a_reader_of_the_summary_may_leave(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, *SCORE], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(folder) == ["data.npy", "out.npy"]


@pytest.mark.skipif(cuda_status().available, reason="a GPU works here")
def test_a_device_that_is_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SCORE[2:], "--device", "cuda"]) == 6
    text = capsys.readouterr().err
    assert cuda_status().reason in text
    assert text.count("\n") == 1
    assert names(folder) == ["data.npy"]


def test_bench_hands_over_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["bench", "--help"])
    assert raised.value.code == 0
    assert "Measure lucid on this machine." in capsys.readouterr().out
