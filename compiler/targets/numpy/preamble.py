"""What every generated module says and has."""

ENVIRONMENT = """\
import os
import sys

if "numpy" not in sys.modules:
    for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(_name, "1")
"""

HOW_TO = """\
Each function is made by its `bind_...`, which takes the weights and the sizes and makes every array that the
function works in, once:

    kept = dict(np.load("weights.npz"))  # weights and state: arrays by name\
"""

WHAT_HOLDS = """\
Functions that train change the arrays in `kept`. Results are the function's own arrays, which its next call overwrites:
copy what has to last, and what is to be an argument again. Arguments are contiguous arrays of the types in SIGNATURES.
Two threads can't run one bound function at the same time: bind one for each.

Import this file before NumPy, or set OPENBLAS_NUM_THREADS=1: sums that threads share are rounded differently, and
one thread gives the numbers that training gave.\
"""

IN_PARTS = """
A function `in_parts` does one part of its work after the other. Its `bind_...` also takes `memory`, which gives so many
bytes, and `share`, which makes one function of a list of them, told how many multiply-adds they do: they may run at
the same time, by whoever sees that memory, and the numbers stay the same.\
"""

SIGNATURES = """\
# For each function the sizes it is bound to, its arguments, its results, and what it changes in `kept`; `neighbours`
# are arrays of `kept` that are updated in one go where they lie one behind the other in memory.\
"""

MEMORY = '''\
def _memory(size):
    """`size` bytes that begin at a multiple of 64."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def _array(memory, dtype, shape):
    """An array at the beginning of `memory`."""
    return np.ndarray(shape, dtype, memory)


def _kept(kept, name, dtype, shape):
    """The array that is kept under `name`, which is read, and changed, where it is."""
    array = kept[name]
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} has to be an array of {np.dtype(dtype)} with shape {shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} has to be contiguous")
    return array\
'''

DECODE = '''\
def _decode(dtype, shape, text):
    """The array whose bytes are `text` in base64."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)\
'''

ENTER = '''\
def _enter(function, place):
    """Is told where the program goes on: at a place of the source, or nowhere when a function returns."""\
'''

IN_TURN = '''\
def in_turn(tasks, work):
    """A function that calls each of `tasks`, which do so much `work`."""

    def call():
        for task in tasks:
            task()

    return call
'''
