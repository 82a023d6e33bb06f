"""Embeddings and positions: what turns indices into features, and tells features where they stand."""

from __future__ import annotations

from compiler.front.catalogue.entry import ArgumentError, Context, Initialiser, Value, entry
from compiler.front.catalogue.initialisers import uniform_initialiser
from compiler.front.catalogue.layers import fixed_size, need_float
from compiler.ir.dims import Dim, less_equal
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.emit import Emit
from compiler.ops.positions import Sinusoids

# As in Keras: PyTorch's N(0, 1) is too wide where the embedding is the output's matrix as well.
EMBEDDING = uniform_initialiser(0.05)


@entry("layer")
def embed(
    c: Context, x: Value, vocabulary: int, dims: int, *, padding: int | None = None, init: Initialiser = EMBEDDING
) -> Value:
    """A vector of ``dims`` features for each index: its row of a table that is learned.

    Takes indices ``[…]`` from 0 to ``vocabulary`` - 1 and gives ``[…, dims]``. Weights: ``weight`` [vocabulary, dims],
    even within ±0.05 at first, as in Keras. The index ``padding`` gives zeros, and its row is not learned.
    """
    for name, value in (("vocabulary", vocabulary), ("dims", dims)):
        if value < 1:
            raise ArgumentError(name, f"embed needs {name} to be at least 1, not {value}")
    if padding is not None and not 0 <= padding < vocabulary:
        raise ArgumentError("padding", f"the padding is one of the indices 0 to {vocabulary - 1}, not {padding}")
    if not x.type.dtype.is_integer:
        raise TypeMismatch(
            "E0303",
            f"embed takes indices, which are whole numbers, not {x.type}",
            f"this is {x.type.dtype}",
            ("declare them as i64, or convert them: cast(i64)",),
        )
    b = c.b
    c.index_range(x, vocabulary)
    indices = x if x.type.dtype in (DType.I32, DType.I64) else b.cast(x, DType.I64)
    result = b.gather(c.weight("weight", TensorType(DType.F32, (vocabulary, dims)), init), indices)
    if padding is None:
        return result
    there = b.not_equal(indices, padding)
    return b.mask(result, b.reshape(there, (*x.type.shape, 1)))


def _steps(x: Value, layer: str) -> tuple[Dim, int]:
    """The length of a sequence ``[N, T, D]`` and its features."""
    need_float(x, layer)
    if x.type.rank < 2:
        raise TypeMismatch("E0301", f"{layer} takes a sequence of features such as f32[N, T, 64], not {x.type}")
    return x.type.shape[-2], fixed_size(x, -1, layer)


@entry("layer")
def position(c: Context, x: Value, length: int, *, init: Initialiser = EMBEDDING) -> Value:
    """Adds a learned vector for its position to each step of a sequence of at most ``length`` steps.

    Takes ``[N, T, D]`` and gives the same; what T can be at most has to be known: ``T <= 64`` in the signature.
    Weights: ``weight`` [length, D]. Gehring et al., Convolutional sequence to sequence learning, 2017.
    """
    steps, features = _steps(x, "position")
    if length < 1:
        raise ArgumentError("length", f"position needs room for at least one step, not {length}")
    fits = less_equal(steps, length)
    if fits is None:
        raise TypeMismatch(
            "E0302",
            f"position({length}) has place for {length} steps, and {x.type} may have more",
            f"{steps} is not known to be at most {length}",
            (f"bound it in the signature: {steps} <= {length}",),
        )
    if not fits:
        raise TypeMismatch(
            "E0301",
            f"position({length}) has no place for the {steps} steps of {x.type}",
            f"{steps} steps, {length} positions",
            (f"make room for them: position({steps})",),
        )
    b = c.b
    table = c.weight("weight", TensorType(x.type.dtype, (length, features)), init)
    return b.add(x, b.slice(table, (0, 0), (steps, features)))


@entry("layer")
def sinusoidal(c: Context, x: Value, *, base: float = 10000.0) -> Value:
    """Adds sines and cosines of its position to each step of a sequence, of any length.

    Takes ``[N, T, D]`` with an even D and gives the same: feature 2i gets sin(t / base^(2i/D)), feature 2i+1 the
    cosine. Vaswani et al., Attention is all you need, 2017, section 3.5.
    """
    steps, features = _steps(x, "sinusoidal")
    return c.b.add(x, c.b.add(Sinusoids(steps, _pairs(x, "sinusoidal", features, base), base, "both", x.type.dtype)))


def _pairs(x: Value, layer: str, features: int, base: float) -> int:
    if base <= 0:
        raise ArgumentError("base", f"the base of the wavelengths is above 0, not {base}")
    if features % 2:
        raise TypeMismatch(
            "E0301",
            f"{layer} takes an even number of features, not the {features} of {x.type}",
            "they are taken in pairs, a sine and a cosine each",
        )
    return features // 2


@entry("layer")
def rotary(c: Context, x: Value, *, base: float = 10000.0) -> Value:
    """Turns pairs of features by angles that grow with the position, so that products tell how far two steps are apart.

    Takes ``[N, T, D]``, or ``[N, T, H, D]`` with heads, with an even D, and gives the same. Feature i goes with feature
    i + D/2 and is turned by t / base^(2i/D). Su et al., RoFormer, 2021, with the pairs as in GPT-NeoX and LLaMA.
    """
    need_float(x, "rotary")
    if x.type.rank not in (3, 4):
        raise TypeMismatch("E0301", f"rotary takes f32[N, T, D] or, with heads, f32[N, T, H, D], not {x.type}")
    _pairs(x, "rotary", fixed_size(x, -1, "rotary"), base)
    return turned(c.b, x, base)


def turned(b: Emit, x: Value, base: float) -> Value:
    """The rotary embedding of x ``[N, T, …, D]`` with an even number D."""
    steps, features = x.type.shape[1], x.type.shape[-1]
    assert isinstance(features, int), "checked by the layers"
    half = features // 2
    shape = (steps, *(1,) * (x.type.rank - 3), half)
    sine, cosine = (
        b.reshape(b.add(Sinusoids(steps, half, base, part, x.type.dtype)), shape) for part in ("sin", "cos")
    )
    first, second = b.split(x, (half, half), -1)
    turned_first = b.sub(b.mul(first, cosine), b.mul(second, sine))
    turned_second = b.add(b.mul(second, cosine), b.mul(first, sine))
    return b.concat([turned_first, turned_second], -1)
