"""Rows of the host through a GPU, block by block, copies and work at the same time.

A block is copied into page-locked memory by other threads while the one before it is
copied to the device, an earlier one is worked on, and a still earlier one comes back.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent import futures
from typing import Any

import numpy as np

from lucid.backends import DeviceUnavailableError
from lucid.backends.copies import copy_rows
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.protocol import Array

Work = Callable[[Array], tuple[Array, ...]]
Results = tuple[Array, ...]
# Where memory does not suffice for this many rows, fewer would be of no use.
_LEAST_ROWS = 256


class Room:
    """Memory that is kept and cut to size; more is made only where it is too small."""

    def __init__(self, make: Callable[[tuple[int, ...], Any], Array]) -> None:
        self._make = make
        self._held: Array | None = None

    def cut(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of that shape; what the one before held is lost."""
        held = self._held
        if (
            held is None
            or held.dtype != dtype
            or held.shape[1:] != shape[1:]
            or held.shape[0] < shape[0]
        ):
            self._held = held = None  # given back before more is asked for
            self._held = held = self._make(shape, dtype)
        return held[: shape[0]]


class Slot:
    """What one block takes along: a stream, and memory on both sides.

    The memory is the block's from `block` being set until `mark` has been waited for.
    """

    def __init__(self, device: CudaDevice, stream: Any) -> None:
        self.stream = stream
        self._device = device
        self.release()

    def release(self) -> None:
        """Let go of all memory; nothing may be under way in it."""
        self.block: Array | None = None
        self.copied: futures.Future[None] | None = None
        self.mark: Any = None
        self.pinned = Room(self._device.pinned)
        self.values = Room(self._device.xp.empty)
        self.results: Results = ()
        self.returned: Results = ()
        self._returns: list[Room] = []

    def returns(self, index: int) -> Room:
        """Page-locked memory for one of the results."""
        while len(self._returns) <= index:
            self._returns.append(Room(self._device.pinned))
        return self._returns[index]


class Pipeline:
    """work(block) of each block of rows, on one device: see Backend.map_blocks.

    Where memory runs out, blocks are halved from there on. That happens outside of
    any `except`, in which the traceback would still hold the arrays of the failed try.
    """

    def __init__(self, device: CudaDevice, work: Work, dtype: np.dtype[Any]) -> None:
        self._device = device
        self._work = work
        self._dtype = dtype
        self._most_rows: int | None = None
        self._again: deque[Array] = deque()  # taken before the next block
        self._free: deque[Slot] = deque()
        self._waiting: deque[Slot] = deque()  # copied, or being copied, to be launched
        self._running: deque[Slot] = deque()
        self._ready: Any = None
        self._begun = False

    def run(self, blocks: Iterable[Array]) -> Generator[Results, None, None]:
        """The results in order, each only until the next is asked for."""
        device, source = self._device, iter(blocks)
        with device.current():
            if device.capturing():
                raise RuntimeError(
                    "rows of the host cannot pass through a stream that is being "
                    "captured in a graph; score them outside of the capture"
                )
            # Parameters may still be on their way on the caller's stream.
            self._ready = device.record()
            self._free.extend(Slot(device, stream) for stream in device.streams)
        self._copier = futures.ThreadPoolExecutor(1, thread_name_prefix="lucid-copy")
        try:
            while (block := self._next(source)) is not None or self._waiting:
                if not self._free:
                    yield from self._finish()
                trouble = self._advance(block)
                if trouble is not None:
                    yield from self._shrink(trouble)
            while self._running:
                yield from self._finish()
        finally:
            self._close()

    def _next(self, source: Iterator[Array]) -> Array | None:
        """The next rows, as many as may go at once; None behind the last."""
        block = self._again.popleft() if self._again else next(source, None)
        most = self._most_rows
        if block is not None and most is not None and block.shape[0] > most:
            self._again.appendleft(block[most:])
            block = block[:most]
        return block

    def _advance(self, block: Array | None) -> str | None:
        """Start to copy a block and launch the one before; what is wrong with memory.

        Behind the last block there is none to copy.
        """
        try:
            with self._reported():
                if block is not None:
                    slot = self._free.popleft()
                    self._waiting.append(slot)
                    self._stage(slot, block)
                if len(self._waiting) > 1 or block is None:
                    self._launch(self._waiting[0])
                    self._running.append(self._waiting.popleft())
        except Exception as error:
            if not self._device.is_out_of_memory(error):
                raise
            return str(error)
        return None

    def _stage(self, slot: Slot, block: Array) -> None:
        slot.block = block
        if not isinstance(block, np.ndarray):  # on the device, made on this stream
            with self._device.current():
                slot.mark = self._device.record()
            return
        with self._device.on(slot.stream):
            target = slot.pinned.cut(block.shape, self._dtype)
            slot.values.cut(block.shape, self._dtype)
        slot.copied = self._copier.submit(copy_rows, target, block)

    def _launch(self, slot: Slot) -> None:
        """Put all that a block takes on its stream, and a mark behind it."""
        device, block = self._device, slot.block
        assert block is not None
        if slot.copied is not None:
            slot.copied.result()
        with device.on(slot.stream):
            if slot.copied is None:
                device.wait(slot.mark)
                values = block.astype(self._dtype, copy=False)
            else:
                values = slot.values.cut(block.shape, self._dtype)
                device.copy_in(values, slot.pinned.cut(block.shape, self._dtype))
            device.wait(self._ready)
            slot.results = self._work(values)
            if not self._begun:
                # What the first call left behind for the others is ready only now.
                self._begun, self._ready = True, device.record()
            slot.returned = tuple(
                slot.returns(i).cut(result.shape, result.dtype)
                for i, result in enumerate(slot.results)
            )
            for result, target in zip(slot.results, slot.returned, strict=True):
                device.copy_out(result, target)
            slot.mark = device.record()

    def _finish(self) -> Iterator[Results]:
        """Wait for the oldest block and hand out its results; then its slot is free."""
        slot = self._running[0]
        with self._reported():
            slot.mark.synchronize()
        slot.block, slot.copied, slot.results = None, None, ()
        yield slot.returned
        self._free.append(self._running.popleft())

    def _shrink(self, trouble: str) -> Iterator[Results]:
        """Finish what runs, give all memory back, and put smaller blocks in line."""
        while self._running:
            yield from self._finish()
        futures.wait([slot.copied for slot in self._waiting if slot.copied is not None])
        for slot in self._waiting:  # the failed one may be launched by half
            with self._reported():
                slot.stream.synchronize()
        blocks = [slot.block for slot in self._waiting if slot.block is not None]
        self._free.extend(self._waiting)
        self._waiting.clear()
        for slot in self._free:
            slot.release()
        self._device.release_memory()
        rows = max(block.shape[0] for block in blocks)
        if rows <= _LEAST_ROWS:
            elements = blocks[0].size // max(1, blocks[0].shape[0])
            raise MemoryError(
                f"cuda:{self._device.index} has too little memory for a block of "
                f"{rows:,} rows ({rows * elements * self._dtype.itemsize:,} bytes of "
                f"values): {trouble}. Free memory there, or use fewer components."
            )
        self._most_rows = max(_LEAST_ROWS, rows // 2)
        self._again.extendleft(reversed(blocks))

    def _close(self) -> None:
        """Let go of everything, once nothing reads or writes it any more."""
        self._copier.shutdown(cancel_futures=True)
        for slot in (*self._running, *self._waiting):
            # An error here has been raised before, and is on its way to the caller.
            with contextlib.suppress(Exception):
                slot.stream.synchronize()
        for slots in (self._free, self._running, self._waiting):
            for slot in slots:
                slot.release()
            slots.clear()

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """An error after which nothing works any more, in words that say so."""
        try:
            yield
        except Exception as error:
            if not self._device.is_lost(error):
                raise
            raise DeviceUnavailableError(
                f"the CUDA context of this process on cuda:{self._device.index} is "
                f"lost ({error}): no further call on it can work; start a new process"
            ) from error
