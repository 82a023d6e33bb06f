"""Where diagnostics are gathered, so that one run reports every mistake of a file."""

from collections.abc import Iterable

from compiler.diagnostics.diagnostic import Diagnostic
from compiler.diagnostics.render import render
from compiler.diagnostics.source import Span


class DiagnosticError(Exception):
    """Carries the diagnostics that stopped the work; as text it is their plain rendering."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return render(self.diagnostics)


class Sink:
    """Gathers errors and warnings; `finish` raises when there is an error."""

    def __init__(self) -> None:
        self._reported: list[Diagnostic] = []
        self._seen: set[tuple[str, str, Span | None]] = set()

    def report(self, diagnostic: Diagnostic) -> None:
        """Takes a diagnostic down, unless the same thing was said of the same place before."""
        span = diagnostic.primary.span if diagnostic.primary else None
        key = diagnostic.code, diagnostic.title, span
        if key not in self._seen:
            self._seen.add(key)
            self._reported.append(diagnostic)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """Errors and warnings, in source order; sources in the order in which they were first spoken of."""
        order: dict[int, int] = {}
        for diagnostic in self._reported:
            if diagnostic.primary is not None:
                order.setdefault(id(diagnostic.primary.span.source), len(order))

        def place(diagnostic: Diagnostic) -> tuple[int, int]:
            if diagnostic.primary is None:
                return len(order), 0
            span = diagnostic.primary.span
            return order[id(span.source)], span.start

        return sorted(self._reported, key=place)

    @property
    def errors(self) -> list[Diagnostic]:
        """The errors so far, in source order."""
        return [diagnostic for diagnostic in self.diagnostics if diagnostic.severity == "error"]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The warnings so far, in source order."""
        return [diagnostic for diagnostic in self.diagnostics if diagnostic.severity == "warning"]

    def finish(self) -> None:
        """Raises DiagnosticError with everything reported, warnings too, if there is an error among it."""
        if self.errors:
            raise DiagnosticError(self.diagnostics)
