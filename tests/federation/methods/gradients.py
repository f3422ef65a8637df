"""Gradients written out in plain torch, for tests of gradient rules."""

from __future__ import annotations

import copy

import torch


def gradient_at(network, step, part):
    """Loss, and gradients by name, of the mean over `part`."""
    network.zero_grad()
    loss = step.loss(network(part.image), part.labels)
    loss.backward()
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return loss.detach(), found


def elsewhere(network, steps):
    other = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if name in steps:
                parameter += steps[name]
    return other


def what_is_left(step, here, samples):
    """Loss and gradients after the step, whose optimiser is told to stand still."""
    for group in here.optimiser.param_groups:
        group["lr"] = 0.0
    loss, _ = step(here, samples)
    return loss, {n: p.grad for n, p in here.parameters.items() if p.grad is not None}
