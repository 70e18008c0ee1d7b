"""Probability distributions on GPUs through CuPy, and on the CPU through NumPy.

`lucid` is also an array namespace: the functions of the Python array API standard, over
tensors that live on either device.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from lucid import cuda as cuda
from lucid._array_api import linalg as linalg
from lucid._array_api.constants import __array_api_version__ as __array_api_version__
from lucid._array_api.constants import e as e
from lucid._array_api.constants import inf as inf
from lucid._array_api.constants import nan as nan
from lucid._array_api.constants import newaxis as newaxis
from lucid._array_api.constants import pi as pi
from lucid._array_api.creation import arange as arange
from lucid._array_api.creation import empty as empty
from lucid._array_api.creation import empty_like as empty_like
from lucid._array_api.creation import eye as eye
from lucid._array_api.creation import from_dlpack as from_dlpack
from lucid._array_api.creation import full as full
from lucid._array_api.creation import full_like as full_like
from lucid._array_api.creation import linspace as linspace
from lucid._array_api.creation import meshgrid as meshgrid
from lucid._array_api.creation import ones as ones
from lucid._array_api.creation import ones_like as ones_like
from lucid._array_api.creation import tril as tril
from lucid._array_api.creation import triu as triu
from lucid._array_api.creation import zeros as zeros
from lucid._array_api.creation import zeros_like as zeros_like
from lucid._array_api.data_types import astype as astype
from lucid._array_api.data_types import can_cast as can_cast
from lucid._array_api.data_types import finfo as finfo
from lucid._array_api.data_types import iinfo as iinfo
from lucid._array_api.data_types import isdtype as isdtype
from lucid._array_api.data_types import result_type as result_type
from lucid._array_api.elementwise import abs as abs
from lucid._array_api.elementwise import acos as acos
from lucid._array_api.elementwise import acosh as acosh
from lucid._array_api.elementwise import add as add
from lucid._array_api.elementwise import asin as asin
from lucid._array_api.elementwise import asinh as asinh
from lucid._array_api.elementwise import atan as atan
from lucid._array_api.elementwise import atan2 as atan2
from lucid._array_api.elementwise import atanh as atanh
from lucid._array_api.elementwise import bitwise_and as bitwise_and
from lucid._array_api.elementwise import bitwise_invert as bitwise_invert
from lucid._array_api.elementwise import bitwise_left_shift as bitwise_left_shift
from lucid._array_api.elementwise import bitwise_or as bitwise_or
from lucid._array_api.elementwise import bitwise_right_shift as bitwise_right_shift
from lucid._array_api.elementwise import bitwise_xor as bitwise_xor
from lucid._array_api.elementwise import ceil as ceil
from lucid._array_api.elementwise import clip as clip
from lucid._array_api.elementwise import conj as conj
from lucid._array_api.elementwise import copysign as copysign
from lucid._array_api.elementwise import cos as cos
from lucid._array_api.elementwise import cosh as cosh
from lucid._array_api.elementwise import divide as divide
from lucid._array_api.elementwise import equal as equal
from lucid._array_api.elementwise import exp as exp
from lucid._array_api.elementwise import expm1 as expm1
from lucid._array_api.elementwise import floor as floor
from lucid._array_api.elementwise import floor_divide as floor_divide
from lucid._array_api.elementwise import greater as greater
from lucid._array_api.elementwise import greater_equal as greater_equal
from lucid._array_api.elementwise import hypot as hypot
from lucid._array_api.elementwise import imag as imag
from lucid._array_api.elementwise import isfinite as isfinite
from lucid._array_api.elementwise import isinf as isinf
from lucid._array_api.elementwise import isnan as isnan
from lucid._array_api.elementwise import less as less
from lucid._array_api.elementwise import less_equal as less_equal
from lucid._array_api.elementwise import log as log
from lucid._array_api.elementwise import log1p as log1p
from lucid._array_api.elementwise import log2 as log2
from lucid._array_api.elementwise import log10 as log10
from lucid._array_api.elementwise import logaddexp as logaddexp
from lucid._array_api.elementwise import logical_and as logical_and
from lucid._array_api.elementwise import logical_not as logical_not
from lucid._array_api.elementwise import logical_or as logical_or
from lucid._array_api.elementwise import logical_xor as logical_xor
from lucid._array_api.elementwise import maximum as maximum
from lucid._array_api.elementwise import minimum as minimum
from lucid._array_api.elementwise import multiply as multiply
from lucid._array_api.elementwise import negative as negative
from lucid._array_api.elementwise import nextafter as nextafter
from lucid._array_api.elementwise import not_equal as not_equal
from lucid._array_api.elementwise import positive as positive
from lucid._array_api.elementwise import pow as pow
from lucid._array_api.elementwise import real as real
from lucid._array_api.elementwise import reciprocal as reciprocal
from lucid._array_api.elementwise import remainder as remainder
from lucid._array_api.elementwise import round as round
from lucid._array_api.elementwise import sign as sign
from lucid._array_api.elementwise import signbit as signbit
from lucid._array_api.elementwise import sin as sin
from lucid._array_api.elementwise import sinh as sinh
from lucid._array_api.elementwise import sqrt as sqrt
from lucid._array_api.elementwise import square as square
from lucid._array_api.elementwise import subtract as subtract
from lucid._array_api.elementwise import tan as tan
from lucid._array_api.elementwise import tanh as tanh
from lucid._array_api.elementwise import trunc as trunc
from lucid._array_api.indexing import take as take
from lucid._array_api.indexing import take_along_axis as take_along_axis
from lucid._array_api.inspection import (
    __array_namespace_info__ as __array_namespace_info__,
)
from lucid._array_api.linear_algebra import matmul as matmul
from lucid._array_api.linear_algebra import matrix_transpose as matrix_transpose
from lucid._array_api.linear_algebra import tensordot as tensordot
from lucid._array_api.linear_algebra import vecdot as vecdot
from lucid._array_api.manipulation import broadcast_arrays as broadcast_arrays
from lucid._array_api.manipulation import broadcast_to as broadcast_to
from lucid._array_api.manipulation import concat as concat
from lucid._array_api.manipulation import expand_dims as expand_dims
from lucid._array_api.manipulation import flip as flip
from lucid._array_api.manipulation import moveaxis as moveaxis
from lucid._array_api.manipulation import permute_dims as permute_dims
from lucid._array_api.manipulation import repeat as repeat
from lucid._array_api.manipulation import reshape as reshape
from lucid._array_api.manipulation import roll as roll
from lucid._array_api.manipulation import squeeze as squeeze
from lucid._array_api.manipulation import stack as stack
from lucid._array_api.manipulation import tile as tile
from lucid._array_api.manipulation import unstack as unstack
from lucid._array_api.searching import argmax as argmax
from lucid._array_api.searching import argmin as argmin
from lucid._array_api.searching import count_nonzero as count_nonzero
from lucid._array_api.searching import nonzero as nonzero
from lucid._array_api.searching import searchsorted as searchsorted
from lucid._array_api.searching import where as where
from lucid._array_api.sets import unique_all as unique_all
from lucid._array_api.sets import unique_counts as unique_counts
from lucid._array_api.sets import unique_inverse as unique_inverse
from lucid._array_api.sets import unique_values as unique_values
from lucid._array_api.sorting import argsort as argsort
from lucid._array_api.sorting import sort as sort
from lucid._array_api.statistical import cumulative_prod as cumulative_prod
from lucid._array_api.statistical import cumulative_sum as cumulative_sum
from lucid._array_api.statistical import max as max
from lucid._array_api.statistical import mean as mean
from lucid._array_api.statistical import min as min
from lucid._array_api.statistical import prod as prod
from lucid._array_api.statistical import std as std
from lucid._array_api.statistical import sum as sum
from lucid._array_api.statistical import var as var
from lucid._array_api.utility import all as all
from lucid._array_api.utility import any as any
from lucid._array_api.utility import diff as diff
from lucid._device import Device as Device
from lucid._device import device as device
from lucid._device import get_default_device as get_default_device
from lucid._device import set_default_device as set_default_device
from lucid._dtype import bool as bool
from lucid._dtype import complex64 as complex64
from lucid._dtype import complex128 as complex128
from lucid._dtype import float16 as float16
from lucid._dtype import float32 as float32
from lucid._dtype import float64 as float64
from lucid._dtype import get_default_dtype as get_default_dtype
from lucid._dtype import int8 as int8
from lucid._dtype import int16 as int16
from lucid._dtype import int32 as int32
from lucid._dtype import int64 as int64
from lucid._dtype import set_default_dtype as set_default_dtype
from lucid._dtype import uint8 as uint8
from lucid._dtype import uint16 as uint16
from lucid._dtype import uint32 as uint32
from lucid._dtype import uint64 as uint64
from lucid._tensor import Tensor as Tensor
from lucid._tensor import asarray as asarray
from lucid._tensor import tensor as tensor
from lucid.backends import DeviceUnavailableError as DeviceUnavailableError

__version__ = "0.1.0"

# Loaded on first use: `import lucid` costs little more than `import numpy`.
if TYPE_CHECKING:
    from lucid import distributions as distributions
    from lucid._random import Generator as Generator
    from lucid._random import manual_seed as manual_seed
    from lucid.backends.numpy.engine import get_cpu_engine as get_cpu_engine
    from lucid.backends.numpy.engine import set_cpu_engine as set_cpu_engine
    from lucid.backends.numpy.threads import get_num_threads as get_num_threads
    from lucid.backends.numpy.threads import set_num_threads as set_num_threads
    from lucid.io import load as load
    from lucid.io import save as save
    from lucid.io import score as score
else:
    _HOMES = {
        "Generator": "lucid._random",
        "distributions": "lucid.distributions",
        "get_cpu_engine": "lucid.backends.numpy.engine",
        "get_num_threads": "lucid.backends.numpy.threads",
        "load": "lucid.io",
        "manual_seed": "lucid._random",
        "save": "lucid.io",
        "score": "lucid.io",
        "set_cpu_engine": "lucid.backends.numpy.engine",
        "set_num_threads": "lucid.backends.numpy.threads",
    }

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module 'lucid' has no attribute {name!r}")
        home = import_module(_HOMES[name])
        globals()[name] = getattr(home, name, home)
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *_HOMES})
