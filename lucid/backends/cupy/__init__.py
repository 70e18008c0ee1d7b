"""The CUDA backend. Nothing here imports CuPy before a device is asked for."""

from lucid.backends.cupy.backend import CupyBackend as CupyBackend
from lucid.backends.cupy.status import probe as probe
