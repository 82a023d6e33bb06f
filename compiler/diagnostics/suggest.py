"""The nearest known name to a misspelt one."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate nearest to `name`, or None where none is near; upper and lower case count as near."""
    folded: dict[str, str] = {}
    for candidate in sorted(set(candidates) - {name}):
        folded.setdefault(_fold(candidate), candidate)
    nearest = get_close_matches(_fold(name), folded, n=1, cutoff=0.6)
    return folded[nearest[0]] if nearest else None


def _fold(name: str) -> str:
    """`BatchNorm`, `batchNorm` and `batch_norm` are one name to the eye."""
    return name.replace("_", "").casefold()
