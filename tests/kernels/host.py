"""The kernels' own text on the host: built with g++ and its sanitizers, called by name.

One process serves all calls of a test session. A read past an array, an undefined
operation or a deadlock ends it, and the call that asked fails with what it said.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parents[1] / "kernels"
COMPILER = shutil.which("g++")
FLAGS = (
    *("-std=c++17", "-O1", "-g1", "-mfma", "-ffp-contract=off", "-pipe"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    *("-I", str(HERE), "-I", str(KERNELS)),
)
FRAME = '#include "server.hpp"\n'
SERVE = FRAME + "int main() { return serve(); }\n"


class Host:
    """Kernels compiled for the host, one translation unit for each given text.

    Objects stay in `folder`, named after all they were made of, for the next session.
    """

    def __init__(self, *sources: str, folder: Path) -> None:
        if COMPILER is None:
            raise RuntimeError("g++ is needed to run the kernels on the host")
        self._folder = folder
        # One process at a time: the next one finds it made.
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # A third of a compilation would be to read what each text includes first.
            frame = self._written(FRAME, "hpp")
            self._made(Path(f"{frame}.gch"), "-x", "c++-header", str(frame))
            self._options = ("-include", str(frame), "-c")
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = [*map(str, pool.map(self._compile, (*sources, SERVE)))]
            program = folder / f"{_digest([*objects, *FLAGS])}.kernels.o"
            self._made(program, *objects)
        # Open for as long as the process that writes to it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "ASAN_OPTIONS": "detect_stack_use_after_return=0"},
        )

    def __call__(
        self, name: str, grid: tuple[int, ...], threads: int, *arguments: Any
    ) -> tuple[Any, ...]:
        """Launch a kernel; arrays come back in order, as the kernel left them."""
        x, y, z = (*grid, 1, 1)[:3]
        request = [f"{name} {x} {y} {z} {threads} {len(arguments)}\n".encode()]
        arrays = []
        for argument in arguments:
            if argument is None:
                request.append(struct.pack("<q", -2))
            elif isinstance(argument, np.ndarray):
                array = np.ascontiguousarray(argument)
                arrays.append(array)
                request += [struct.pack("<q", array.nbytes), array.tobytes()]
            else:
                request.append(struct.pack("<qQ", -1, int(argument) % 2**64))
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(b"".join(request))
            stdin.flush()
        except BrokenPipeError:
            self._fail(name)
        results = []
        for array in arrays:
            data = stdout.read(array.nbytes)
            if len(data) != array.nbytes:
                self._fail(name)
            results.append(np.frombuffer(data, array.dtype).reshape(array.shape).copy())
        return tuple(results)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._errors.close()

    def _compile(self, source: str) -> Path:
        text = self._written(source, "cpp")
        return self._made(text.with_suffix(".o"), *self._options, str(text))

    def _written(self, source: str, suffix: str) -> Path:
        """A file with the text, named after all that is made of it."""
        text = self._folder / f"{_digest([source, *FLAGS, *_headers()])}.{suffix}"
        if not text.is_file():
            part = text.with_suffix(f".{os.getpid()}.{suffix}")
            part.write_text(source, encoding="utf-8")
            part.replace(text)
        return text

    def _made(self, made: Path, *arguments: str) -> Path:
        """What g++ makes of the arguments, whole or not there: other processes ask."""
        if not made.is_file():
            part = made.with_suffix(f".{os.getpid()}")
            _run(str(COMPILER), *FLAGS, *arguments, "-o", str(part))
            part.replace(made)
        return made

    def _fail(self, name: str) -> None:
        self._process.wait(10)
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")
        raise RuntimeError(f"{name} ended the process:\n{said[:4000]}")


def _digest(made_of: list[str]) -> str:
    return hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]


def _headers() -> list[str]:
    files = [*HERE.glob("*.hpp"), *KERNELS.rglob("*.cuh")]
    return [file.read_text(encoding="utf-8") for file in sorted(files)]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[:8000]}")
