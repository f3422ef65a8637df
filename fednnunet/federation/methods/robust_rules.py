"""Robust rules that need the sites' inner products alone: each gives the sites' weights.

With u_k the change of site k (its reply minus what all received) and G its Gram matrix,
G_kl = <u_k, u_l>, squared distances are G_kk + G_ll - 2 G_kl. So nearest-neighbour mixing, Krum and
centred clipping, which look at whole updates, are computed on a small matrix (n, n), and their
results are sums of updates with the weights found. n sites reply, f of them may be hostile.

Nearest-neighbour mixing (NNM; Allouah et al., "Fixing by Mixing", AISTATS 2023): each update is
replaced by the mean of the n - f updates that are nearest to it, its own included. Honest sites
whose data differ come closer together, and a rule behind it does not take their differences for
attacks.

Krum and Multi-Krum (Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017): a site's
score is the sum of its squared distances to its n - f - 2 nearest others. Krum takes the update
with the lowest score, Multi-Krum the mean of the n - f updates with the lowest.

Centred clipping (Karimireddy et al., "Learning from History for Byzantine Robust Optimization",
ICML 2021): from v = 0, the received weights, three times

    v <- v + 1/n sum over k of (u_k - v) min(1, radius / |u_k - v|).

The paper's radius is a constant; here it is the median of the distances |u_k - v|, unless given.
"""

from __future__ import annotations

import torch
from torch import Tensor

CLIPPINGS = 3


def mixing_weights(gram: Tensor, faulty: int) -> Tensor:
    """Weights (n, n) of nearest-neighbour mixing: row k holds those of the mixed update k."""
    sites = len(gram)
    near = _nearest(distances(gram), sites - faulty)
    return torch.zeros_like(gram).scatter_(1, near, 1 / (sites - faulty))


def krum_weights(gram: Tensor, faulty: int, chosen: int) -> Tensor:
    """Weights (n,) of the mean of the `chosen` updates with the lowest scores."""
    sites = len(gram)
    squares = distances(gram)
    others = squares.masked_fill(torch.eye(sites, dtype=torch.bool), torch.inf)
    scores = others.sort(1).values[:, : sites - faulty - 2].sum(1)
    best = scores.sort(stable=True).indices[:chosen]
    return torch.zeros(sites, dtype=gram.dtype).scatter_(0, best, 1 / chosen)


def clipping_weights(gram: Tensor, radius: float = 0.0) -> Tensor:
    """Weights (n,) of the sum that centred clipping ends with; radius 0 takes the median."""
    sites = len(gram)
    centre = torch.zeros(sites, dtype=gram.dtype)
    for _ in range(CLIPPINGS):
        squares = gram.diagonal() - 2 * gram @ centre + centre @ gram @ centre
        far = squares.clamp_min(0).sqrt()
        bound = radius or float(far.quantile(0.5))
        shares = torch.where(far > bound, bound / far.clamp_min(1e-300), 1.0) / sites
        centre = centre * (1 - shares.sum()) + shares
    return centre


def distances(gram: Tensor) -> Tensor:
    """Squared distances (n, n) between updates."""
    own = gram.diagonal()
    return (own[:, None] + own[None] - 2 * gram).clamp_min(0).fill_diagonal_(0)


def _nearest(squares: Tensor, count: int) -> Tensor:
    """Indices (n, count) of the nearest updates of each, in order; of equals, the first by site."""
    return squares.sort(dim=1, stable=True).indices[:, :count]
