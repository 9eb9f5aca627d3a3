"""Numbers in the corpus: C99 hexadecimal floats, read strictly."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

_HEX = re.compile(r"-?0x[01](\.[0-9a-f]{1,13})?p[+-]\d{1,4}")


class Malformed(Exception):
    """A value that the schema does not allow; the text says where and what was expected."""


def encode_float(value: float) -> str:
    """Return a float as a C99 hexadecimal float without closing zeros, or nan, inf, -inf."""
    if not np.isfinite(value):
        return str(float(value))
    mantissa, exponent = float(value).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}"


def decode_float(text: Any) -> float:
    """Return a C99 hexadecimal float, nan, inf or -inf.

    Raises:
        Malformed: anything else.
    """
    if not isinstance(text, str) or not (_HEX.fullmatch(text) or text in ("nan", "inf", "-inf")):
        raise Malformed(f"{text!r}: expected a hexadecimal float like 0x1.8p+1, nan, inf or -inf")
    try:
        return float.fromhex(text) if text.lstrip("-").startswith("0x") else float(text)
    except OverflowError as error:
        raise Malformed(f"{text!r}: expected a number that a float64 holds") from error
