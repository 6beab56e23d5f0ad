"""Chiral pairs of classes: actions that are each other's time reversal, found from their names.

"Opening something" played backwards is "Closing something". Which words turn into which is data (opposites.json beside
this module, and any file of the same form): a rule is a list of pairs of words or phrases that are exchanged at once.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gta.errors import OptionError
from gta.stored import StoredError, entry, mapping, read_json, sequence, text

_OWN = Path(__file__).parent / "opposites.json"


@dataclass(frozen=True)
class ChiralPair:
    """Two classes that are each other's time reversal."""

    first: str
    """Name of one class."""
    second: str
    """Name of the other class."""
    rule: str
    """Name of the rule that found the pair, such as "open/close"."""


@dataclass(frozen=True)
class Opposites:
    """What turns a class into its time reversal.

    `rules` are names with the phrases that they exchange; classes of the names `never` have no reversal whatever the
    rules say; `pairs` are classes by their whole names.
    """

    rules: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    never: frozenset[str] = frozenset()
    pairs: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: "Opposites") -> "Opposites":
        return Opposites(self.rules + other.rules, self.never | other.never, self.pairs + other.pairs)


@cache
def known_opposites() -> Opposites:
    """The opposites that come with the package: Something-Something, Kinetics, Jester and the synthetic data set."""
    return _read(_OWN)


def read_opposites(path: str | Path) -> Opposites:
    """Read further opposites from a JSON file.

        {"rules": [{"name": "dock/undock", "swap": [["docking", "undocking"]]}],
         "never": ["thumb up"],
         "pairs": [["making tea", "unmaking tea"]]}

    Every entry may be missing.

    Raises:
        OptionError: there is no such file, or it has another form; the text names file and entry.
    """
    try:
        return _read(Path(path))
    except OSError as error:
        raise OptionError(f"{path}: it cannot be read ({error.strerror or error})") from error
    except StoredError as error:
        raise OptionError(f"{path}: {error}") from error


def find_chiral_pairs(classes: Sequence[str], opposites: Opposites | None = None) -> tuple[ChiralPair, ...]:
    """The pairs among the classes of a data set, in the order of the classes; each class is in one pair at most.

    Names are compared by their words in lower case: "OpenDoor", "open_door" and "Open [door]" are the same.

    Args:
        classes: names.
        opposites: what to look for; `known_opposites()` if not given. Whole names go before rules, later rules (the
            user's) before earlier ones.
    """
    chosen = known_opposites() if opposites is None else opposites
    by_words: dict[str, str] = {}
    for name in classes:
        by_words.setdefault(_words(name), name)
    never = {_words(name) for name in chosen.never}
    partners = {_words(one): _words(other) for one, other in chosen.pairs}
    partners |= {other: one for one, other in partners.items()}
    found: list[ChiralPair] = []
    taken: set[str] = set()
    for words, name in by_words.items():
        if words in never or name in taken:
            continue
        candidates = [(partners[words], "named")] if words in partners else []
        candidates += [(_exchange(words, swap), rule) for rule, swap in reversed(chosen.rules)]
        for candidate, rule in candidates:
            other = by_words.get(candidate)
            if other is not None and other != name and other not in taken and candidate not in never:
                found.append(ChiralPair(name, other, rule))
                taken |= {name, other}
                break
    return tuple(found)


def reversals_of(pairs: Iterable[ChiralPair]) -> dict[str, str]:
    """Class -> its time reversal, both ways."""
    table: dict[str, str] = {}
    for pair in pairs:
        table |= {pair.first: pair.second, pair.second: pair.first}
    return table


def _words(name: str) -> str:
    """The words of a name in lower case, with single spaces: "OpenDoor" -> "open door"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.findall(r"[^\W_]+", spaced.casefold()))


def _exchange(words: str, swap: tuple[tuple[str, str], ...]) -> str:
    """Exchange all phrases at once: "from left to right" -> "from right to left"."""
    pattern, table = _compiled(swap)
    return pattern.sub(lambda match: table[match.group()], words)


@cache
def _compiled(swap: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    table = {one: other for pair in swap for one, other in (pair, pair[::-1])}
    longest_first = "|".join(re.escape(phrase) for phrase in sorted(table, key=len, reverse=True))
    return re.compile(rf"\b(?:{longest_first})\b"), table


def _read(path: Path) -> Opposites:
    content = mapping(read_json(path), "the file")
    strange = sorted(set(content) - {"rules", "never", "pairs"})
    if strange:
        raise StoredError(f"there is no entry {strange[0]!r}; only rules, never and pairs are allowed")
    rules = [
        (text(entry(rule, "name", "a rule"), "the name of a rule"), _pairs(entry(rule, "swap", "a rule"), "swap"))
        for rule in (mapping(value, "a rule") for value in sequence(content.get("rules", []), "rules"))
    ]
    never = frozenset(text(name, "a name of never") for name in sequence(content.get("never", []), "never"))
    whole = sequence(content.get("pairs", []), "pairs")
    swaps = tuple((name, tuple((_words(one), _words(other)) for one, other in swap)) for name, swap in rules)
    return Opposites(swaps, never, _pairs(whole, "pairs") if whole else ())


def _pairs(value: Any, name: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for pair in sequence(value, name):
        both = [text(word, f"a word of {name}") for word in sequence(pair, f"a pair of {name}")]
        if len(both) != 2 or not all(map(_words, both)) or _words(both[0]) == _words(both[1]):
            raise StoredError(f"{name} holds {both}, not two different names")
        found.append((both[0], both[1]))
    if not found:
        raise StoredError(f"{name} is empty")
    return tuple(found)
