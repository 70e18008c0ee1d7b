"""Random numbers: a generator is a seed, a stream and a position, nothing more.

The bits are those of Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3"), a function of a key and a counter, so any word can be had without
the ones before it. Which word serves what is a contract, `BITS_VERSION`: the same seed
gives the same words on the CPU and on any GPU, whatever the chunk size, the number of
threads or the split of the calls.

    key      seed + 2⁶⁴·stream
    counter  element + 2⁶⁴·block + 2¹²⁸·attempt

element is the position of the drawn row, in C order of sample_shape + batch_shape,
after all rows that the generator gave before. block is the flattened event element d
(0 for scalars). A counter gives four 64-bit words:

    attempt  word  serves
    0        0     of block 0: the mixture's component
    0        1, 2  the value: radius and angle of a normal; or its one uniform in word 1
    0        3     a second uniform: Gamma's boost where concentration < 1
    ≥ 1      0, 1  rejection round: radius and angle of a normal, or two uniforms
    ≥ 1      2     rejection round: the uniform that accepts
    ≥ 1      3     not used

A word w becomes a float64, exactly:

    [0, 1)   uniform01(w) = ⌊w/2¹¹⌋ · 2⁻⁵³
    (0, 1)   open01(w)    = (⌊w/2¹²⌋ + ½) · 2⁻⁵²
    (0, 1]   of a radius  = (⌊w/2¹¹⌋ + 1) · 2⁻⁵³

    normal = √(−2 ln radius) · cos(2π · uniform01(angle))       Box and Muller (1958)

A draw in several steps takes another key for each step after the first, that of a
`part` of it (see `key_of_part`): a mixture whose components are no single family takes
its index as above and the component by part 0, and an Independent as such a component
takes its element d by part d.

By family: Normal and MultivariateNormal take a normal of each block. Laplace inverts
open01, Uniform and Bernoulli uniform01. Gamma rejects (Marsaglia and Tsang 2000) with a
normal and an acceptance in open01; its boost is open01. StudentT is a normal over a χ²
from a Gamma. Poisson of rate < 10 inverts uniform01 by search, else rejects (PTRS,
Hörmann 1993) with two open01. The component is the first k with
⌊w·T/2⁶⁴⌋ < cumulative[k]; see lucid.backends.tables.
"""

from __future__ import annotations

import operator
import os
import threading
from typing import TypedDict

from lucid._device import Device
from lucid._device import device as as_device

BITS_VERSION = 1

_WORD = 2**64

# One lock for all generators, held across a fork: a child never inherits it locked.
_lock = threading.Lock()


class GeneratorState(TypedDict):
    """All that a generator is; plain integers, so that JSON can hold it."""

    bits_version: int
    seed: int
    stream: int
    position: int


class Generator:
    """A source of random bits: a seed, a stream of that seed, and a position in it.

    seed    0 … 2⁶⁴ − 1; None takes 64 bits from the operating system
    device  the only device whose draws it serves; None: any, since the bits are equal
    stream  0 … 2⁶⁴ − 1: generators of one seed and different streams are independent,
            so worker i of many takes Generator(seed, stream=i)

    Draws take the next positions, so sample((a,)) then sample((b,)) give what
    sample((a + b,)) gives. Threads may share a generator: no position is given twice.
    """

    def __init__(
        self,
        seed: int | None = None,
        device: str | Device | None = None,
        stream: int = 0,
    ) -> None:
        self._seed = _entropy() if seed is None else _word("seed", seed)
        self._is_chosen = seed is not None  # by the user, who wants it again
        self._stream = _word("stream", stream)
        self._device = None if device is None else as_device(device)
        self._position = 0

    @property
    def seed(self) -> int:
        """The seed, also where the operating system chose it."""
        return self._seed

    @property
    def stream(self) -> int:
        """Which of the seed's streams of bits this is."""
        return self._stream

    @property
    def position(self) -> int:
        """The element number that the next draw takes: how many were drawn so far."""
        return self._position

    @property
    def device(self) -> Device | None:
        """The only device whose draws it serves; None if any."""
        return self._device

    @property
    def key(self) -> tuple[int, int]:
        """(seed, stream): the low and the high word of Philox's key."""
        return self._seed, self._stream

    def manual_seed(self, seed: int) -> Generator:
        """Start again at position 0 of another seed; returns the generator itself."""
        seed = _word("seed", seed)
        with _lock:
            self._seed, self._position, self._is_chosen = seed, 0, True
        return self

    def reserve(self, count: int, device: Device | None = None) -> int:
        """Take `count` elements for draws on `device`; returns the first's number.

        Atomic: two threads never get the same element.
        """
        if device is not None and self._device not in (None, device):
            raise ValueError(
                f"this generator serves {self._device}, but the draws are on {device}; "
                "make one with device=None, which serves every device."
            )
        if count < 0:
            raise ValueError(f"`count` must not be negative, got {count}.")
        with _lock:
            start = self._position
            if start + count > _WORD:
                raise ValueError(
                    f"{count} elements are more than the {_WORD - start} that stream "
                    f"{self._stream} of seed {self._seed} has left; take another "
                    "stream."
                )
            self._position = start + count
        return start

    def get_state(self) -> GeneratorState:
        """The seed, stream and position, to be given to `set_state` later."""
        with _lock:
            return GeneratorState(
                bits_version=BITS_VERSION,
                seed=self._seed,
                stream=self._stream,
                position=self._position,
            )

    def set_state(self, state: GeneratorState) -> None:
        """Go on from where `get_state` was called, whatever was drawn since."""
        try:
            version = state["bits_version"]
            words = [_word(n, state[n]) for n in ("seed", "stream")]
            position = operator.index(state["position"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                "a generator's state holds the integers bits_version, seed, stream and "
                f"position, as `get_state` gives them; got {state!r}."
            ) from error
        if version != BITS_VERSION:
            raise ValueError(
                f"the state is of bits version {version}, and this lucid draws version "
                f"{BITS_VERSION}: it would not go on with the same numbers."
            )
        if not 0 <= position <= _WORD:
            raise ValueError(f"`position` must be 0 … 2⁶⁴, got {position}.")
        with _lock:
            self._seed, self._stream = words
            self._position, self._is_chosen = position, True

    def __getstate__(self) -> tuple[GeneratorState, Device | None]:
        return self.get_state(), self._device

    def __setstate__(self, state: tuple[GeneratorState, Device | None]) -> None:
        self.set_state(state[0])
        self._device = state[1]

    def __repr__(self) -> str:
        where = "" if self._device is None else f", device={str(self._device)!r}"
        stream = f", stream={self._stream}" if self._stream else ""
        return f"<Generator({self._seed}{where}{stream}) at {self._position}>"


def default_generator() -> Generator:
    """The generator of draws that name none, seeded by the operating system at first.

    A forked child's starts anew from the operating system. After `manual_seed` it does
    not: every child then repeats the parent's numbers, unless it takes a stream of its
    own.
    """
    return _default


def key_of_part(key: tuple[int, int], part: int) -> tuple[int, int]:
    """The key of one part of every draw under `key`.

    It is words 0 and 1 of the counter part + 2¹⁹², which no draw reads: a draw's own
    counters end at 2¹⁹². The part's draws keep their elements' numbers.
    """
    from numpy.random import Philox  # for no more than drawing, so not at import

    # NumPy adds one to the counter before the first block.
    philox = Philox(counter=part + (1 << 192) - 1, key=key[0] + (key[1] << 64))
    low, high = philox.random_raw(2).tolist()
    return low, high


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, 0 … 2⁶⁴ − 1, and return it."""
    return _default.manual_seed(seed)


def _word(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"`{name}` must be an int, got {type(value).__name__}.")
    if not 0 <= number < _WORD:
        raise ValueError(f"`{name}` must be 0 … 2⁶⁴ − 1, got {number}.")
    return number


def _entropy() -> int:
    return int.from_bytes(os.urandom(8), "little")


_default = Generator()


def _after_fork_in_child() -> None:
    _lock.release()
    if not _default._is_chosen:
        # In place, since others may hold it: what no checker likes to see.
        _default.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire,
        after_in_parent=_lock.release,
        after_in_child=_after_fork_in_child,
    )
