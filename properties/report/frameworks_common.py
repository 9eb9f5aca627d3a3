"""What the templates of all frameworks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .reproducers import Given

X64 = 'jax.config.update("jax_enable_x64", True)'
STATE = {"running_mean": "mean", "running_var": "var"}
GIVEN = {q: q for q in ("y", "dx", "dgamma", "dbeta")} | STATE


def wanted(g: Given, names: dict[str, str]) -> list[str]:
    """Return the line that prints the number, by what each quantity is called here."""
    return [f"print(float({names[g.quantity]}[{g.at}]))"]
