"""A call as text, and what the templates of all frameworks share."""

from __future__ import annotations

from dataclasses import dataclass

X64 = 'jax.config.update("jax_enable_x64", True)'
STATE = {"running_mean": "mean", "running_var": "var"}
GIVEN = {q: q for q in ("y", "dx", "dgamma", "dbeta")} | STATE


@dataclass(frozen=True)
class Given:
    """A call whose arrays are text, channels where the framework has them.

    quantity is y, running_mean, running_var, dx, dgamma or dbeta; at the index of the number that
    is wrong, as text.
    """

    training: bool
    quantity: str
    at: str
    dtype: str
    state: str
    channels: int
    rank: int
    x: str
    dy: str
    gamma: str
    beta: str
    mean: str
    var: str
    eps: str
    momentum: str

    @property
    def affine(self) -> bool:
        """Whether there are gamma and beta."""
        return self.gamma != "None"


def wanted(g: Given, names: dict[str, str]) -> list[str]:
    """Return the line that prints the number, by what each quantity is called here."""
    return [f"print(float({names[g.quantity]}[{g.at}]))"]
