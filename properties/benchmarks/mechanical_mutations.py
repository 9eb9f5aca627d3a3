"""Every mechanical mutation of a module, by cosmic-ray's operators and those for numerical code.

A list beside this file names those that compute the same as bn, each with its reason.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..support.extras import hint
from .mechanical_operators import OPERATORS, changed

LIST = Path(__file__).with_name("equivalent_mutants.toml")
RANDOM = {"VariableReplacer", "VariableInserter"}  # of cosmic-ray's: they draw what they put in


class Missing(Exception):
    """A library is not installed."""


@dataclass(frozen=True)
class Mutation:
    """One change of one module: the operator, the lines before and after, the whole source after.

    ordinal counts the equal changes of equal lines above it, 0 for the first.
    """

    module: str
    operator: str
    line: int
    before: str
    after: str
    ordinal: int
    source: str

    @property
    def id(self) -> str:
        """Eight hexadecimal digits, the same as long as the changed line's text is."""
        text = "\n".join([self.module, self.operator, self.before, self.after, str(self.ordinal)])
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def mutations(module: str, source: str) -> list[Mutation]:
    """Return all that differ from the source and from each other in more than annotations."""
    seen, counts, found = {meaning(source)}, Counter[tuple[str, ...]](), []
    for operator, new in itertools.chain(own(source), cosmic_rays(source)):
        try:
            what = meaning(new)
        except SyntaxError:
            continue
        if what in seen:
            continue
        seen.add(what)
        line, before, after = difference(source, new)
        ordinal = counts[operator, before, after]
        counts[operator, before, after] += 1
        found.append(Mutation(module, operator, line, before, after, ordinal, new))
    return found


def own(source: str) -> Iterator[tuple[str, str]]:
    """Yield (operator, source) of the operators for numerical code."""
    for name, operator in OPERATORS.items():
        for node, text in operator(ast.parse(source)):
            yield name, changed(source, node, text)


def cosmic_rays(source: str) -> Iterator[tuple[str, str]]:
    """Yield (operator, source) of cosmic-ray's operators, but for those that draw."""
    try:
        from cosmic_ray.ast import ast_nodes, get_ast
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.operators.provider import OperatorProvider
    except ImportError as error:
        text = f"mechanical mutants need cosmic-ray; {hint('mutation')}"
        raise Missing(text) from error
    provider, nodes = OperatorProvider(), list(ast_nodes(get_ast(source)))
    for name in sorted(set(provider) - RANDOM):
        operator = provider[name]
        count = sum(len(list(operator().mutation_positions(node))) for node in nodes)
        for occurrence in range(count):
            yield name, mutate_code(source, operator(), occurrence)


def meaning(source: str) -> str:
    """Return the syntax tree without annotations and overloads, which change nothing."""
    return ast.dump(_Bare().visit(ast.parse(source)))


class _Bare(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        """Drop the annotation, and all of an overload."""
        if ast.unparse(node.body[0]) == "...":
            return None
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Drop the annotation."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Drop the annotation."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def difference(old: str, new: str) -> tuple[int, str, str]:
    """Return the number of the first line that differs, and the lines before and after as one."""
    one, other = old.splitlines(), new.splitlines()
    same = [a == b for a, b in zip(one, other, strict=False)]
    start = same.index(False) if False in same else len(same)
    tail = 0
    while tail < min(len(one), len(other)) - start and one[-1 - tail] == other[-1 - tail]:
        tail += 1
    before = " ".join(line.strip() for line in one[start : len(one) - tail])
    after = " ".join(line.strip() for line in other[start : len(other) - tail])
    return start + 1, before, after


@dataclass(frozen=True)
class Equivalent:
    """A change that no result shows: the lines before and after, in which file, and why."""

    file: str
    operator: str
    line: str
    becomes: str
    reason: str


def equivalents(path: Path = LIST) -> list[Equivalent]:
    """Read the list; a group of changes that have one reason stands as one table."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Equivalent(group["file"], operator, line, becomes, group["reason"])
        for group in content["group"]
        for operator, line, becomes in group["changes"]
    ]


def is_listed(mutation: Mutation, listed: list[Equivalent]) -> bool:
    """Return whether a mutation is in the list."""
    file = f"bn/{mutation.module.removeprefix('bn.')}.py"
    mine = (file, mutation.operator, mutation.before, mutation.after)
    return any((one.file, one.operator, one.line, one.becomes) == mine for one in listed)
