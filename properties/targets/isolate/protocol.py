"""The messages between bncheck and a target in another process, as protocol.md gives them."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from ...model.contract import Array
from ...model.layouts import lead_of

VERSION = 1
LARGEST = 2**30  # bytes in a message
_NAMED = re.compile(rb"[a-z][a-z0-9_]{0,30}")
_CODED = re.compile(rb"[<>|][biufc](1|2|4|8|16|32)")

_U8, _U32, _U64 = (struct.Struct(f"<{c}") for c in "BIQ")
_WHERE = struct.Struct("<QB")
_I64, _F64 = struct.Struct("<q"), struct.Struct("<d")


class Undecodable(Exception):
    """Bytes that are no message; the text says what was expected."""


class Held:
    """What a forward saved: a number that stands for it in the process that has it."""

    def __init__(self, number: int) -> None:
        self.number = number


class Opaque:
    """A result that no message can carry: its type's name (the class's own), and its text."""

    def __init__(self, text: str, why: str) -> None:
        self.text, self.why = text, why

    def __repr__(self) -> str:
        return self.text

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise ValueError(self.why)


def opaque(kind: str, text: str, why: str) -> Opaque:
    """Return what stands for a value of a type of this name."""
    made: Opaque = type(kind, (Opaque,), {})(text, why)
    return made


def dtype_text(dtype: np.dtype[Any]) -> bytes:
    """Return b'<f4' and the like (NumPy's array interface), or a name such as b'bfloat16'."""
    if (text := SENT.get(dtype)) is None:
        text = (dtype.name if dtype.isbuiltin == 2 else dtype.str).encode()
        SENT[dtype] = text
    return text


def dtype_from(text: bytes) -> np.dtype[Any]:
    """Return the dtype of a text.

    Raises:
        Undecodable: it is none of plain numbers.
    """
    if (dtype := _DTYPES.get(text)) is None:
        dtype = _DTYPES[text] = _new_dtype(text)
    return dtype


SENT: dict[np.dtype[Any], bytes] = {}  # dtypes that messages have carried, and their texts
_DTYPES: dict[bytes, np.dtype[Any]] = {}


def _new_dtype(text: bytes) -> np.dtype[Any]:
    try:
        if _CODED.fullmatch(text):
            return np.dtype(text.decode())
        if _NAMED.fullmatch(text):
            import ml_dtypes

            return np.dtype(getattr(ml_dtypes, text.decode()))
    except (TypeError, ImportError, AttributeError):
        pass
    raise Undecodable(f"dtype {text[:40]!r}: expected one like '<f4', or bfloat16")


# --- writing -------------------------------------------------------------------------------------


def frame(body: bytes | bytearray) -> bytes:
    """Return a message: its length and its body."""
    return _U32.pack(len(body)) + body


def put_text(out: bytearray, text: str | bytes) -> None:
    """Append a text."""
    coded = text.encode("utf-8", "replace") if isinstance(text, str) else text
    out += _U32.pack(len(coded))
    out += coded


def _put_shape(out: bytearray, tag: bytes, a: Array) -> None:
    text = dtype_text(a.dtype)
    out += tag + _U32.pack(len(text)) + text
    out += struct.pack(f"<B{a.ndim}q", a.ndim, *a.shape)


def put_inline(out: bytearray, a: Array) -> None:
    """Append an array with its numbers, in C order and little-endian."""
    a = np.ascontiguousarray(a.astype(a.dtype.newbyteorder("<"), copy=False)).reshape(a.shape)
    _put_shape(out, b"A", a)
    out += a.tobytes()


def put_placed(out: bytearray, a: Array, offset: int) -> int:
    """Append an array that lies at an offset of the mapped file; return where that stands."""
    key = a.dtype, a.shape, a.strides
    if (head := _WRITTEN.get(key)) is None:
        made = bytearray()
        _put_shape(made, b"M", a)
        head = bytes(made) + struct.pack(f"<{a.ndim}q", *a.strides)
        _remember(_WRITTEN, key, head)
    out += head
    lead = lead_of(a)  # numbers in front of it, which lie in the guard there
    out += _WHERE.pack(offset, (not a.flags.writeable) | lead << 1)
    return len(out) - _WHERE.size


_WRITTEN: dict[Any, bytes] = {}  # the start of arrays of this dtype, shape and strides
_READ_BEFORE: dict[bytes, Any] = {}  # and back


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    if len(memory) > 4096:
        memory.clear()
    memory[key] = value


def put(out: bytearray, value: Any, array: Callable[[bytearray, Array], Any]) -> None:
    """Append a value; `array` appends arrays."""
    if isinstance(value, np.ndarray):
        array(out, value)
    elif value is None:
        out += b"N"
    elif isinstance(value, float):
        out += b"F" + _F64.pack(value)
    elif isinstance(value, Held):
        out += b"G" + _U64.pack(value.number)
    elif isinstance(value, (bool, np.bool_)):
        out += b"B" + _U8.pack(bool(value))
    elif isinstance(value, (int, np.integer)):
        out += b"I" + _I64.pack(int(value))
    elif isinstance(value, str):
        out += b"T"
        put_text(out, value)
    elif isinstance(value, (tuple, list)):
        out += b"L" + _U32.pack(len(value))
        for part in value:
            put(out, part, array)
    elif isinstance(value, Opaque):
        out += b"O"
        for text in (type(value).__name__, value.text, value.why):
            put_text(out, text)
    else:
        out += b"D"
        put_text(out, dtype_text(np.dtype(value)))


# --- reading -------------------------------------------------------------------------------------


Head = tuple[np.dtype[Any], tuple[int, ...], tuple[int, ...]]  # dtype, shape, strides
Placed = Callable[[np.dtype[Any], tuple[int, ...], tuple[int, ...], int, int], Array]


class Reader:
    """A message body being read from its start; whatever does not fit is `Undecodable`."""

    def __init__(self, body: bytes, placed: Placed | None = None) -> None:
        self.body, self.at = body, 0
        self.placed = placed
        self.held: Callable[[int], Any] = Held

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        end = self.at + count
        if end > len(self.body):
            raise Undecodable(f"{count} bytes at {self.at} of {len(self.body)}: it ends before")
        part, self.at = self.body[self.at : end], end
        return part

    def u8(self) -> int:
        """Return a byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Return an unsigned number of 2 bytes."""
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        """Return an unsigned number of 4 bytes."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """Return an unsigned number of 8 bytes."""
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str:
        """Return a text."""
        try:
            return str(self.take(self.u32()), "utf-8")
        except UnicodeDecodeError as error:
            raise Undecodable("a text that is not UTF-8") from error

    def end(self) -> None:
        """Hold that nothing follows."""
        if self.at != len(self.body):
            raise Undecodable(f"{len(self.body) - self.at} bytes behind the end")

    def value(self, depth: int = 0) -> Any:
        """Return the next value."""
        tag = self.body[self.at : self.at + 1]
        self.at += 1
        read = _READ.get(tag)
        if read is not None:
            return read(self)
        if tag == b"L" and depth < 8:
            return [self.value(depth + 1) for _ in range(self.u32())]
        raise Undecodable(f"tag {tag!r} at {self.at - 1}: expected one of ABDFGILMNOT")

    def _head(self, times: int) -> Head:
        """Return dtype and shape of an array, and its strides where they follow the shape."""
        dtype = dtype_from(self.take(self.u32()))
        ndim = self.u8()
        if ndim > 32:
            raise Undecodable(f"{ndim} dimensions: expected at most 32")
        numbers = struct.unpack(f"<{times * ndim}q", self.take(8 * times * ndim))
        shape = numbers[:ndim]
        if shape and (min(shape) < 0 or math.prod(shape) > LARGEST or max(shape) > LARGEST):
            raise Undecodable(f"shape {shape}")
        return dtype, shape, numbers[ndim:]

    def _inline(self) -> Array:
        dtype, shape, _ = self._head(1)
        data = bytearray(self.take(dtype.itemsize * math.prod(shape)))
        return np.ndarray(shape, dtype, data)

    def _mapped(self) -> Array:
        if self.placed is None:
            raise Undecodable("an array in a mapped file, and there is none")
        body, at = self.body, self.at
        try:  # where the head ends, if its text is as short as those of dtypes are
            end = at + 5 + body[at]
            end += 16 * body[end - 1]
        except IndexError as error:
            raise Undecodable(f"an array at {at} of {len(body)}: it ends before") from error
        if (head := _READ_BEFORE.get(body[at:end])) is None:
            head = self._head(2)
            _remember(_READ_BEFORE, body[at : self.at], head)
        else:
            self.at = end
        offset, flags = _WHERE.unpack(self.take(_WHERE.size))
        return self.placed(head[0], head[1], head[2], offset, flags)

    def _opaque(self) -> Opaque:
        kind, text, why = self.text(), self.text(), self.text()
        return opaque(kind.replace("\0", ""), text, why)


_READ: dict[bytes, Callable[[Reader], Any]] = {
    b"A": Reader._inline,
    b"B": lambda reader: bool(reader.u8()),
    b"D": lambda reader: dtype_from(reader.take(reader.u32())),
    b"F": lambda reader: _F64.unpack(reader.take(8))[0],
    b"G": lambda reader: reader.held(reader.u64()),
    b"I": lambda reader: _I64.unpack(reader.take(8))[0],
    b"M": Reader._mapped,
    b"N": lambda reader: None,
    b"O": Reader._opaque,
    b"T": Reader.text,
}
