"""What of the sites' updates opposes each other is dropped before their mean is taken.

Zhu et al., "FedDM: Federated Weakly Supervised Segmentation via Annotation Calibration and Gradient
De-Conflicting", IEEE TMI 2023; the projection is that of Yu et al., "Gradient Surgery for
Multi-Task Learning", NeurIPS 2020. With D_k the update of site k (its reply minus what it
received), D'_k begins as D_k, and for every other site j, in the order of their names,

    where D'_k . D_j < 0:   D'_k <- D'_k - (D'_k . D_j / D_j . D_j) D_j,

so the component of D'_k that is parallel to D_j and opposes it is gone. The next model is the mean
of the replies plus sum_k w_k (D'_k - D_k), with weights that sum to 1. FedDM does this along a tree
of clusters of sites, from its leaves up; here all sites are compared at once. Without a conflict
this is the plain mean, bit for bit. Only trained tensors take part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.updates import UpdateProducts
from fednnunet.network.roles import is_trained


def without_conflicts(
    state: State, replies: Sequence[Reply], weights: Mapping[str, float]
) -> dict[str, float]:
    """What is to be added of each site's update to the mean of the replies; none is 0.

    `weights` are by site, and need not sum to 1. The tensors that replies have are compared.
    """
    products = UpdateProducts.of(state, replies, lambda name: name in replies[0].tensors)
    total = sum(weights[site] for site in products.sites)
    plain = torch.tensor([weights[site] / total for site in products.sites], dtype=torch.float64)
    changed = plain @ _projections(products.products)
    pairs = zip(products.sites, (changed - plain).tolist(), strict=True)
    return {site: change for site, change in pairs if change}


def add_updates(
    mean: Mapping[str, Tensor],
    state: State,
    replies: Sequence[Reply],
    factors: Mapping[str, float],
) -> dict[str, Tensor]:
    """The mean plus the sum of each named site's update times its factor; trained tensors only."""
    found = dict(mean)
    chosen = sorted((r for r in replies if r.site in factors), key=lambda reply: reply.site)
    if not chosen:
        return found
    for name in [name for name, tensor in mean.items() if is_trained(name, tensor)]:
        moved = found[name].double()
        for reply in chosen:
            update = reply.tensors[name].double() - state.received(reply.site)[name].double()
            moved = moved + factors[reply.site] * update
        found[name] = moved.to(found[name].dtype)
    return found


def _projections(products: Tensor) -> Tensor:
    """Row k has the factors of all updates in D'_k; (n, n), float64, from inner products."""
    rows = torch.eye(len(products), dtype=torch.float64)
    for k, row in enumerate(rows):
        for j in range(len(products)):
            along = float(row @ products[:, j])
            if j != k and along < 0:
                row[j] -= along / float(products[j, j])
    return rows
