"""Makes ``data/dates.csv``: dates as people write them, and in ISO form.

Each of the 10,000 days, drawn from the years 1950 to 2049, stands once, in one of the forms below; so days that are set
apart for a test were never seen in any form. Of numbers alone, points mean day.month.year and slashes month/day/year.
``python examples/make/dates.py`` writes the same file each time.
"""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import numpy as np

DAYS = 10_000
FIRST, LAST = dt.date(1950, 1, 1), dt.date(2049, 12, 31)
FORMS = (
    "{day} {month} {year}",
    "{day} {mon} {year}",
    "{day}. {month} {year}",
    "{nth} {month} {year}",
    "{nth} of {month} {year}",
    "the {nth} of {month}, {year}",
    "{day}-{mon}-{yy}",
    "{month} {day}, {year}",
    "{month} {nth}, {year}",
    "{mon} {nth}, {yy}",
    "{mon} {day} '{yy}",
    "{month} {day} {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday} {month} {nth}, {year}",
    "{wkd} {day} {mon} {year}",
    "{year} {mon} {day}",
    "{year}, {month} {nth}",
    "{day}.{number}.{year}",
    "{dd}.{mm}.{yy}",
    "{number}/{day}/{year}",
    "{mm}/{dd}/{yy}",
    "{year}/{mm}/{dd}",
)


def nth(day: int) -> str:
    """1st, 2nd, 3rd, 4th …"""
    return f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def written(date: dt.date, form: str) -> str:
    """The date in one of the forms. Years of two digits are those from 1950 on."""
    month, weekday = MONTHS[date.month - 1], WEEKDAYS[date.weekday()]
    return form.format(
        day=date.day, dd=f"{date.day:02}", nth=nth(date.day),
        number=date.month, mm=f"{date.month:02}", month=month, mon=month[:3],
        year=date.year, yy=f"{date.year % 100:02}", weekday=weekday, wkd=weekday[:3],
    )  # fmt: skip


MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def dates(seed: int = 0) -> list[tuple[str, str]]:
    """Each day as it is written, and in ISO form."""
    random = np.random.default_rng(seed)
    chosen = random.choice((LAST - FIRST).days + 1, DAYS, replace=False)
    days = [FIRST + dt.timedelta(int(number)) for number in chosen]
    texts = [written(day, FORMS[random.integers(len(FORMS))]) for day in days]
    spellings = random.choice(3, DAYS, p=[0.8, 0.15, 0.05])
    texts = [(text, text.lower(), text.upper())[how] for text, how in zip(texts, spellings, strict=True)]
    return [(text, day.isoformat()) for text, day in zip(texts, days, strict=True)]


def main() -> None:
    path = Path(__file__).parent.parent / "data" / "dates.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("written", "iso"), *dates()])


if __name__ == "__main__":
    main()
