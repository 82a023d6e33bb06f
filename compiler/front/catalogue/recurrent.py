"""Recurrent layers: what goes through a sequence step by step and remembers.

Their weights have PyTorch's names, shapes, order of gates and first values, so that a state dict of PyTorch's fits by
its names: ``weight_ih_l0`` of an ``nn.LSTM`` is ``Model.lstm.weight_ih_l0`` here. Keras keeps the transposed kernels,
one bias for ``SimpleRNN`` and ``LSTM`` (the other is 0 then), and for ``GRU`` the gates in the order z, r, n.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal, TypeAlias

from compiler.front.catalogue.entry import ArgumentError, Context, Tensors, Value, entry
from compiler.front.catalogue.initialisers import uniform_initialiser
from compiler.front.catalogue.layers import dropout as drop
from compiler.front.catalogue.layers import fixed_size
from compiler.ir.dims import Dim, equal
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.gru import Gru, GruTraining
from compiler.ops.lstm import Lstm, LstmTraining
from compiler.ops.recurrent import Recurrent
from compiler.ops.rnn import Rnn

# The result, or the result and the last state.
Given: TypeAlias = "Value | tuple[Value, Value | Tensors]"


@entry("layer")
def rnn(
    c: Context,
    x: Value,
    units: int,
    layers: int = 1,
    *,
    bidirectional: bool = False,
    activation: Literal["tanh", "relu"] = "tanh",
    sequence: bool = False,
    dropout: float = 0.0,
    bias: bool = True,
    state: Value | None = None,
    lengths: Value | None = None,
    give_state: bool = False,
) -> Given:
    """A plain recurrent layer: h' = activation(W x + b + R h + d).

    Takes ``[N, T, features]`` and gives ``[N, units]``, the state after the last step, as Keras does, or with
    ``sequence=true`` ``[N, T, units]``, that after each. ``bidirectional=true`` sets a second one beside it that goes
    from the end to the beginning; the units of both stand side by side, without ``sequence`` those of each direction's
    own last step, as in Keras and in PyTorch's ``h_n``. ``layers=2`` puts another one on top of the whole sequence,
    with ``dropout`` in between while training. ``lengths``, whole numbers ``[N]`` from 0 to T, tell how many steps of
    each sequence count: the others change no state and give 0.

    ``state`` is what it begins with, 0 where it is not given. With ``give_state=true`` it gives a pair, of which the
    second part is the state that it ends with: ``y, after = x -> gru(8, state=before, give_state=true)``. A state is
    ``[N, units]``, and with several layers or directions ``[N, layers * directions, units]``.

    Weights of layer 0: ``weight_ih_l0`` [units, features], ``weight_hh_l0`` [units, units], ``bias_ih_l0`` and
    ``bias_hh_l0`` [units]; those of the other direction end with ``_reverse``. They begin as in PyTorch, even within
    ±1/sqrt(units). Elman, Finding structure in time, 1990.
    """
    kind = Rnn(activation=activation)
    stack = _Stack(c, "rnn", kind, kind, units, layers, bidirectional, dropout, bias)
    return stack.run(x, () if state is None else (state,), lengths, sequence, give_state)


@entry("layer")
def lstm(
    c: Context,
    x: Value,
    units: int,
    layers: int = 1,
    *,
    bidirectional: bool = False,
    sequence: bool = False,
    dropout: float = 0.0,
    bias: bool = True,
    state: Tensors | None = None,
    lengths: Value | None = None,
    give_state: bool = False,
) -> Given:
    """Long short-term memory: a recurrent layer with a cell that gates write, keep and read.

    Takes ``[N, T, features]`` and gives ``[N, units]``, the state after the last step, or with ``sequence=true``
    ``[N, T, units]``, that after each. The arguments are those of ``rnn``; a state is a pair, hidden and cell state,
    as in ``state=(h, c)``.

    i, f, o = sigmoid(…) and g = tanh(…), each of a sum W x + b + R h + d of its own; c' = f·c + i·g; h' = o·tanh(c').
    Weights of layer 0: ``weight_ih_l0`` [4·units, features], ``weight_hh_l0`` [4·units, units], ``bias_ih_l0`` and
    ``bias_hh_l0`` [4·units], the rows of i, f, g, o one behind the other, as in PyTorch. Hochreiter and Schmidhuber,
    Long short-term memory, 1997; Gers et al., Learning to forget, 2000.
    """
    stack = _Stack(c, "lstm", Lstm(), LstmTraining(), units, layers, bidirectional, dropout, bias)
    return stack.run(x, state or (), lengths, sequence, give_state)


@entry("layer")
def gru(
    c: Context,
    x: Value,
    units: int,
    layers: int = 1,
    *,
    bidirectional: bool = False,
    sequence: bool = False,
    dropout: float = 0.0,
    bias: bool = True,
    state: Value | None = None,
    lengths: Value | None = None,
    give_state: bool = False,
) -> Given:
    """A gated recurrent unit: a recurrent layer whose gates decide what of its state is kept.

    Takes ``[N, T, features]`` and gives ``[N, units]``, the state after the last step, or with ``sequence=true``
    ``[N, T, units]``, that after each. The arguments are those of ``rnn``.

    r, z = sigmoid(W x + b + R h + d), n = tanh(W x + b + r·(R h + d)), h' = (1 - z)·n + z·h: the reset gate acts
    behind the product, as in PyTorch and Keras. Weights of layer 0: ``weight_ih_l0`` [3·units, features],
    ``weight_hh_l0`` [3·units, units], ``bias_ih_l0`` and ``bias_hh_l0`` [3·units], the rows of r, z, n one behind the
    other, as in PyTorch. Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.
    """
    stack = _Stack(c, "gru", Gru(), GruTraining(), units, layers, bidirectional, dropout, bias)
    return stack.run(x, () if state is None else (state,), lengths, sequence, give_state)


@dataclass(frozen=True)
class _Stack:
    """The layers of one call, in both directions where ``bidirectional``; ``training`` is ``kind`` that keeps what its
    gradient needs."""

    c: Context
    name: str
    kind: Recurrent
    training: Recurrent
    units: int
    layers: int
    bidirectional: bool
    dropout: float
    bias: bool

    def __post_init__(self) -> None:
        for argument, value in (("units", self.units), ("layers", self.layers)):
            if value < 1:
                raise ArgumentError(argument, f"{self.name} needs {argument} to be at least 1, not {value}")
        if not 0.0 <= self.dropout < 1.0:
            title = f"a dropout rate lies from 0 up to, not including, 1: {self.dropout} does not"
            raise ArgumentError("dropout", title)
        if self.dropout and self.layers == 1:
            raise ArgumentError(
                "dropout",
                f"dropout of {self.name} stands between its layers, and there is one",
                "this would change nothing",
                (f"put dropout({self.dropout}) behind it, or ask for layers=2",),
            )

    def run(self, x: Value, state: Sequence[Value], lengths: Value | None, sequence: bool, give_state: bool) -> Given:
        """The stack over x, as the layers give it."""
        self._check_input(x)
        self._check_state(x, state)
        if lengths is not None:
            check_lengths(self.c, "lengths", lengths, *x.type.shape[:2])
        b = self.c.b
        y, ends = b.transpose(x, (1, 0, 2)), list[Tensors]()
        for layer in range(self.layers):
            if layer and self.dropout:
                y = drop(self.c, y, self.dropout)
            y, last = self._layer(y, layer, tuple(self._of_layer(part, layer) for part in state), lengths)
            ends.append(last)
        hidden = ends[-1][0]
        result = b.transpose(y, (1, 0, 2)) if sequence else b.reshape(hidden, (x.type.shape[0], y.type.shape[2]))
        if not give_state:
            return result
        after = tuple(self._together(parts) for parts in zip(*ends, strict=True))
        return result, after if self.kind.state_count > 1 else after[0]

    @property
    def _directions(self) -> int:
        return 1 + self.bidirectional

    def _layer(self, x: Value, layer: int, states: Tensors, lengths: Value | None) -> tuple[Value, Tensors]:
        """One layer: its sequence [T, N, directions * units] and its last states."""
        operation = replace(
            self.training if self.c.training else self.kind,
            direction="both" if self.bidirectional else "forward",
            bias=self.bias,
            state=bool(states),
            lengths=lengths is not None,
        )
        weights = [w for reverse in (False, True)[: self._directions] for w in self._weights(x, layer, reverse)]
        y, *others = self.c.b.add_node(operation, (x, *weights, *states, *([] if lengths is None else [lengths])))
        return y, tuple(others[: self.kind.state_count])

    def _weights(self, x: Value, layer: int, reverse: bool) -> Iterator[Value]:
        features, gates = fixed_size(x, -1, self.name), len(self.kind.gate_order) * self.units
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, features), "weight_hh": (gates, self.units)}
        if self.bias:
            shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
        init = uniform_initialiser(1 / sqrt(self.units))
        for name, shape in shapes.items():
            full = f"{name}_l{layer}{'_reverse' if reverse else ''}"
            yield self.c.weight(full, TensorType(x.type.dtype, shape), init, decays=len(shape) > 1)

    def _of_layer(self, state: Value, layer: int) -> Value:
        """What one layer begins with: [N, units], or [N, 2, units] for both directions."""
        if self.layers == 1:
            return state
        b, count, (batch, _, units) = self.c.b, self._directions, state.type.shape
        part = b.slice(state, (0, layer * count, 0), (batch, (layer + 1) * count, units))
        return part if self.bidirectional else b.reshape(part, (batch, units))

    def _together(self, states: Sequence[Value]) -> Value:
        """The last states of all layers as one."""
        if len(states) == 1:
            return states[0]
        b, batch = self.c.b, states[0].type.shape[0]
        return b.concat([b.reshape(state, (batch, self._directions, self.units)) for state in states], 1)

    def _check_state(self, x: Value, state: Sequence[Value]) -> None:
        if state and len(state) != self.kind.state_count:
            title = f"the state of {self.name} is a pair of tensors, hidden and cell state"
            found = "one tensor" if len(state) == 1 else f"{len(state)} tensors"
            raise ArgumentError("state", title, found, ("write state=(h, c)",))
        batch, places = x.type.shape[0], self.layers * self._directions
        wanted = x.type.with_shape((batch, self.units) if places == 1 else (batch, places, self.units))
        for part in state:
            if not _same(part.type, wanted):
                title = f"the state of this {self.name} is {wanted}, not {part.type}"
                raise ArgumentError("state", title, f"this is {part.type}")

    def _check_input(self, x: Value) -> None:
        type = x.type
        if type.dtype.is_float and type.rank == 3:
            fixed_size(x, -1, self.name)
            return
        code, detail, help = "E0303", f"these are {type.dtype}", "convert them first: cast(f32)"
        if type.dtype.is_integer and type.rank == 2:
            help = "give each index features first: embed(vocabulary, dims)"
        elif type.dtype.is_float:
            code, detail = "E0301", f"this has {type.rank} dimensions, not samples, steps and features"
            help = "steps of one number each have one feature: reshape(-1, 1)" if type.rank == 2 else ""
        title = f"{self.name} takes sequences such as f32[N, T, 16], not {type}"
        raise TypeMismatch(code, title, detail, (help,) if help else ())


def check_lengths(c: Context, argument: str, lengths: Value, batch: Dim, most: Dim) -> None:
    """ArgumentError unless ``lengths`` are whole numbers [batch]; those among the data may be 0 to ``most``."""
    type = lengths.type
    if type.dtype not in (DType.I32, DType.I64):
        raise ArgumentError(
            argument, f"lengths are whole numbers, i32 or i64, not {type}", f"this is {type.dtype}",
            (f"convert them first: {argument} -> cast(i64)",),
        )  # fmt: skip
    if not _same(type, TensorType(type.dtype, (batch,))):
        raise ArgumentError(argument, f"there has to be one length for each of the {batch} sequences, not {type}")
    c.index_range(lengths, most + 1)


def _same(type: TensorType, wanted: TensorType) -> bool:
    """Whether the types are known to be the same."""
    if type.dtype is not wanted.dtype or type.rank != wanted.rank:
        return False
    return all(equal(one, other) for one, other in zip(type.shape, wanted.shape, strict=True))
