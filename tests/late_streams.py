"""Streams, events and memory of a GPU that is not there: see tests/late_cuda.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

GARBAGE = 0xA5


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"cudaError{status}: a stand-in's")


class CUDADriverError(CUDARuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    pass


class Stream:
    """Work in order, done up to `reached`."""

    def __init__(self, world: Any, device_id: int) -> None:
        self.world = world
        self.device_id = device_id
        self.work: deque[Callable[[], None]] = deque()
        self.put = self.reached = 0
        self.waited: dict[Stream, int] = {}  # how far what is put from now on waits
        self.capturing = False
        world.streams.append(self)

    def __enter__(self) -> None:
        assert self.device_id == self.world.current_device, "of another device"
        self.world.thread.streams.append(self)

    def __exit__(self, *_: object) -> None:
        assert self.world.thread.streams.pop() is self

    def add(self, work: Callable[[], None]) -> None:
        with self.world.lock:
            self.world.check_context()
            self.put += 1
            self.work.append(work)

    def run(self, end: int) -> None:
        with self.world.lock:
            while self.reached < end:
                self.world.check_context()
                self.reached += 1
                self.work.popleft()()
            self.world.check_context()

    def synchronize(self) -> None:
        self.world.trace.append(("synchronize stream", self))
        self.run(self.put)

    def wait_event(self, event: Event) -> None:
        stream, end = event.stream, event.end
        self.waited[stream] = max(end, self.waited.get(stream, 0))
        self.add(lambda: stream.run(end))

    def is_capturing(self) -> bool:
        return self.capturing


class Event:
    def __init__(self, world: Any) -> None:
        self.world = world

    def record(self) -> None:
        self.stream: Stream = self.world.stream
        self.end = self.stream.put

    @property
    def done(self) -> bool:
        return self.stream.reached >= self.end

    def synchronize(self) -> None:
        self.world.trace.append(("synchronize event", self.stream))
        if self.world.others_first:
            for stream in self.world.streams:
                if stream is not self.stream:
                    stream.run(stream.put)
        self.stream.run(self.end)


class Device:
    def __init__(self, world: Any, index: int) -> None:
        self.world = world
        self.id = index
        self.attributes = {"MultiProcessorCount": 132}

    def __enter__(self) -> None:
        self.world.thread.devices.append(self.id)

    def __exit__(self, *_: object) -> None:
        self.world.thread.devices.pop()


class Pinned(bytearray):
    """Page-locked memory, which must outlive the copies that read or write it."""

    def hold(self, world: Any) -> None:
        self.world = world
        self.uses: list[tuple[Stream, int]] = []

    def __del__(self) -> None:
        self.world.pinned -= len(self)
        for stream, end in self.uses:
            if stream.reached < end and not self.world.lost:
                self.world.faults.append("page-locked memory freed in use")
                stream.run(end)


class Memory:
    """Device memory: of its own stream, when that has got to where it was freed."""

    def __init__(self, world: Any, host: Any) -> None:
        self.world, self.host, self.stream = world, host, world.stream
        self.uses: list[tuple[Stream, int]] = []
        world.used += host.nbytes

    def __del__(self) -> None:
        self.world.used -= self.host.nbytes
        own = self.stream
        late = [
            stream
            for stream, end in self.uses
            if stream is not own
            and max(stream.reached, own.waited.get(stream, 0)) < end
        ]
        if late and not self.world.lost:
            self.world.faults.append("device memory freed in use by another stream")
        host = self.host
        self.stream.put += 1
        self.stream.work.append(lambda: spoil(host))


def spoil(host: Any) -> None:
    if host.size:
        host[...] = np.frombuffer(bytes([GARBAGE]) * host.itemsize, host.dtype)[0]
