"""TensorFlow's record files and the SequenceExamples in them, read without TensorFlow.

A record is its length (8 bytes, little endian), a checksum of that, the content, and a checksum of the content (both
CRC-32C, masked). The content is a protocol buffer: SequenceExample = {1: context, 2: feature lists}, each a map from
names to features or lists of them; a feature is {1: bytes, 2: floats, 3: whole numbers}.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .table import AnnotationError

__all__ = ["SequenceExample", "crc32c", "sequence_examples"]

type Value = bytes | int | float


@dataclass(frozen=True, slots=True)
class SequenceExample:
    """What a record holds.

    Attributes:
        context: by name, the values of a feature.
        lists: by name, the values of all features of a list, one after the other.
    """

    context: dict[str, list[Value]]
    lists: dict[str, list[Value]]


def sequence_examples(path: Path) -> Iterator[SequenceExample]:
    """Yield the examples of a file.

    Raises:
        AnnotationError: the file is cut off, or something else.
    """
    with path.open("rb") as file:
        number = 0
        while head := file.read(12):
            number += 1
            if len(head) < 12 or _masked(head[:8]) != struct.unpack("<I", head[8:])[0]:
                raise AnnotationError(f"{path}, record {number}: this is not a TensorFlow record")
            length = struct.unpack("<Q", head[:8])[0]
            content = file.read(length + 4)
            if len(content) < length + 4:
                raise AnnotationError(f"{path}, record {number}: the file is cut off")
            try:
                yield _example(content[:length])
            except (IndexError, ValueError, struct.error) as fault:
                raise AnnotationError(f"{path}, record {number}: this is not a SequenceExample") from fault


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes, bit by bit: for a few of them."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def _masked(data: bytes) -> int:
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _example(content: bytes) -> SequenceExample:
    context: dict[str, list[Value]] = {}
    lists: dict[str, list[Value]] = {}
    for field, part in _fields(content):
        for _, entry in _fields(_bytes(part)):
            pair = dict(_fields(_bytes(entry)))
            name = _bytes(pair.get(1, b"")).decode("utf-8")
            inner = _bytes(pair.get(2, b""))
            if field == 1:
                context[name] = _values(inner)
            elif field == 2:
                lists[name] = [value for _, feature in _fields(inner) for value in _values(_bytes(feature))]
    return SequenceExample(context, lists)


def _values(feature: bytes) -> list[Value]:
    """Return what a feature holds."""
    made: list[Value] = []
    for kind, part in _fields(feature):
        for _, value in _fields(_bytes(part)):
            if kind == 1:
                made.append(_bytes(value))
            elif kind == 2:
                # Packed floats, or one by itself.
                made += struct.unpack(f"<{len(_bytes(value)) // 4}f", _bytes(value))
            elif isinstance(value, bytes):
                made += _numbers(value)
            else:
                made.append(_signed(value))
    return made


def _numbers(packed: bytes) -> list[int]:
    made, place = [], 0
    while place < len(packed):
        value, place = _varint(packed, place)
        made.append(_signed(value))
    return made


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield the fields of a protocol buffer: number, and content or number."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == 2:
            length, place = _varint(message, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if place + length > len(message):
            raise ValueError("cut off")
        yield key >> 3, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _bytes(value: bytes | int) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where content should be")
    return value
