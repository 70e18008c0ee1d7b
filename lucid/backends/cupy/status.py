"""Whether CUDA works here, found out by using it."""

from __future__ import annotations

from typing import Any

_ADD_ONE = """
extern "C" __global__ void lucid_probe(int* value) { *value += 1; }
"""


def probe() -> tuple[bool, str, tuple[str, ...]]:
    """(available, why not, names of the devices); raises only if CuPy does not load.

    Asking the driver is not enough: the answer counts only after one array was made,
    and one kernel compiled, launched and read back.
    """
    import cupy

    try:
        names = _device_names(cupy.cuda.runtime)
        if not names:
            return False, "the NVIDIA driver sees no CUDA device", ()
        value = cupy.full((), 41, dtype=cupy.int32)
        cupy.RawKernel(_ADD_ONE, "lucid_probe")((1,), (1,), (value,))
        result = int(value)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return False, f"{type(error).__name__}: {lines[0]}", ()
    if result != 42:
        return False, f"a kernel that adds 1 to 41 gave {result}", ()
    return True, "", names


def _device_names(runtime: Any) -> tuple[str, ...]:
    devices = range(runtime.getDeviceCount())
    return tuple(runtime.getDeviceProperties(i)["name"].decode() for i in devices)
