"""Running a model's NumPy program on arrays."""

from __future__ import annotations

from collections.abc import Mapping

import compiler
from compiler.diagnostics import DiagnosticError, error
from compiler.ir.graph import Role
from compiler.program import ModelProgram
from runtime.data.widening import ArrayLike
from runtime.disk.tensors import Array
from runtime.programs.engine import Engine
from runtime.programs.signature import Port, by_name, match


class Predictor:
    """A model with weights: the arrays given, which it reads at every call and never changes."""

    def __init__(self, program: ModelProgram, weights: Mapping[str, Array]) -> None:
        self.program = program
        self._engine = Engine(compiler.model_module(program), weights, program.name)
        values = program.graph.inputs_of(Role.DATA)
        self._ports = tuple(
            Port(value.name, value.type.dtype, tuple(d if isinstance(d, int) else str(d) for d in value.type.shape))
            for value in values
        )
        self._bounds = {symbol.name: symbol for symbol in program.graph.symbols if symbol.bounds_text}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name for arrays that fit; they are overwritten by the next call."""
        return self._engine.call("infer", inputs)

    def predict(self, given: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Array]:
        """The outputs by name, arrays of their own.

        ``given`` are the inputs by name, or the one input; lists of Python numbers take its element type. Raises
        DiagnosticError where names (E0910), element types (E0911) or shapes (E0912) do not fit, or a size is 0 (E0609).
        """
        arrays = by_name(self._ports, given, self.program.name)
        fitting = match(self._ports, arrays, self._bounds, {})
        for name, array in fitting.items():
            if array.size == 0:
                title = f"input `{name}` holds nothing: {list(array.shape)}"
                raise DiagnosticError([error("E0609", title, None, help="give at least one sample")])
        results = self.run(fitting)
        return {name: array.copy() for name, array in results.items()}
