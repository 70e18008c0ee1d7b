"""Rows over threads. NumPy releases the GIL inside its loops, so threads suffice."""

from __future__ import annotations

import itertools
import operator
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_num_threads: int | None = None


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_num_threads() -> int:
    """The number of threads that lucid's CPU operations use.

    Until `set_num_threads` is called: LUCID_NUM_THREADS, or the cores this process
    may run on. BLAS's own threads are left out of it: products are kept too small for
    them.
    """
    if _num_threads is not None:
        return _num_threads
    text = os.environ.get("LUCID_NUM_THREADS")
    if not text:
        return _available_cores()
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(
            f"LUCID_NUM_THREADS must be a positive integer, got {text!r}; unset it or "
            "set it to the number of cores to use."
        )
    return int(text)


def set_num_threads(count: int | None) -> None:
    """Set the number of threads that lucid's CPU operations use, at least 1.

    None goes back to LUCID_NUM_THREADS or the cores. Results do not depend on it, bit
    for bit.
    """
    global _num_threads
    if isinstance(count, bool) or not (count is None or hasattr(count, "__index__")):
        raise TypeError(f"`count` must be an int or None, got {type(count).__name__}.")
    if count is not None and count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}.")
    with _lock:
        _num_threads = None if count is None else operator.index(count)
        _drop_pool()


def run_blocks(count: int, block: int, work: Callable[[int, int], None]) -> None:
    """Call work(start, stop) for consecutive ranges of at most `block` out of `count`.

    The calling thread takes its share, so one block never leaves it. The first
    exception stops the hand-out of further blocks and is raised here.
    """
    blocks = -(-count // block)
    helpers = min(get_num_threads(), blocks) - 1 if blocks > 1 else 0
    if helpers <= 0:
        for start in range(0, count, block):
            work(start, min(start + block, count))
        return
    ticket = itertools.count()  # next() is atomic under the GIL
    stopped = threading.Event()

    def take() -> None:
        try:
            while not stopped.is_set() and (i := next(ticket)) < blocks:
                work(i * block, min((i + 1) * block, count))
        except BaseException:
            stopped.set()
            raise

    futures = _start(take, helpers)
    try:
        take()
    finally:
        for future in futures:
            future.exception()  # wait: no worker may outlive the arrays it writes
    for future in futures:
        future.result()


def _start(task: Callable[[], None], helpers: int) -> list[Future[None]]:
    """`task` handed to that many pool threads, the pool made on first use."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(get_num_threads(), thread_name_prefix="lucid")
        try:
            return [_pool.submit(task) for _ in range(helpers)]
        except RuntimeError:  # the interpreter is shutting down: no new threads
            return []


def _drop_pool() -> None:
    global _pool
    if _pool is not None:
        _pool.shutdown(wait=False)
        _pool = None


def _forget_pool() -> None:
    """A forked child has the pool's object but none of its threads."""
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
