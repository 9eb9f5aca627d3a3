"""Inputs for readers: valid ones with bits flipped, cut, spliced, odd values; and free ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from .fuzz_guard import CANARY, MODULE

HARM = (
    f"__import__('os').system('touch {CANARY}')",
    f"open('{CANARY}', 'w')",
    f"__import__('{MODULE}')",
    f"{MODULE}:forward_train",
    f"exec:touch {CANARY}",
    f"(lambda: __import__('{MODULE}'))()",
    f"${{touch {CANARY}}}; `touch {CANARY}`; $(touch {CANARY})",
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    f"cos\nsystem\n(S'touch {CANARY}'\ntR.",
    f"{{0.__class__}} %(x)s {MODULE}",
    f"../../../../../../../../{CANARY}",
)
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, -(10**400), 0.5, 1e308, -0.0,
    "", " ", "nan", "inf", "-inf", "NaN", "0x1.8p+1", "0x1p+9999", "0x1.0p-1074", "\ud800",
    "\u2028", "a\nb", "\0", "\x1b[2J", "x" * 70_000, "bn", "torch", "float32", "bfloat16", "int64",
    "pass", "fail", [], {}, [[]], [{}], [None], {"": None}, {"x": {}}, [0] * 3000, [["x"]],
    {"a": [1, {"b": 2}]},
    *HARM,
)  # fmt: skip
WORDS: tuple[bytes, ...] = (
    b"\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xef\xbb\xbf", b"\r\n",
    b"[" * 3000, b'{"a":' * 3000, b"(" * 300, b"-" * 2000, b"[[" * 2000, b"a." * 3000, b"9" * 5000,
    b"1" * 400, b"\x1b[2J", "\u2028\u0660\ufeff".encode(), b'"\\ud800"',
    *b"1e999 NaN -Infinity \" ''' {} [] null true %s%n%d // ** = : , 0x1p-9999".split(),
    *(text.encode() for text in HARM),
)  # fmt: skip
BYTES = ("flip", "cut", "head", "drop", "repeat", "splice", "word", "byte")
LONGEST = 2**18  # bytes of an input


@st.composite
def mutants(draw: st.DrawFn, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """Draw a valid input with one to six changes; half of those of JSON change one value."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3, 6)))):
        if data[:1] in (b"{", b"[") and draw(st.booleans()):
            data = _another_value(draw, data)[:LONGEST]
        else:
            data = _other_bytes(draw, data, seeds, words)[:LONGEST]
    return data


def _other_bytes(
    draw: st.DrawFn, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """Return the input with some of its bytes changed, whatever they mean."""
    at = draw(st.integers(0, len(data)))
    end = min(len(data), at + draw(st.integers(1, 97)))
    match draw(st.sampled_from(BYTES)):
        case "cut":
            return data[:at]
        case "head":
            return data[at:]
        case "drop":
            return data[:at] + data[end:]
        case "repeat":
            return data[:at] + data[at:end] * draw(st.integers(2, 10)) + data[end:]
        case "splice":
            other = draw(st.sampled_from(seeds))
            return data[:at] + other[draw(st.integers(0, len(other))) :]
        case "word":
            word = draw(st.sampled_from((*words, *WORDS)))
            return data[:at] + word + data[draw(st.sampled_from((at, end))) :]
        case "byte":
            return data[:at] + draw(st.binary(min_size=1, max_size=1)) + data[at + 1 :]
    flipped = bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in data[at : at + 1])
    return data[:at] + flipped + data[at + 1 :]


def _another_value(draw: st.DrawFn, data: bytes) -> bytes:
    """Return JSON with one of its values removed, made an odd one, or one from elsewhere in it."""
    try:
        content = json.loads(data)
        places = _places(content)
        if not places:
            return json.dumps(draw(st.sampled_from(ODD))).encode()
        (owner, key), (other, its) = (draw(st.sampled_from(places)) for _ in range(2))
        match draw(st.sampled_from(("odd",) * 8 + ("gone", "moved"))):
            case "odd":
                owner[key] = draw(st.sampled_from(ODD))
            case "gone":
                del owner[key]
            case _:
                owner[key] = other[its]
        return json.dumps(content).encode()
    except (ValueError, RecursionError):  # no JSON, a value put into itself, a very long number
        return data


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Return the first few thousand (container, key or index) of a JSON value."""
    places: list[tuple[Any, Any]] = []
    todo = [content]
    while todo and len(places) < 4000:
        owner = todo.pop()
        if isinstance(owner, (dict, list)):
            keys = owner if isinstance(owner, dict) else range(len(owner))
            places += [(owner, key) for key in keys]
            todo += [owner[key] for key in keys]
    return places


def free(words: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """Return bytes, texts, JSON and rows of words that no seed led to."""
    leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
    leaf = leaf | st.sampled_from(ODD[:24])
    key = st.sampled_from([w.decode() for w in words if w.isascii()] or ["a"]) | st.text(max_size=9)
    tree = st.recursive(
        leaf, lambda t: st.lists(t, max_size=4) | st.dictionaries(key, t, max_size=4), max_leaves=12
    )
    row = st.lists(st.sampled_from([*words, *WORDS]) | st.binary(max_size=4), max_size=12)
    return st.one_of(
        st.binary(max_size=200),
        st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
        tree.map(lambda value: json.dumps(value).encode()),
        row.map(b"".join),
        row.map(b" ".join),
    )
