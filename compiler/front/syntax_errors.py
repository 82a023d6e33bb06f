"""What is said about syntax errors."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from lark import Lark, Token
from lark.lexer import PatternStr

from compiler.diagnostics import Diagnostic, Label, Source, Span, did_you_mean, error

_CLOSES = {"LPAR": ")", "LSQB": "]", "LBRACE": "}"}
_LINE_ENDS = ("_NEWLINE", "SEMICOLON")
_STRING = re.compile(r'"(?:[^"\\\r\n]|\\[^\r\n])*"')
_STATEMENTS = (
    "MINIMIZE MEASURE DRAW DATA VALIDATE TEST BATCH EPOCHS STEPS STOP CLIP CLIP_VALUE ACCUMULATE AVERAGE KEEP SEED "
    "FREEZE"
)

# What could stand somewhere, in a few words: where the first terminal of a group could, the words stand for all of it.
_GROUPS = (
    ("LAYER", "a stage", "LAYER RESIDUAL REPEAT IF NAME NUMBER STRING TRUE FALSE NOT MINUS LPAR LSQB"),
    ("NUMBER", "an expression", "RESIDUAL REPEAT IF NAME NUMBER STRING TRUE FALSE NOT MINUS LPAR LSQB"),
    ("MINIMIZE", "a statement", f"{_STATEMENTS} NAME"),
)
_OPERATORS = "PLUS MINUS TIMES DIVIDE FLOOR_DIVIDE MODULO MATRIX_PRODUCT POWER COMPARISON AT_MOST AND OR"
_KINDS = {"NAME": "a name", "STRING": "a string", "NUMBER": "a number"}
_LOOKALIKES = {
    **dict.fromkeys("'‘’‚“”„«»`", 'strings stand in double quotes, `"`'),
    **dict.fromkeys("‐‑‒–—−", "the minus sign is `-`"),
    **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200b\u202f\u3000\ufeff", "it is no ordinary space: type it anew"),
    "→": "the arrow is `->`",
    "×": "multiplication is `*`",
    "·": "multiplication is `*`",
    "÷": "division is `/`",
    "≤": "at most is `<=`",
    "≥": "at least is `>=`",
    "≠": "unequal is `!=`",
    "!": "negation is `not`",
    "&": "both is `and`",
    "|": "either is `or`",
    "^": "a power is `**`",
    "\\": "to go on with the next line, break it inside parentheses, or begin the next one with `->`",
}
# Words of other languages, at the beginning of a stage.
_FOREIGN = {
    "return": "there is no `return`: what the last stage gives is the result",
    "for": "copies are made with `repeat 3 as i { … }`, or over a list: `repeat widths as width { … }`",
    "while": "copies are made with `repeat 3 { … }`",
    "def": "a template is declared with `block`, outside of other bodies",
    "let": "values are named with `name = …`",
    "var": "values are named with `name = …`",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """All there is to know about a token that does not fit."""

    source: Source
    token: Token
    recent: list[Token]  # up to two tokens before it
    accepted: set[str]  # the terminals that would have fitted
    opened: list[Token]  # the brackets open there, outermost first
    balanced: bool  # whether those of the stage are closed later


def unexpected_token(situation: Situation, lark: Lark) -> Diagnostic:
    """E0101, or what is better said where brackets are the trouble."""
    source, token, opened = situation.source, situation.token, situation.opened
    inner = opened[-1] if opened else None
    if token in (")", "]", "}") and (inner is None or _CLOSES[inner.type] != token):
        if inner is not None and token == "}":
            return unclosed(source, inner, token)
        return _closes_nothing(source, inner, token)
    if inner is not None and (token.type == "$END" or (not situation.balanced and _on_later_line(situation))):
        return unclosed(source, inner, token, situation.recent)
    return error(
        "E0101",
        f"unexpected {_describe(token)}",
        _place(source, token, situation.recent),
        f"expected {_expectation(situation.accepted, lark)}",
        help=_advice(situation, lark),
    )


def unclosed(source: Source, opening: Token, token: Token, recent: Sequence[Token] = ()) -> Diagnostic:
    """E0104: it became clear at `token` that `opening` has no partner."""
    label = Label(_span(source, opening), "opened here")
    text = f"`{_CLOSES[opening.type]}` is missing before this"
    if token.type == "$END":
        text = f"the file ends without its `{_CLOSES[opening.type]}`"
    return error("E0104", f"`{opening}` is never closed", _place(source, token, recent), text, labels=[label])


def _closes_nothing(source: Source, inner: Token | None, token: Token) -> Diagnostic:
    if inner is None or inner.type == "LBRACE":
        return error("E0105", f"`{token}` closes nothing", _span(source, token), "nothing is open that it could close")
    label = Label(_span(source, inner), "opened here")
    text = f"`{_CLOSES[inner.type]}` is expected"
    return error("E0105", f"`{token}` does not close `{inner}`", _span(source, token), text, labels=[label])


def unexpected_character(source: Source, position: int) -> Diagnostic:
    """E0102 where a string begins that doesn't end, else E0103."""
    text = source.text
    if text[position] == '"':
        line = source.location(position)[0]
        end = source.line_start(line) + len(source.line(line))
        closing = _STRING.match(text, position)
        if closing is None:
            return error(
                "E0102", "unterminated string", source.span(position, end), 'the closing `"` is missing on this line'
            )
        position = next(place for place in range(position, end) if unicodedata.category(text[place]) == "Cc")
    character = text[position]
    shown = f"`{character}`" if character.isprintable() and not character.isspace() else f"U+{ord(character):04X}"
    name = unicodedata.name(character, "a control character").lower()
    advice = _LOOKALIKES.get(character, ())
    if character.isalpha():
        advice = "names are made of the letters a to z and A to Z, digits and `_`"
    return error("E0103", f"unexpected character {shown}", source.span(position, position + 1), name, help=advice)


def nested_too_deeply(source: Source, position: int, deepest: int) -> Diagnostic:
    """E0106."""
    place = source.span(position, position + 1)
    help = "give parts of it names with `name = …`, or move them to a `block`"
    return error("E0106", "nested too deeply", place, f"more than {deepest} levels deep from here on", help=help)


def not_utf8(name: str, data: bytes, offset: int) -> Diagnostic:
    """E0110: the byte at `offset` of a file's bytes is no UTF-8."""
    source = Source(name, data.decode(errors="replace"))
    position = len(data[:offset].decode())
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        help = "the file is encoded as UTF-16: save it as UTF-8"
    elif b"\0" in data:
        help = "this does not look like a text file at all"
    else:
        help = "save the file as UTF-8"
    text = f"the byte 0x{data[offset]:02X} is not valid here"
    return error("E0110", f"{name} is not UTF-8 text", source.span(position, position + 1), text, help=help)


def _span(source: Source, token: Token) -> Span:
    assert token.start_pos is not None
    assert token.end_pos is not None
    return source.span(token.start_pos, token.end_pos)


def _place(source: Source, token: Token, recent: Sequence[Token]) -> Span:
    """The token's place; the end of a line or of the file is pointed at right after what stands before it."""
    if token.type not in ("_NEWLINE", "$END"):
        return _span(source, token)
    before = [other for other in recent if other.type != "_NEWLINE"]
    end = before[-1].end_pos or 0 if before else 0
    return source.span(end, end)


def _on_later_line(situation: Situation) -> bool:
    start, end = situation.recent[-1].end_pos, situation.token.start_pos
    return any(sign in situation.source.text[start:end] for sign in "\r\n")


def _describe(token: Token) -> str:
    if token.type == "_NEWLINE":
        return "end of the line"
    if token.type == "$END":
        return "end of the file"
    shown = str(token) if len(token) <= 30 else token[:30] + "…"
    kind = {"NAME": "name ", "NUMBER": "number ", "STRING": "string "}.get(token.type, "")
    return f"{kind}`{shown}`"


def _expectation(accepted: set[str], lark: Lark) -> str:
    """What could have stood there: groups by name, then single words and signs."""
    left = set(accepted)
    if left & {"LAYER", "MINIMIZE", "MODEL"}:
        left -= {"_NEWLINE", "SEMICOLON", "$END"}
    if "_NEWLINE" in left:
        left -= {"RBRACE"}
    if "EQUAL" in left:
        left -= {"COMMA"}
    words = []
    for marker, group, members in _GROUPS:
        if marker in left:
            words.append(group)
            left -= set(members.split())
    words += [kind for terminal, kind in _KINDS.items() if terminal in left]
    operator = bool(left & set(_OPERATORS.split()))
    ends = left & {*_LINE_ENDS, "$END"}
    left -= {*_KINDS, *ends, *((_OPERATORS + " IF DOT LPAR LSQB").split() if operator else ())}
    words += sorted(f"`{_written(terminal, lark)}`" for terminal in left)
    if operator:
        words.append("an operator")
    if ends:
        words.append("the end of the file" if ends == {"$END"} else "the end of the line")
    *others, final = words
    return f"{', '.join(others)} or {final}" if others else final


def _written(terminal: str, lark: Lark) -> str:
    """A word or sign of the language as it is written."""
    pattern = lark.get_terminal(terminal).pattern
    return pattern.value if isinstance(pattern, PatternStr) else terminal.lower()


def _advice(situation: Situation, lark: Lark) -> tuple[str, ...]:
    token, accepted = situation.token, situation.accepted
    recent = [other.type for other in situation.recent]
    if token.type == "FLOOR_DIVIDE" or (token.type == "NAME" and recent == ["FLOOR_DIVIDE", "NAME"]):
        return ("a comment begins with `#`",)
    if token.type == "LSQB" and accepted == {"COLON"}:
        return ("several results have names: (mean: f32[N, 2], spread: f32[N, 2])",)
    before = situation.recent[-1] if situation.recent else None
    if before is not None and accepted == {"EQUAL", "COMMA"}:
        nearest = did_you_mean(before, _STATEMENTS.lower().split())
        return (f"did you mean `{nearest}`?",) if nearest else ("values are named with `name = …`",)
    if token.type == "EQUAL" and before is not None and before.type in _STATEMENTS.split():
        return (f"`{before}` begins a statement here; name the value otherwise",)
    if token.type == "EQUAL" and recent == ["COLON", "NAME"]:
        return (
            f"a label stands before a stage: label the layers of {before} with layer, or write {before} = it below",
        )
    if token.type == "EQUAL" and "COMPARISON" in accepted:
        return ("`==` compares, `=` names a value",)
    if token.type in ("COMPARISON", "AT_MOST") and "AND" in accepted:
        return ("comparisons do not chain: write `a < b and b < c`",)
    if token.type in ("IF", "ELSE", "AND", "OR", "NOT", "TRUE", "FALSE") and "NAME" in accepted:
        return (f"`{token}` is a word of the language and cannot be a name",)
    if before is not None and before in _FOREIGN and {"ARROW", "_NEWLINE"} <= accepted:
        return (_FOREIGN[str(before)],)
    if token.type in ("NAME", "NUMBER", "STRING") and {"ARROW", "_NEWLINE"} <= accepted:
        return ("begin a new line for the next stage, or join the two with `->`",)
    if token.type == "NAME":
        keywords = [word for terminal in accepted - {"$END"} if (word := _written(terminal, lark)).isalpha()]
        nearest = did_you_mean(token, keywords)
        return (f"did you mean `{nearest}`?",) if nearest else ()
    return ()
