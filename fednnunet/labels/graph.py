"""Components of pseudo-labels that are unlike the others of their class are dropped.

A graph clean-up as FedGP's: nodes are the connected components of a class in all patches of the
batch, and two of them are joined where the teacher's mean features over them have a cosine
similarity of at least 0.8. The connected part of the graph with the most voxels is kept, the rest
becomes unknown. In contrast to the largest component alone, an organ that a patch cuts in two, and
several alike lesions, stay.
"""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from fednnunet.labels.components import class_components
from fednnunet.labels.refinement import Guess
from fednnunet.supervision import UNKNOWN

_SIMILAR = 0.8


def drop_unlike_components(guess: Guess) -> Tensor:
    """The labels without components outside of their class's largest group of alike ones."""
    labels = guess.labels.cpu().numpy().copy()
    features = guess.features.float().cpu().numpy()
    nodes: dict[int, list[tuple[int, np.ndarray]]] = {}
    for number, sample in enumerate(labels):
        for value, parts, count in class_components(sample):
            found = [(number, parts == part) for part in range(1, count + 1)]
            nodes.setdefault(value, []).extend(found)
    for found in nodes.values():
        directions = [_direction(features[number], mask) for number, mask in found]
        sizes = [int(mask.sum()) for _, mask in found]
        kept = _largest_group(directions, sizes)
        for index, (number, mask) in enumerate(found):
            if index not in kept:
                labels[number][mask] = UNKNOWN
    return torch.from_numpy(labels).to(guess.labels.device)


def _direction(features: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean features (f) over a mask, of length 1."""
    mean = features[:, mask].mean(1)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))


def _largest_group(directions: list[np.ndarray], sizes: list[int]) -> frozenset[int]:
    graph = nx.Graph()
    graph.add_nodes_from(range(len(sizes)))
    graph.add_edges_from(
        (a, b)
        for a, b in combinations(range(len(sizes)), 2)
        if float(directions[a] @ directions[b]) >= _SIMILAR
    )
    groups = nx.connected_components(graph)
    return frozenset(max(groups, key=lambda group: (sum(sizes[i] for i in group), -min(group))))
