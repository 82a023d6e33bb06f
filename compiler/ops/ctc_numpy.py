"""The NumPy functions of the CTC loss and its gradient: all sequences of a batch at once, step by step."""

from __future__ import annotations

from compiler.ops.base import NumpyLowering

# The logarithm of the probability of what can't be reached. No real one comes near to it, and twice it is finite.
UNREACHED = -1e30


def with_parts(c: NumpyLowering, name: str, source: str) -> str:
    """The name of a function of the generated module that calls those which both directions share."""
    for shared, text in PARTS.items():
        c.helper(shared, text)
    return c.helper(name, source)


PARTS = {
    "ctc_spelled": f'''\
def ctc_spelled(scores, labels, counts, blank, spelled, jumps, emitted, ends, rows):
    """Fill `spelled` with the class of each place, `jumps` with 0 for those that a path can jump to over a blank, and
    `emitted` with the score of each step and place. Fill `ends` with the two last places of each sequence, in rows
    with two more cells before them."""
    spelled.fill(blank)
    spelled[:, 1::2] = labels
    jumps.fill({UNREACHED})
    np.copyto(jumps[:, 3::2], 0, where=labels[:, 1:] != labels[:, :-1])
    for score, classes, out in zip(scores, spelled, emitted):
        np.take(score, classes, axis=1, out=out, mode="clip")
    np.minimum(counts, labels.shape[1], out=ends[0])
    np.multiply(ends[0], 2, out=ends[0])
    np.add(ends[0], rows, out=ends[0])
    np.add(ends[0], 1, out=ends[1])
    np.add(ends[0], 2, out=ends[0])
''',
    "ctc_reach": '''\
def ctc_reach(stay, step, jump, jumps, out, part):
    """out = log(exp(stay) + exp(step) + exp(jump + jumps)), each relative to the largest of the three."""
    jump = np.add(jump, jumps, out=part[0])
    highest = np.maximum(stay, step, out=part[1])
    np.maximum(highest, jump, out=highest)
    np.exp(np.subtract(jump, highest, out=jump), out=jump)
    np.exp(np.subtract(stay, highest, out=out), out=out)
    np.add(out, jump, out=out)
    np.exp(np.subtract(step, highest, out=jump), out=jump)
    np.add(out, jump, out=out)
    np.log(out, out=out)
    np.add(out, highest, out=out)
''',
}

CTC = f'''\
def ctc(scores, labels, counts, masks, blank, spelled, jumps, emitted, before, ends, rows, part, results):
    """The loss of each sequence, and the logarithm of the probability of all paths up to each step and place.
    `before` has the places of the step before, with two cells in front that nothing reaches."""
    losses, walked = results
    ctc_spelled(scores, labels, counts, blank, spelled, jumps, emitted, ends, rows)
    before.fill({UNREACHED})
    before[:, 2] = 0
    places = before[:, 2:]
    for reached, emission, dead in zip(walked, emitted.transpose(1, 0, 2), masks[1]):
        ctc_reach(places, before[:, 1:-1], before[:, :-2], jumps, reached, part)
        np.add(reached, emission, out=reached)
        np.maximum(reached, {UNREACHED}, out=reached)
        np.copyto(reached, places, where=dead)
        np.copyto(places, reached)
    last = np.take(before, ends)
    np.negative(np.logaddexp(last[0], last[1], out=losses), out=losses)
    np.copyto(losses, np.inf, where=losses > {-UNREACHED / 2})
'''

CTC_GRADIENT = f'''\
def ctc_gradient(
    scores, labels, counts, masks, blank, spelled, jumps, emitted, behind, ends, rows, part, given, work, out
):
    """What part of the paths each step and place has, and so each class. `behind` has the places of the step behind,
    with two cells after them that nothing reaches; `left` is the probability of the paths from a place to the end."""
    losses, walked, d_losses = given
    left, shares, one_hot, classes = work
    ctc_spelled(scores, labels, counts, blank, spelled, jumps, emitted, ends, rows)
    jumps[:, :-2] = jumps[:, 2:]
    jumps[:, -2:] = {UNREACHED}
    # The numbers of cells in `ends` are meant for rows with two cells in front.
    behind.fill({UNREACHED})
    behind.reshape(-1)[ends[0] - 2] = 0
    behind.reshape(-1)[np.maximum(ends[1] - 2, rows)] = 0
    places = behind[:, :-2]
    possible = np.where(np.isfinite(losses), losses, 0)[:, None]
    factors = -d_losses[:, None]
    np.copyto(left, places)
    sequences = (walked, emitted.transpose(1, 0, 2), shares.transpose(1, 0, 2), *masks)
    for reached, emission, share, alive, dead in zip(*(sequence[::-1] for sequence in sequences)):
        np.add(reached, left, out=share)
        np.add(share, possible, out=share)
        np.minimum(share, 0, out=share)
        np.multiply(np.exp(share, out=share), factors, out=share)
        np.copyto(share, 0, where=dead)
        np.add(left, emission, out=places)
        np.maximum(places, {UNREACHED}, out=places)
        ctc_reach(places, behind[:, 1:-1], behind[:, 2:], jumps, part[2], part)
        np.copyto(left, part[2], where=alive)
    np.equal(spelled[:, :, None], classes, out=one_hot)
    np.matmul(shares, one_hot, out=out)
'''
