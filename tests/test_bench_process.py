"""`lucid bench` as a process: its signals, its files, whatever its output ends in."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as entry
from bench import child

HOUSE = Path(__file__).resolve().parent.parent
# One cell, in an instant.
SMALL = [
    *("--device", "cpu", "--suite", "latency", "--quick", "--dtype", "float32"),
    *("--peers", "scipy"),
]
# Sizes so large that it does not end by itself within the test.
LONG = ["--device", "cpu", "--suite", "score", "--peers", "scipy", "--json"]


@pytest.mark.skipif(os.name != "posix", reason="not run: signals are POSIX's")
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "")],
)
def test_a_signal_leaves_the_older_file(
    number: int, code: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    path.write_text("older", encoding="utf-8")
    running = subprocess.Popen(
        [sys.executable, "-m", "bench", *LONG, str(path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HOUSE)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert running.stderr.readline().startswith("[1/")
    running.send_signal(number)
    _, rest = running.communicate(timeout=60)
    assert running.returncode == code
    assert said in rest
    assert "Traceback" not in rest
    assert path.read_text(encoding="utf-8") == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_child_heeds_interrupts_where_its_parent_ignores_them() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        waiting = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print(3)"
        ended = child.run([sys.executable, "-c", waiting], 2, stdout=subprocess.PIPE)
        assert ended == child.Ended(None, "3\n")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_files_are_written_whoever_reads_the_table(tmp_path: Path) -> None:
    """Somebody who does not read on, in an encoding that has no µ."""
    path, link = tmp_path / "x.json", tmp_path / "link.json"
    link.symlink_to(path)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "bench", *SMALL, "--json", link],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HOUSE), "PYTHONIOENCODING": "ascii"},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert done.returncode == 141, done.stderr
    assert "Traceback" not in done.stderr
    assert len(json.loads(path.read_text(encoding="utf-8"))["results"]) == 1
    assert link.is_symlink()


def test_any_encoding_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert entry.main(SMALL) == 0
    assert b" ?s a call" in written.getvalue()
