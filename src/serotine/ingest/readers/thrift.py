"""Structures in Thrift's compact protocol, as Parquet describes itself; strict, because pyarrow's reader trusts them.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

_MAX_DEPTH = 16
_MAX_FIELD = (1 << 15) - 1
_VARINT_BYTES = 10
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)


class IncompleteError(ValueError):
    """The bytes end within the structure."""


class ThriftReader:
    """Values read from bytes, one after the other.

    Args:
        data: the bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Read a structure: its values by the numbers of their fields.

        Raises:
            ValueError: it is malformed, nested too deeply, or has a field twice, of which readers
                may use either.
        """
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != _STOP:
            step, kind = head >> 4, head & 15
            number = number + step if step else self._integer()
            if not 0 <= number <= _MAX_FIELD or number in fields:
                raise ValueError(f"has field {number} twice, or beyond {_MAX_FIELD:,}")
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth + 1)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError(f"is nested more than {_MAX_DEPTH} levels deep")
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _STRUCT:
            return self.struct(depth)
        if kind in (_LIST, _SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            return self._items(size, (head & 15,), depth)
        if kind == _MAP:
            size = self._varint()
            head = self._byte() if size else 0
            return self._items(2 * size, (head >> 4, head & 15), depth)
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        raise ValueError(f"has a value of the unknown type {kind}")

    def _items(self, size: int, kinds: tuple[int, ...], depth: int) -> list[Any]:
        # No item takes less than a byte.
        if size > len(self._data) - self.position:
            raise IncompleteError("ends within a list")
        return [self._value(kinds[i % len(kinds)], depth + 1) for i in range(size)]

    def _byte(self) -> int:
        if self.position >= len(self._data):
            raise IncompleteError("ends within a structure")
        self.position += 1
        return self._data[self.position - 1]

    def _bytes(self, count: int) -> bytes:
        if count > len(self._data) - self.position:
            raise IncompleteError("ends within a text")
        self.position += count
        return self._data[self.position - count : self.position]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 7 * _VARINT_BYTES, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError(f"has a number of more than {_VARINT_BYTES} bytes")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
