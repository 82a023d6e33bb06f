"""Arrays that stay on the device between runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.data.widening import ArrayLike
from runtime.disk.tensors import Array
from runtime.inference.ranges import check_ranges
from runtime.programs.signature import Port, by_name

if TYPE_CHECKING:
    from runtime.inference.session import InferenceSession


class Binding:
    """Inputs of a session that are copied to its device once, and results that are copied from it only when they are
    asked for: ``binding.run()``, then ``binding.result("output")``.

    Made by :meth:`InferenceSession.bind`. ``feed`` gives an input another array, ``connect`` the result of the run
    before, which never leaves the device: that is how a state goes from step to step. On a CPU it saves the checks of
    each run.
    """

    def __init__(self, session: InferenceSession, inputs: ArrayLike | Mapping[str, ArrayLike]) -> None:
        self._session = session
        self._device = session.device
        self._binding: Any = session.io_binding()
        self._held: dict[str, Any] = {}  # what is bound has to live as long as the binding
        self._results: dict[str, Any] = {}
        self.feed(inputs)

    def feed(self, inputs: ArrayLike | Mapping[str, ArrayLike]) -> None:
        """Give these inputs, which may be some of the model's, new arrays. Raises DiagnosticError as ``run`` does."""
        given = by_name(self._session.inputs, inputs, self._session.name)
        ports = {port.name: port for port in self._session.inputs}
        held = {name: _outline(value, ports[name]) for name, value in self._held.items() if name not in given}
        self._session.check({**held, **given})
        arrays = {name: np.asarray(array, ports[name].dtype.numpy, order="C") for name, array in given.items()}
        told = self._session.description
        check_ranges(arrays, told.ranges, told.names, {})
        for name, array in arrays.items():
            self._bind(name, self._session.on_device(array))

    def connect(self, output: str, input: str) -> None:
        """Let the result ``output`` of the last run be ``input`` from now on. Raises KeyError before the first run, and
        for a name that the model does not have."""
        if input not in {port.name for port in self._session.inputs}:
            raise KeyError(input)
        self._bind(input, self._results[output])

    def run(self) -> None:
        """Raises DiagnosticError where the run fails (E0913)."""
        # New buffers for each run: a result may be bound to an input, and would be overwritten while it is read.
        self._binding.clear_binding_outputs()
        for port in self._session.outputs:
            self._binding.bind_output(port.name, self._device)
        self._session.run_bound(self._binding)
        names = [port.name for port in self._session.outputs]
        self._results = dict(zip(names, self._binding.get_outputs(), strict=True))

    def result(self, name: str) -> Array:
        """A result of the last run, copied from the device. Raises KeyError for one that is not there."""
        return np.asarray(self._results[name].numpy())

    def _bind(self, name: str, value: Any) -> None:
        self._held[name] = value
        self._binding.bind_ortvalue_input(name, value)


def _outline(value: Any, port: Port) -> Array:
    """An array of the shape of a value on the device, which takes no memory."""
    return np.broadcast_to(np.zeros((), port.dtype.numpy), value.shape())
