"""The numbers in a formula's text, exactly as typed, and the refusal of what is no formula."""

from __future__ import annotations

import ast
from fractions import Fraction

MAX_EXPONENT = 16
MAX_DIGITS = 40


class NotAFormula(ValueError):
    """The text or file is no formula; the message is one line that says why and what to do."""


def refusal(text: str, reason: str) -> NotAFormula:
    flat = " ".join(text.split())
    shown = flat if len(flat) <= 60 else flat[:57] + "..."
    return NotAFormula(f"formula={shown!r}: {reason}")


def constant(text: str, node: ast.Constant) -> Fraction:
    """Return the number exactly as it is typed: 0.1 is one tenth."""
    if type(node.value) not in (int, float):
        raise refusal(text, f"{type(node.value).__name__} is not a number of a formula")
    if isinstance(node.value, int):
        if node.value.bit_length() > 4 * MAX_DIGITS:
            raise refusal(text, f"a number of more than {MAX_DIGITS} digits")
        return Fraction(node.value)
    typed = repr(node.value)
    if "inf" in typed or "nan" in typed:
        raise refusal(text, "a number that is not finite")
    return Fraction(typed)


def literal(text: str, node: ast.expr) -> Fraction:
    """Return a number, its negative, or a quotient of two: 2, -0.5, 3/2."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -literal(text, node.operand)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        below = literal(text, node.right)
        if below:
            return literal(text, node.left) / below
    if isinstance(node, ast.Constant):
        return constant(text, node)
    raise refusal(text, f"an exponent that is not a number; expected at most {MAX_EXPONENT}")


def exponent(text: str, node: ast.expr) -> Fraction:
    power = literal(text, node)
    if power.denominator > 2 or abs(power) > MAX_EXPONENT:
        shown = ast.unparse(node)[:20]
        raise refusal(text, f"exponent {shown}; expected a multiple of 1/2 up to {MAX_EXPONENT}")
    return power
