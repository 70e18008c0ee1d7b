"""A GPU that is not there and works as late as it may: enough of CuPy, over NumPy.

Work is put on streams and done only when someone waits for it, other streams' work only
where an event says so. Until then a result holds garbage, and freed memory is garbage
as soon as its own stream gets there. What is done too early or too late is then wrong.
"""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.special
from numpy.lib.mixins import NDArrayOperatorsMixin

from tests.late_streams import (
    CUDADriverError,
    CUDARuntimeError,
    Device,
    Event,
    Memory,
    OutOfMemoryError,
    Pinned,
    Stream,
    spoil,
)


class Array(NDArrayOperatorsMixin):
    """What CuPy's arrays do here: everything late."""

    def __init__(self, world: Any, host: Any, memory: Memory) -> None:
        self.world, self.host, self.memory = world, host, memory
        self.device = SimpleNamespace(id=memory.stream.device_id)
        self.flags = host.flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.host, name)
        if not callable(found):
            return found
        return lambda *args, **options: self.world.run(
            lambda array, *rest, **more: getattr(array, name)(*rest, **more),
            *(self, *args),
            **options,
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **more: Any) -> Any:
        assert method == "__call__"
        into = more.pop("out", None)
        found = self.world.run(ufunc, *args, **more)
        if into is None:
            return found
        into[0][...] = found
        return into[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __getitem__(self, key: Any) -> Any:
        return self.world.run(operator.getitem, self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        host = value.host if isinstance(value, Array) else value
        self.world.add([self, value], lambda: self.host.__setitem__(key, host))

    def __len__(self) -> int:
        return len(self.host)

    def __bool__(self) -> bool:
        return bool(self.world.namespace.asnumpy(self))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.host.shape, "version": 3}

    def copy(self) -> Array:
        """On the current device, which need not be the array's."""
        made, source = self.world.new(self.shape, self.dtype), self.host
        target, stream = made.host, self.world.stream
        self.world.add([made], lambda: _assign(target, source))
        self.memory.uses.append((stream, stream.put))
        return made

    def set(self, source: Any) -> None:
        assert (source.shape, source.dtype) == (self.shape, self.dtype)
        host, held = self.host, unheld(source)
        self.world.trace.append(("copy in", self.world.stream))
        self.world.add([self, pinned(source)], lambda: _assign(host, held))

    def get(self, out: Any, blocking: bool) -> None:
        assert not blocking
        assert (out.shape, out.dtype) == (self.shape, self.dtype)
        spoil(out)
        host, held = self.host, unheld(out)
        self.world.trace.append(("copy out", self.world.stream))
        self.world.add([self, pinned(out)], lambda: _assign(held, host))


def pinned(array: Any) -> Pinned:
    """The page-locked memory of a NumPy array; there must be some."""
    base = array
    while not isinstance(base, Pinned):
        assert base is not None, "a copy to or from pageable memory overlaps nothing"
        base = base.obj if isinstance(base, memoryview) else base.base
    return base


def unheld(array: Any) -> Any:
    """The same memory, which this view does not keep alive, as a copy does not."""
    return np.asarray(SimpleNamespace(__array_interface__=array.__array_interface__))


class World:
    """Some GPUs, their memory, and what happened there.

    failing  which allocations fail, counted from 1
    limit    how many bytes of device memory there are
    doomed   how often work may be put or done before the context is lost
    others_first  whether the other streams' work is done before what is waited for
    """

    def __init__(self, devices: int = 1) -> None:
        self.lock = threading.RLock()
        self.thread = _Thread(self)
        self.streams: list[Stream] = []
        self.others_first = False
        self.null = [Stream(self, index) for index in range(devices)]
        self.trace: list[tuple[str, Stream]] = []
        self.faults: list[str] = []
        self.used = self.pinned = self.allocations = 0
        self.failing: set[int] = set()
        self.limit = 2**40
        self.doomed: int | None = None
        self.namespace = Namespace(self)

    @property
    def current_device(self) -> int:
        return self.thread.devices[-1]

    @property
    def stream(self) -> Stream:
        own = [s for s in self.thread.streams if s.device_id == self.current_device]
        return own[-1] if own else self.null[self.current_device]

    @property
    def lost(self) -> bool:
        return self.doomed is not None and self.doomed < 0

    def check_context(self) -> None:
        if self.doomed is not None:
            self.doomed -= 1
        if self.lost:
            raise CUDARuntimeError(700)

    def has_room(self, nbytes: int) -> bool:
        self.allocations += 1
        return self.allocations not in self.failing and self.used + nbytes <= self.limit

    def new(self, shape: Any, dtype: Any) -> Array:
        host = np.empty(shape, dtype)
        if not self.has_room(host.nbytes):
            raise OutOfMemoryError(f"no {host.nbytes} bytes left")
        spoil(host)
        return Array(self, host, Memory(self, host))

    def add(self, used: list[Any], work: Callable[[], None]) -> None:
        stream = self.stream
        stream.add(work)
        for array in used:
            memory = array.memory if isinstance(array, Array) else array
            if isinstance(array, Array):
                assert array.device.id == self.current_device, "on another device"
            if hasattr(memory, "uses"):
                memory.uses.append((stream, stream.put))

    def run(self, function: Any, *args: Any, **options: Any) -> Any:
        """A view at once, or a new array that is filled late."""
        arrays = [a for a in _flat([*args, *options.values()]) if isinstance(a, Array)]
        assert not any(isinstance(a, np.ndarray) and a.ndim for a in _flat(args))
        late = _host(args), {name: _host(value) for name, value in options.items()}

        def compute() -> Any:
            with np.errstate(all="ignore"):
                return function(*late[0], **late[1])

        try:
            found = compute()  # for the shapes: the numbers are garbage
        except IndexError:
            found = function(*_host(args, _at_zero), **options)
        several = isinstance(found, tuple)
        results = []
        for part in map(np.asarray, found if several else (found,)):
            of = [a for a in arrays if np.may_share_memory(a.host, part)]
            if of:
                results.append(Array(self, part, of[0].memory))
            else:
                results.append(self.new(part.shape, part.dtype))
        fresh = [r for r in results if not any(r.memory is a.memory for a in arrays)]
        if fresh:
            targets = [result.host for result in results]

            def fill() -> None:
                values = compute()
                parts = values if several else (values,)
                for target, value in zip(targets, parts, strict=True):
                    target[...] = value

            self.add([*arrays, *fresh], fill)
        return tuple(results) if several else results[0]


class Namespace:
    """CuPy's functions, for arrays of a `World`."""

    ndarray = Array

    def __init__(self, world: World) -> None:
        self._world = world
        self.cuda = SimpleNamespace(
            Device=lambda index: Device(world, index),
            Stream=lambda non_blocking: Stream(world, world.current_device),
            Event=lambda block, disable_timing: Event(world),
            get_current_stream=lambda: world.stream,
            alloc_pinned_memory=self._pinned,
            runtime=SimpleNamespace(CUDARuntimeError=CUDARuntimeError),
            driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        )
        pool = SimpleNamespace(free_all_blocks=lambda: world.trace.append(("free", 0)))
        self.get_default_memory_pool = lambda: pool
        self.get_default_pinned_memory_pool = lambda: pool

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name, None) or getattr(scipy.special, name)
        if not callable(found) or isinstance(found, type):
            return found
        return lambda *args, **options: self._world.run(found, *args, **options)

    def empty(self, shape: Any, dtype: Any = float) -> Array:
        return self._world.new(shape, dtype)

    def asarray(self, value: Any, dtype: Any = None) -> Array:
        """A copy whose pageable source may change as soon as this returns."""
        if isinstance(value, Array):
            return value if dtype in {None, value.dtype} else value.astype(dtype)
        source = np.array(value, dtype)
        array = self._world.new(source.shape, source.dtype)
        self._world.add([array], lambda: _assign(array_host, source))
        array_host = array.host
        return array

    def array(self, value: Any, dtype: Any = None, order: str = "C", copy: bool = True):
        assert copy
        return self.asarray(value, dtype).copy()

    def asnumpy(self, array: Array) -> Any:
        self._world.stream.synchronize()
        return array.host.copy()

    def _pinned(self, nbytes: int) -> Pinned:
        if not self._world.has_room(0):
            raise CUDARuntimeError(2)
        memory = Pinned(nbytes)
        memory.hold(self._world)
        self._world.pinned += nbytes
        return memory


class _Thread(threading.local):
    def __init__(self, world: World) -> None:
        self.streams: list[Stream] = []
        self.devices = [0]


def _assign(target: Any, source: Any) -> None:
    target[...] = source


def _flat(values: Any) -> list[Any]:
    if isinstance(values, (list, tuple)):
        return list(itertools.chain.from_iterable(map(_flat, values)))
    return [values]


def _host(value: Any, get: Callable[[Array], Any] = lambda array: array.host) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_host(part, get) for part in value)
    return get(value) if isinstance(value, Array) else value


def _at_zero(array: Array) -> Any:
    """What is no garbage as an index."""
    host = array.host
    return np.zeros_like(host) if host.dtype.kind in "iu" else host
