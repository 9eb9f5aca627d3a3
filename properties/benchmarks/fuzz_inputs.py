"""Inputs for readers: valid ones with bits flipped, cut, spliced, odd values; and free ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

from .fuzz_guard import CANARY, MODULE

Change = tuple[str, int, int]  # kind, two numbers that say where and what
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
KINDS = ("flip", "flip", "cut", "head", "drop", "repeat", "splice", "word", "byte", *["tree"] * 5)
LONGEST = 2**18  # bytes of an input


def changed(data: bytes, change: Change, other: bytes, words: Sequence[bytes] = ()) -> bytes:
    """Return an input with one change; other is what is spliced in."""
    kind, a, b = change
    at = a % (len(data) + 1)
    end = min(len(data), at + 1 + b % 97)
    if kind == "tree":
        if data[:1] in (b"{", b"["):
            return _tree(data, a, b)
        kind = ("flip", "word", "drop", "repeat", "splice")[(a + b) % 5]
    if kind == "flip" and data:
        held = bytearray(data)
        held[a % len(data)] ^= 1 << b % 8
        return bytes(held)
    known = (*words, *WORDS)
    return {
        "cut": lambda: data[:at],
        "head": lambda: data[at:],
        "drop": lambda: data[:at] + data[end:],
        "repeat": lambda: data[:end] + data[at:end] * (1 + b % 9) + data[end:],
        "splice": lambda: data[:at] + other[b % (len(other) + 1) :],
        "word": lambda: data[:at] + known[b % len(known)] + data[at if b & 1 else end :],
        "byte": lambda: data[:at] + bytes([b % 256]) + data[at + 1 :],
    }.get(kind, lambda: data)()


def _tree(data: bytes, a: int, b: int) -> bytes:
    """Return JSON with one of its values, chosen by a, made an odd one, chosen by b."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []
    todo = [content] if isinstance(content, (dict, list)) else []
    while todo:
        held = todo.pop()
        keys = held if isinstance(held, dict) else range(len(held))
        places += [(held, key) for key in keys]
        todo += [held[key] for key in keys if isinstance(held[key], (dict, list))]
        if len(places) > 4000:
            break
    if not places:
        return json.dumps(ODD[b % len(ODD)]).encode()
    held, key = places[a % len(places)]
    which = b % (len(ODD) + 2)
    if which == len(ODD):
        del held[key]
    elif which > len(ODD):
        other, its = places[b % len(places)]
        held[key] = other[its]
    else:
        held[key] = ODD[which]
    try:
        return json.dumps(content).encode()
    except (ValueError, RecursionError):  # a value put into itself, or a very long number
        return data


def mutated(random: Random, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """Return a valid input with one to six changes, drawn fast."""
    data, other = random.choice(seeds), random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        change = random.choice(KINDS), random.randrange(2**16), random.randrange(2**16)
        data = changed(data, change, other, words)[:LONGEST]
    return data


def mutants(seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """Return valid inputs with one to six changes; they shrink to few."""
    number = st.integers(0, 2**16)
    change = st.tuples(st.sampled_from(KINDS), number, number)

    def build(pair: tuple[bytes, bytes], changes: list[Change]) -> bytes:
        data, other = pair
        for each in changes:
            data = changed(data, each, other, words)[:LONGEST]
        return data

    seed = st.sampled_from(list(seeds))
    return st.builds(build, st.tuples(seed, seed), st.lists(change, min_size=1, max_size=6))


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
