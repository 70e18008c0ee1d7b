"""A call that may end its process, made in another one first."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from . import measure, memory, peers
from .suites import Cell
from .workloads import make


def in_a_child(name: str, cell: Cell, threads: int, room: int) -> tuple[str, str]:
    """Status and note of one call of a peer on the CPU, in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_call_once, name, cell, threads, room).result()
        except BrokenProcessPool:
            size = memory.size(make(cell).n_by_k_bytes)
            note = f"its process was ended; one N×K array takes {size}"
            return measure.EXHAUSTED, note


def _call_once(name: str, cell: Cell, threads: int, room: int) -> tuple[str, str]:
    peer, workload = peers.find(name, "cpu", threads), make(cell)
    try:
        with memory.limited(room):
            call = peer.build(workload)[0]
            peer.before()
            peer.wait(call())
    except peers.NotApplicableError as error:
        return measure.NOT_APPLICABLE, str(error)
    except Exception as error:
        return measure.trouble(error)
    return measure.OK, ""
