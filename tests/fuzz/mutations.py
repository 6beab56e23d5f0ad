"""Damage as disks, networks and attackers do it to the bytes of a file."""

from collections.abc import Callable

import numpy as np


def _flip_bits(data: bytearray, generator: np.random.Generator) -> None:
    for place in generator.integers(0, len(data), generator.integers(1, 9)):
        data[place] ^= 1 << int(generator.integers(8))


def _change_header(data: bytearray, generator: np.random.Generator) -> None:
    """A few bytes of the first kilobyte: sizes, counts and types of the container."""
    for place in generator.integers(0, min(len(data), 1024), generator.integers(1, 6)):
        data[place] = int(generator.integers(256))


def _extreme_number(data: bytearray, generator: np.random.Generator) -> None:
    """Four bytes become the smallest or largest number of their size."""
    place = int(generator.integers(0, max(len(data) - 4, 1)))
    data[place : place + 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0"][
        int(generator.integers(4))
    ]


def _erase(data: bytearray, generator: np.random.Generator) -> None:
    """A block of zeros, as a sparse or half-copied file has it."""
    start = int(generator.integers(0, len(data)))
    length = int(generator.integers(1, 4097))
    data[start : start + length] = bytes(len(data[start : start + length]))


def _truncate(data: bytearray, generator: np.random.Generator) -> None:
    del data[int(generator.integers(1, len(data))) :]


def _lose(data: bytearray, generator: np.random.Generator) -> None:
    start = int(generator.integers(0, len(data)))
    del data[start : start + int(generator.integers(1, 2049))]


def _repeat(data: bytearray, generator: np.random.Generator) -> None:
    start = int(generator.integers(0, len(data)))
    block = data[start : start + int(generator.integers(1, 2049))]
    data[start:start] = block * int(generator.integers(1, 4))


def _insert_noise(data: bytearray, generator: np.random.Generator) -> None:
    start = int(generator.integers(0, len(data)))
    data[start:start] = generator.bytes(int(generator.integers(1, 513)))


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    _flip_bits,
    _change_header,
    _extreme_number,
    _erase,
    _truncate,
    _lose,
    _repeat,
    _insert_noise,
)


def mutate(data: bytes, generator: np.random.Generator) -> tuple[bytes, list[str]]:
    """One to three mutations of a file.

    Returns:
        The bytes, and the names of what was done to them.
    """
    changed = bytearray(data)
    names = []
    for choice in generator.integers(0, len(MUTATIONS), generator.integers(1, 4)):
        if changed:
            MUTATIONS[choice](changed, generator)
            names.append(MUTATIONS[choice].__name__.strip("_"))
    return bytes(changed), names
