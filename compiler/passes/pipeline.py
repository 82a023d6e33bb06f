"""Passes in order: verified after each, observed and, where asked for, checked against the reference interpreter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from compiler.ir.graph import Graph
from compiler.ir.verify import VerificationError, verify
from compiler.passes.base import Observer, Pass
from compiler.passes.check import check_same_results
from compiler.passes.rewrite import RewritePass, Tracer


class PipelineError(Exception):
    """A pipeline whose passes do not fit one another, or a pass that broke the graph: always a mistake in dlc."""


def _check_is_asked_for() -> bool:
    return os.environ.get("DLC_CHECK", "") not in ("", "0")


@dataclass(frozen=True)
class Pipeline:
    """Passes that run one after the other.

    ``check`` runs the graph before and after each pass on random inputs, and raises ChangedResults that names the pass
    which changed what the graph computes; the environment variable ``DLC_CHECK=1`` asks for it everywhere. ``tracer``
    is told why rewrite rules did not fire. Raises PipelineError where a pass lacks one that it needs before it, or
    comes after one that it must not follow.
    """

    passes: Sequence[Pass]
    observer: Observer | None = None
    check: bool = field(default_factory=_check_is_asked_for)
    tracer: Tracer | None = None

    def __post_init__(self) -> None:
        done: set[str] = set()
        closed: dict[str, str] = {}
        for step in self.passes:
            missing = [name for name in step.after if name not in done]
            if missing:
                raise PipelineError(f"pass {step.name} has to come after {' and '.join(missing)}")
            if step.name in closed:
                raise PipelineError(f"pass {step.name} must not come after {closed[step.name]}")
            done.add(step.name)
            closed.update((name, step.name) for name in step.never_followed_by)

    def run(self, graph: Graph) -> Graph:
        """The graph after all passes. Raises PipelineError for a pass that leaves an unsound graph."""
        for step in self.passes:
            if self.tracer is not None and isinstance(step, RewritePass):
                step = replace(step, tracer=self.tracer)
            graph = self._apply(step, graph)
        return graph

    def _apply(self, step: Pass, before: Graph) -> Graph:
        start = perf_counter()
        after = step.apply(before)
        seconds = perf_counter() - start
        if after is not before:
            _verify(step, before, after)
            if self.check and (part := step.exact_part()) is not None:
                check_same_results(step.name, before, after if part is step else part.apply(before))
        if self.observer is not None:
            self.observer(step.name, before, after, seconds)
        return after


def _verify(step: Pass, before: Graph, after: Graph) -> None:
    try:
        verify(after, before)
    except VerificationError as error:
        raise PipelineError(f"pass {step.name} left an unsound graph: {error}") from error
    if step.keeps_signature and _signature(before) != _signature(after):
        raise PipelineError(f"pass {step.name} changed the inputs or outputs of graph {before.name}")


def _signature(graph: Graph) -> object:
    inputs = [(item.name, item.value.type, item.role) for item in graph.inputs]
    return inputs, [(item.name, item.value.type, item.updates) for item in graph.outputs]
