"""Making the corpus: a smallest failing case of each mutant, the regimes' edges, a greedy core."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..bugs.catalogue import built, known_bugs
from ..corpus.entries import Calls, encode_array, recorded
from ..corpus.expected import with_expected
from ..corpus.failures import calls_of, sentence_of
from ..corpus.files import CORPUS, Entry, format_entries, read_corpus, unused, write_whole
from ..corpus.replay import replay
from ..engine.exercise import run_invariant
from ..invariants import INVARIANTS, Invariant
from ..model.cases import REGIMES, Case, Recipe, build
from ..model.contract import Conventions, Target
from ..model.verdict import judge
from ..plants.textbook import Pieces
from .matrix import draw, fails, fastest_killer, subjects
from .tables import stored

_SIZE = 20_000  # characters of an entry's JSON, beyond which another case is sought


def right(target: Target) -> Target:
    """Return a right implementation in the target's conventions, whose calls are recorded."""
    return built("right", Pieces(), replace(target.conventions, channel_axis=1))


def killing_entry(name: str, cells: dict[str, int], examples: int, seed: int) -> Entry | None:
    """Return a small entry that the mutant fails, from the first of its killers that gives one."""
    left = dict(cells)
    while left:
        invariant = INVARIANTS[fastest_killer(left)]
        del left[invariant.name]
        for case, calls in _cases(name, invariant, examples, seed):
            make = subjects()[name]
            found = _smaller(make, with_expected(calls))
            if found and len(json.dumps(found)) < _SIZE:
                source = _source(name, invariant)
                return Entry(sentence_of(invariant, case), source, False, found)
    return None


def _source(name: str, invariant: Invariant) -> str:
    bugs = known_bugs()
    found = f"found by bncheck run mutants:{name} --only {invariant.name}"
    return f"{bugs[name]['source']}; {found}" if name in bugs else found


def _cases(
    name: str, invariant: Invariant, examples: int, seed: int
) -> Iterator[tuple[Case, Calls]]:
    """Yield failing cases with their calls: the shrunk one, then those drawn."""
    target = subjects()[name]()
    if invariant.inputs == "sequence":
        yield from _sequences(name, invariant)
        return
    result = run_invariant(target, invariant, examples=examples, seed_number=seed)
    if result.case is not None:
        yield result.case, calls_of(right(target), invariant, result.case)
        yield result.case, calls_of(subjects()[name](), invariant, result.case)
    for case, steps in draw(invariant, target, examples, seed):
        if fails(subjects()[name](), steps):
            yield case, calls_of(right(target), invariant, case)


def _sequences(name: str, invariant: Invariant) -> Iterator[tuple[Case, Calls]]:
    """Yield the calls of short random sequences that fail."""
    for seed in range(200):
        case = build(Recipe(seed=seed, bits=3), subjects()[name]().conventions)
        exercise = _exercise(invariant, case)
        if fails(subjects()[name](), [exercise]):
            calls = recorded(right(subjects()[name]()), lambda t, e=exercise: judge(e(t)))  # type: ignore[misc]
            yield case, calls


def _exercise(invariant: Invariant, case: Case) -> Callable[[Target], Any]:
    return lambda target: invariant.check(target, case)


def _smaller(make: Callable[[], Target], calls: Calls) -> Calls | None:
    """Return the calls without those that the failure does not need; None if they do not fail."""
    if not _kills(make, calls):
        return None
    for number in reversed(range(len(calls))):
        fewer = _without(calls, number)
        if fewer and _kills(make, fewer):
            calls = fewer
    return calls


def _without(calls: Calls, number: int) -> Calls | None:
    """Return the calls without one, unless a later one needs it."""
    rest = []
    for call in (*calls[:number], *calls[number + 1 :]):
        at = call.get("saved")
        if at == number:
            return None
        rest.append({**call, "saved": at - 1} if at is not None and at > number else call)
    return rest


def _kills(make: Callable[[], Target], calls: Calls) -> bool:
    return replay(make(), Entry("", "", False, calls)).verdict == "fail"


def edges() -> Iterator[Entry]:
    """Yield an entry per regime and edge: training and its backward on a small case."""
    recipes = {f"regime {name.replace('_', ' ')}": Recipe(regime=name, n=4) for name in REGIMES}
    plain = Recipe(n=3, bits=3)
    recipes |= {
        "regime not finite, infinite": Recipe(regime="not_finite", n=4, channels=2, level=1),
        "regime not finite, in one channel of two": Recipe(regime="not_finite", n=4, channels=2),
        "one value per channel": Recipe(n=1, channels=2),
        "an empty batch": Recipe(n=0, channels=2),
        "gamma zero": replace(plain, gamma="zero"),
        "gamma negative": replace(plain, gamma="negative"),
        "gamma huge": replace(plain, gamma="huge"),
        "no gamma and beta": replace(plain, affine=False),
        "no running statistics": replace(plain, tracked=False),
        "momentum zero": replace(plain, momentum=0.0),
        "momentum one": replace(plain, momentum=1.0),
        "rank 5": replace(plain, n=2, channels=2, spatial=(1, 2, 2)),
        "float64 and a small eps": replace(plain, dtype="float64", eps=1e-12),
        "float16": replace(plain, dtype="float16"),
        "17 channels": replace(plain, n=2, channels=17),
        "65 channels": replace(plain, n=2, channels=65),
        "257 channels": replace(plain, n=2, channels=257),
        "17 rows": replace(plain, n=17, channels=2),
        "17 places": replace(plain, n=2, spatial=(17,)),
        "9 by 7 places": replace(plain, n=2, spatial=(9, 7)),
    }
    conventions = Conventions(dtypes=("float32", "float64", "float16"))
    cases = {
        name: build(replace(recipe, bits=max(recipe.bits, 3), seed=5), conventions)
        for name, recipe in recipes.items()
    }
    cases["more rows than 16 bits count"] = _many_rows(
        2**16 + 2, (2, 8, 5), (1, 3, -2), conventions
    )
    cases["a block and nearly another"] = _many_rows(
        2**13 - 2, (2, 8, 5, 1, 9), (1, 3, -2, 0, 2), conventions
    )
    cases["1025 channels"] = _many_channels(1025, 50, conventions)
    for name, case in cases.items():
        yield _edge("Training", name, case, "training_leaves_its_inputs_unchanged")
    inferred = "inference_gradients_agree_with_reference"
    yield _edge("Inference", "257 channels", cases["257 channels"], inferred)


def masked() -> Iterator[Entry]:
    """Yield an entry per kind of mask: lengths, whole samples, single places."""
    hidden: dict[str, tuple[tuple[int, ...], Any]] = {
        "lengths": ((4, 3), lambda mask: np.arange(3) < np.array([[3], [1], [2], [3]])),
        "whole samples": ((5,), lambda mask: np.arange(5) != 3),
        "single places": ((3, 2, 2), lambda mask: np.arange(12).reshape(mask.shape) % 5 != 1),
    }
    for name, (places, keeps) in hidden.items():
        recipe = Recipe(n=places[0], channels=2, spatial=places[1:], bits=3, seed=5)
        case = build(recipe, Conventions())
        mask = keeps(np.ones(places))
        seen = np.expand_dims(mask, 1)
        case = replace(case, x=case.x + 1, dy=np.where(seen, case.dy, 0).astype(case.dy.dtype))
        forward, back = calls_of(
            built("right", Pieces(), case.conventions),
            INVARIANTS["training_leaves_its_inputs_unchanged"],
            case,
        )
        calls = with_expected([{**forward, "mask": encode_array(mask.astype(np.int64))}, back])
        key = f"Training with a mask and its backward: {name}"
        yield Entry(key, "a regime of bncheck", False, calls)


def _edge(mode: str, name: str, case: Case, invariant: str) -> Entry:
    target = built("right", Pieces(), case.conventions)
    calls = with_expected(calls_of(target, INVARIANTS[invariant], case))
    return Entry(f"{mode} and its backward: {name}", "a regime of bncheck", False, calls)


def _many_rows(n: int, x: tuple[int, ...], dy: tuple[int, ...], conventions: Conventions) -> Case:
    """Return n rows of a few integers in turn, so that the text is short; float64 sees most."""
    case = build(Recipe(regime="balanced", n=n, dtype="float64"), conventions)
    rows = [np.tile(np.array(a, float)[:, None], (n // len(a), 1)) for a in (x, dy)]
    return replace(case, x=rows[0], dy=rows[1])


def _many_channels(c: int, period: int, conventions: Conventions) -> Case:
    """Return two rows of c channels that repeat, with c half a period more than whole ones."""
    case = build(Recipe(n=2, channels=c, dtype="float64", bits=3), conventions)
    random = case.random(21)
    x, dy = (np.resize(random.integers(-8, 9, period).astype(float), (2, c)) for _ in range(2))
    numbers = (np.resize(random.integers(1, 9, period // 2).astype(float), c) for _ in range(4))
    gamma, beta, mean, var = numbers
    return replace(case, x=x, dy=dy, gamma=gamma, beta=beta, running_mean=mean, running_var=var)


def entries_of_mutants(tick: Callable[[str], None]) -> tuple[list[Entry], list[str]]:
    """Return an entry for each mutant, and the mutants that no list of calls kills."""
    matrix = stored()
    found: list[Entry] = []
    left = []
    for name in subjects():
        tick(name)
        entry = killing_entry(name, matrix.mutants[name], matrix.examples, matrix.seed)
        if entry is None:
            left.append(name)
        elif all(entry.calls != other.calls for other in found):
            found.append(entry)
    return found, left


def core_of(entries: list[Entry]) -> tuple[set[str], list[str]]:
    """Return the keys of a greedy minimum that kills all that the entries kill, and survivors."""
    kills = {
        entry.key: {n for n, make in subjects().items() if replay(make(), entry).verdict == "fail"}
        for entry in entries
    }
    left = set().union(*kills.values())
    survivors = [name for name in subjects() if name not in left]
    core = set()
    while left:
        best = max(sorted(kills), key=lambda key: len(kills[key] & left))
        core.add(best)
        left -= kills[best]
    return core, survivors


def distilled(folder: Path = CORPUS, tick: Callable[[str], None] = lambda text: None) -> list[str]:
    """Write the corpus anew, findings kept, mark the core; return the mutants it cannot kill."""
    made = ("mutants.json", "edges.json", "masks.json")
    findings = [
        replace(entry, calls=with_expected(entry.calls))
        for entry in read_corpus(folder)[0]
        if entry.file not in made
    ]
    held: dict[str, Entry] = {entry.key: entry for entry in findings}
    made_anew = (edges(), entries_of_mutants(tick)[0], masked())
    for file, found in zip(("edges.json", "mutants.json", "masks.json"), made_anew, strict=True):
        for entry in found:
            key = unused(entry.key, held)
            held[key] = replace(entry, key=key, file=file)
    core, survivors = core_of(list(held.values()))
    marked = [replace(entry, core=entry.key in core) for entry in held.values()]
    for file in sorted({entry.file for entry in marked}):
        write_whole(folder / file, format_entries(e for e in marked if e.file == file))
    return survivors
