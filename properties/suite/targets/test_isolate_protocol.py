"""The messages of protocol.md: what is written is read, and what is no message says so."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.model.cases import dtype_of
from properties.targets.isolate import protocol
from properties.targets.isolate.protocol import Held, Opaque, Reader, Undecodable, opaque

DOCUMENT = Path(protocol.__file__).with_name("protocol.md").read_text(encoding="utf-8")


def written(value: Any) -> bytes:
    """Return a value as it stands in a message of the stream."""
    out = bytearray()
    protocol.put(out, value, protocol.put_inline)
    return bytes(out)


def read(data: bytes) -> Any:
    """Return the one value that is there."""
    reader = Reader(data)
    value = reader.value()
    reader.end()
    return value


VALUES = [None, True, False, 0, -(2**63), 2**63 - 1, 0.1, float("inf"), "", "ü\n", [1, [None, "a"]]]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back(value: Any) -> None:
    """Numbers, texts and lists are read as they were written, types included."""
    found = read(written(value))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), (1, 2, 3, 4, 5)])
def test_an_array_comes_back(dtype: str, shape: tuple[int, ...]) -> None:
    """An array keeps dtype, shape and bits, whatever its strides were, and may be written to."""
    count = int(np.prod(shape))
    a = np.asfortranarray((np.arange(count) - 1.5).astype(dtype).reshape(shape))
    found = read(written(a))
    assert found.dtype == a.dtype
    assert found.shape == a.shape
    assert found.tobytes() == a.tobytes()
    assert found.flags.writeable


def test_a_big_endian_array_is_sent_little_endian() -> None:
    """The stream knows one byte order."""
    a = np.array([1.0, -2.5], ">f4")
    found = read(written(a))
    assert found.dtype.str == "<f4"
    assert (found == a).all()


def test_a_bfloat16_array_has_its_name() -> None:
    """A dtype that NumPy has no code for goes by its name."""
    try:
        dtype = dtype_of("bfloat16")
    except ImportError:
        pytest.skip("no ml_dtypes")
    found = read(written(np.ones((2, 1), dtype)))
    assert found.dtype == dtype


def test_a_saved_value_is_its_number() -> None:
    """What a forward saved goes out and back as the number the program chose."""
    assert read(written(Held(2**64 - 1))).number == 2**64 - 1


def test_a_result_that_cannot_be_sent_says_what_it_was() -> None:
    """It has the name of its type, shows as it did, and is no array for the reason given."""
    found = read(written(opaque("Tensor", "tensor(1.)", "no numbers in it")))
    assert isinstance(found, Opaque)
    assert (type(found).__name__, repr(found)) == ("Tensor", "tensor(1.)")
    with pytest.raises(ValueError, match="no numbers in it"):
        np.asarray(found)


# --- the document --------------------------------------------------------------------------------


def example() -> list[bytes]:
    """Return the messages of the document's example, from the hexadecimal on its left."""
    part = DOCUMENT.split("## An example, byte by byte")[1].split("\n## ")[0]
    data = b""
    for line in re.findall(r"^    (.+)$", part, re.MULTILINE):
        data += bytes.fromhex(re.split(r" {3,}", line)[0])
    messages = []
    while data:
        (size,) = struct.unpack_from("<I", data)
        messages.append(data[4 : 4 + size])
        assert len(messages[-1]) == size, f"a message of {len(messages[-1])} bytes says {size}"
        data = data[4 + size :]
    return messages


def test_the_bytes_of_the_document_are_what_is_sent() -> None:
    """The greeting and the call of the example, to the byte."""
    hello, _, call, _ = example()
    assert hello == b"Hbncheck" + struct.pack("<H", protocol.VERSION)
    sent = bytearray(b"C")
    protocol.put_text(sent, "forward_train")
    sent.append(5)
    for value in (np.array([[1.0], [3.0]], "f4"), None, None, None, None):
        protocol.put(sent, value, protocol.put_inline)
    sent.append(2)
    for name, number in (("eps", 0.0), ("momentum", 0.5)):
        protocol.put_text(sent, name)
        protocol.put(sent, number, protocol.put_inline)
    assert call == bytes(sent)


def test_the_answers_of_the_document_are_understood() -> None:
    """The program's greeting and its result are read as the document says."""
    _, hello, _, result = example()
    reader = Reader(hello)
    assert (reader.u8(), reader.u16(), reader.u8()) == (ord("H"), protocol.VERSION, 1)
    assert (reader.text(), reader.text()) == ("forward_train", "")
    reader.end()
    assert result[:1] == b"R"
    y, mean, var, saved = read(result[1:])
    assert y.tolist() == [[-1.0], [1.0]]
    assert (mean, var, saved.number) == (None, None, 1)


def test_every_tag_is_in_the_document() -> None:
    """The table of values has each tag that is read, and no other."""
    named = set(re.findall(r"^\| `([A-Z])` \|", DOCUMENT, re.MULTILINE))
    assert {tag.decode() for tag in protocol._READ} | {"L"} == named


# --- what is no message --------------------------------------------------------------------------

BROKEN = {
    "nothing": b"",
    "an unknown tag": b"Z",
    "a number cut short": b"F\0\0",
    "a text cut short": b"T\x05\0\0\0ab",
    "a text that is no UTF-8": b"T\x01\0\0\0\xff",
    "something behind the end": b"NN",
    "an unknown dtype": b"A\x02\0\0\0<q\0",
    "objects": b"A\x03\0\0\0|O8\0",
    "a dtype of names": b"A\x06\0\0\0system\0",
    "more numbers than there are": b"A\x03\0\0\0<f8\x01" + struct.pack("<q", 2) + bytes(8),
    "a huge array": b"A\x03\0\0\0<f8\x01" + struct.pack("<q", 2**60),
    "a shape that overflows": b"A\x03\0\0\0<f8\x02" + struct.pack("<qq", 2**62, 4),
    "a negative shape": b"A\x03\0\0\0<f8\x01" + struct.pack("<q", -1),
    "too many dimensions": b"A\x03\0\0\0<f8\xff",
    "an array cut short": b"A\x03\0\0\0<f",
    "an endless list": b"L\xff\xff\xff\xff",
    "lists without a bottom": b"L\x01\0\0\0" * 1000,
    "a mapped array without a file": b"M\x03\0\0\0<f8\0" + bytes(9),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_value_is_undecodable(what: str) -> None:
    """Broken bytes raise the one error that says so; nothing is reserved for what is not there."""
    with pytest.raises(Undecodable):
        read(BROKEN[what])


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_undecodable(data: bytes) -> None:
    """No bytes raise anything else."""
    try:
        read(data)
    except Undecodable:
        return


SAMPLE = written([np.ones((2, 3)), None, 1.5, "text", 7, Held(3), opaque("a", "b", "c")])


@given(st.integers(0, len(SAMPLE) * 8 - 1))
def test_a_flipped_bit_is_a_value_or_undecodable(bit: int) -> None:
    """No flipped bit of a good message raises anything else."""
    data = bytearray(SAMPLE)
    data[bit // 8] ^= 1 << bit % 8
    try:
        read(bytes(data))
    except Undecodable:
        return
