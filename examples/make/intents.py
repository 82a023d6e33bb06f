"""Makes ``data/intents.csv``: what people say to an assistant, and which of eight things they want.

Sentences are made of phrasings and of what is filled into them, some with a slip of the fingers. The first 3,200 are of
eleven phrasings for each intent; the last 800, to be tested on, are of four other ones, which those have no part in.
``python examples/make/intents.py`` writes the same file each time.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

TRAINED, TESTED, TEST_PHRASINGS, SLIPS = 3200, 800, 4, 0.2

FILLINGS = {
    "time": "7 am|half past six|noon|8:30|a quarter to nine|five o'clock|tonight at ten|6 in the morning",
    "day": "tomorrow|on Monday|on Friday night|this weekend|next Tuesday|today|on the 4th|in two weeks",
    "city": "Paris|Lisbon|New York|Oslo|Cape Town|Kyoto|Lima|Edinburgh|Nairobi|Vienna",
    "person": "Anna|my brother|Dr. Smith|Mum|John|the boss|Maria|our neighbours|grandpa",
    "music": "jazz|some Bach|the Beatles|a bit of techno|my favourite album|Nina Simone|soft piano|80s rock",
    "food": "sushi|pizza|Indian food|a good steak|vegan food|tapas|ramen|seafood",
    "thing": "milk|bread|two lemons|coffee beans|batteries|a birthday card|rice|olive oil|dog food",
    "message": "I am late|see you there|happy birthday|call me back|dinner is ready|I found the keys",
    "number": "12|47|350|19|two hundred|1,024|nine|88",
    "count": "two|four|six|eight",
    "task": "water the plants|feed the cat|take my pills|lock the door|pay the rent|stretch",
}

# Intents by name; the last TEST_PHRASINGS of each are kept for the test.
PHRASINGS = {
    "alarm": """wake me up at {time}|set an alarm for {time}|I have to get up at {time}|ring at {time} please
        |can you wake me {day} at {time}|alarm at {time}|make sure I am awake by {time}|change my alarm to {time}
        |wake us at {time} {day}|I need an alarm {day}|don't let me sleep past {time}
        |get me out of bed at {time}|please set the alarm clock {day}|I must be awake at {time}
        |could you set a wake up alarm for {time}""",
    "weather": """what's the weather like in {city}|will it rain {day}|how warm is it in {city}
        |do I need an umbrella {day}|weather in {city} {day}|is it snowing in {city}|how cold will it get {day}
        |tell me the forecast for {city}|is it going to be sunny {day}|will there be a storm in {city}
        |temperature in {city} please|what is the forecast {day}|is it raining in {city} now
        |how will the weather be {day}|should I expect snow in {city}""",
    "music": """play {music}|put on {music}|I want to hear {music}|can you play {music}|start my playlist with {music}
        |turn up the music|next song please|I feel like {music}, play it|listen to {music}|shuffle {music}
        |stop the song and play {music}|please play a song|let me hear {music}|I'd like to listen to {music}
        |play something like {music}""",
    "table": """book a table for {count} {day}|find a place that has {food}|reserve a table at {time}
        |I want to eat {food} {day}|get us a table for {count}|is there a restaurant with {food} in {city}
        |we are {count}, book dinner at {time}|a table for {count} at {time} please
        |reserve seats for {count} where they have {food}|where can we eat {food}|dinner for {count} {day}
        |please book a restaurant for {count}|find a restaurant in {city}|I need a dinner reservation {day}
        |can we get a table {day}""",
    "message": """tell {person} that {message}|text {person}: {message}|send a message to {person}
        |write {person} that {message}|message {person}, {message}|let {person} know that {message}
        |say to {person} {message}|send {person} a text saying {message}|answer {person} with {message}
        |drop {person} a line|I want to text {person}|please text {person} that {message}
        |send word to {person} that {message}|write a message to {person}|can you tell {person} {message}""",
    "shopping": """add {thing} to the shopping list|put {thing} on my list|we are out of {thing}|buy {thing}
        |I need to buy {thing} {day}|shopping list: {thing}|remember to get {thing}|we need {thing} and {thing}
        |take {thing} off the shopping list|what is on my shopping list|{thing} has run out, add it
        |please add {thing} to my list|I should buy {thing}|what do I have to buy {day}
        |{thing} goes on the shopping list""",
    "arithmetic": """what is {number} plus {number}|{number} times {number}|how much is {number} minus {number}
        |divide {number} by {number}|multiply {number} and {number}|the square root of {number}
        |what do {number} and {number} make|{number} percent of {number}|work out {number} times {number}
        |add up {number} and {number}|is {number} more than {number}|how much is {number} times {number}
        |calculate {number} minus {number}|what's {number} divided by {number}|sum of {number} and {number}""",
    "reminder": """remind me to {task}|remind me {day} to {task}|don't let me forget to {task}
        |I have to {task} {day}, remind me|set a reminder for {time}|reminder: {task}|remind me at {time} to {task}
        |make a note that I have to {task}|I must not forget to {task}|remind {person} to {task}
        |give me a reminder to {task} {day}|please remind me to {task}|I want a reminder {day}
        |help me remember to {task}|set a reminder to {task}""",
}
INTENTS = tuple(PHRASINGS)
POLITE = ("{}", "{}", "{}", "hey, {}", "{}, thanks", "ok now {}", "please {}", "{} if you can")


def sentence(phrasing: str, random: np.random.Generator) -> str:
    """The phrasing filled in, with a slip of the fingers now and then."""
    filled = re.sub(r"{(\w+)}", lambda match: str(random.choice(FILLINGS[match[1]].split("|"))), phrasing)
    text = str(random.choice(POLITE)).format(filled)
    if random.random() < SLIPS:
        at = int(random.integers(len(text) - 1))
        before, here, then, after = text[:at], text[at], text[at + 1], text[at + 2 :]
        text = before + str(random.choice((then, here + here + then, then + here))) + after
    return text.lower() if random.random() < 0.3 else text[0].upper() + text[1:]


def samples(count: int, phrasings: slice, random: np.random.Generator) -> list[tuple[str, int]]:
    """Different sentences with the numbers of their intents, as many of each intent."""
    found: dict[str, int] = {}
    while len(found) < count:
        intent = len(found) % len(INTENTS)
        choices = [phrasing.strip() for phrasing in PHRASINGS[INTENTS[intent]].split("|")][phrasings]
        found.setdefault(sentence(str(random.choice(choices)), random), intent)
    return list(found.items())


def intents(seed: int = 0) -> list[tuple[str, str]]:
    """Each sentence, and what it asks for."""
    random = np.random.default_rng(seed)
    found = samples(TRAINED, slice(-TEST_PHRASINGS), random) + samples(TESTED, slice(-TEST_PHRASINGS, None), random)
    return [(text, INTENTS[intent]) for text, intent in found]


def main() -> None:
    path = Path(__file__).parent.parent / "data" / "intents.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("text", "intent"), *intents()])


if __name__ == "__main__":
    main()
