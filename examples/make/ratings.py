"""Makes ``data/ratings.npz``: what 400 imagined people think of 250 imagined films, in one to five stars.

Everyone has a mood and likes each of six qualities more or less; every film has an appeal, and more or less of each
quality. A rating is the sum of all that and of a whim, rounded to whole stars. Popular films are rated more often.
``python examples/make/ratings.py`` writes the same file each time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

PEOPLE, FILMS, QUALITIES, RATINGS = 400, 250, 6, 16_000


def opinions(random: np.random.Generator) -> np.ndarray:
    """What everyone would think of every film, before whims and rounding: f64[PEOPLE, FILMS]."""
    mood, appeal = random.normal(0, 0.35, (PEOPLE, 1)), random.normal(0, 0.45, FILMS)
    taste, quality = random.normal(0, 1, (PEOPLE, QUALITIES)), random.normal(0, 1, (FILMS, QUALITIES))
    return 3.4 + mood + appeal + 0.9 * taste @ quality.T / np.sqrt(QUALITIES)


def ratings(seed: int = 0) -> dict[str, np.ndarray]:
    """``person`` u16, ``film`` u8 and ``stars`` u8 [RATINGS]; no pair stands twice."""
    random = np.random.default_rng(seed)
    opinion = opinions(random)
    popularity = np.tile(random.gamma(1.5, 1, FILMS), PEOPLE)
    pairs = random.choice(PEOPLE * FILMS, RATINGS, replace=False, p=popularity / popularity.sum())
    person, film = np.divmod(pairs, FILMS)
    stars = np.clip(np.rint(opinion[person, film] + random.normal(0, 0.5, RATINGS)), 1, 5)
    return {"person": person.astype(np.uint16), "film": film.astype(np.uint8), "stars": stars.astype(np.uint8)}


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).parent.parent / "data" / "ratings.npz", **ratings())
