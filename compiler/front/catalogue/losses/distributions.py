"""Distances between distributions."""

from __future__ import annotations

from compiler.front.catalogue.entry import Context, Value, entry
from compiler.front.catalogue.losses.common import (
    Given,
    checked_axis,
    class_logarithms,
    comparable,
    mean_of,
    tiny,
)


@entry("loss")
def kl(
    c: Context, x: Value, target: Value, *, mask: Value | None = None, given: Given = "auto", axis: int = -1
) -> Value:
    """The mean over all samples of the Kullback-Leibler divergence, the sum of t·(log t - log p) over ``axis``.

    ``target`` t holds the probabilities that are to be met, in the shape of ``x``. p is that of ``x``: scores
    (logits), logarithms of probabilities, which are scores too, or probabilities. It is PyTorch's ``kl_div`` with
    ``reduction="batchmean"``, not its default, which divides by the number of classes too. ``mask`` has the shape of
    the samples, or the first dimensions of it. For the latent space of a variational autoencoder see ``gaussian_kl``.
    """
    b = c.b
    comparable("kl", x, target)
    axis = checked_axis(x, axis)
    # Where t is 0 the product is 0, however small a number the logarithm is taken of.
    difference = b.sub(b.log(b.maximum(target, tiny(target))), class_logarithms(b, x, given, axis))
    return mean_of(c, "kl", b.sum(b.mul(target, difference), (axis,)), mask)


@entry("loss")
def gaussian_kl(c: Context, mean: Value, logvar: Value) -> Value:
    """The divergence of normal distributions from the standard one: what a variational autoencoder adds to its loss.

    ``mean`` and ``logvar`` ``[N, …]`` hold the means and the logarithms of the variances. Gives the mean over the N
    samples of the sum of (mean² + exp(logvar) - 1 - logvar)/2 over all else: Kingma and Welling, Auto-encoding
    variational Bayes, 2014, appendix B. As it is a sum over the latent variables, the reconstruction is to be a sum
    over the elements too: with D elements to a sample ``mse(y, x) + gaussian_kl(mean, logvar) / D`` weighs the two so
    (the likelihood being normal, with variance 1/2).
    """
    b = c.b
    comparable("gaussian_kl", mean, logvar)
    each = b.add(b.square(mean), b.sub(b.expm1(logvar), logvar))
    return b.mul(b.mean(b.sum(each, tuple(range(1, each.type.rank)))), 0.5)
