"""Where to go on reading after a syntax error."""

import re

_PIECE = re.compile(
    r"""
      (?P<nothing> "(?:[^"\\\r\n]|\\[^\r\n])*+"? | \#[^\r\n]* )
    | (?P<end>     ; | (?:(?:\r\n?|\n)[ \t]*+(?:\#[^\r\n]*+)?+)++
                   (?!->|\{|else\b|(?:over|with)[ \t]+(?!(?:if|and|or)\b)[A-Za-z_]) )
    | (?P<open>    [(\[{] )
    | (?P<close>   [)\]}] )
    """,
    re.VERBOSE,
)
_DECLARATION = re.compile(
    r"""
      (?:model|block|train)[ \t]+\w+[ \t]*\( | const[ \t]+\w+[ \t]*= | import[ \t]+[\w\"]
    | (?:author|license|description)[ \t]+\" | weights[ \t]+\w+[ \t]+from\b
    """,
    re.VERBOSE,
)
_PARTNERS = {")": "(", "]": "[", "}": "{"}


def begins_declaration(text: str, start: int) -> bool:
    """Whether a declaration begins at `start`."""
    return _DECLARATION.match(text, start) is not None


def skip_stage(text: str, start: int, pending: list[str], inside_body: bool) -> tuple[int, bool]:
    """Where the stage at `start` ends, and whether the `pending` open brackets are closed by then.

    A stage ends before a line end (or `;`) with no bracket open, before the `}` of its body and before a declaration.
    Where its round or square brackets are never closed, it ends with the line, since what follows is then most likely
    sound. Outside bodies only a declaration or the end of the text ends what cannot be read.
    """
    pending = list(pending)
    line_end: int | None = None  # where the stage ends if its brackets are not closed
    for piece in _PIECE.finditer(text, start):
        sign = piece[0]
        if piece["open"]:
            pending.append(sign)
        elif piece["close"] and _PARTNERS[sign] in pending:
            while pending.pop() != _PARTNERS[sign]:
                pass
        elif (sign == "}" and inside_body) or (piece["end"] and begins_declaration(text, piece.end())):
            return (piece.start() if line_end is None else line_end), not pending
        elif piece["end"] and inside_body:
            if not pending:
                return piece.start(), True
            if line_end is None and "{" not in pending:
                line_end = piece.start()
    return (len(text) if line_end is None else line_end), not pending
