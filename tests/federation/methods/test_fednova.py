"""FedNova against the paper's formula, written out by hand, and where it equals FedAvg."""

from __future__ import annotations

from dataclasses import replace

import torch

from fednnunet.federation.methods.fedavg import FedAvg
from fednnunet.federation.methods.fednova import FedNova
from fednnunet.federation.methods.merge import Reply, State
from tests.contracts.helpers import merged

NAME = "encoder.0.blocks.0.conv.weight"
RUNNING = "encoder.0.blocks.0.norm.running_mean"
MERGE = FedNova().build().merge


def a_reply(site: str, value: float, *, cases: int, iterations: int) -> Reply:
    tensors = {NAME: torch.tensor([value]), RUNNING: torch.tensor([value])}
    return Reply(site=site, tensors=tensors, cases=cases, iterations=iterations, loss=0.0)


def test_it_is_the_papers_formula():
    """x = 1; site a moves by 2 in 1 iteration, b by 8 in 4; p = 1/4 and 3/4."""
    state = State(round=0, shared={NAME: torch.tensor([1.0]), RUNNING: torch.tensor([1.0])})
    replies = [
        a_reply("a", 3.0, cases=1, iterations=1),
        a_reply("b", 9.0, cases=3, iterations=4),
    ]
    after = merged(MERGE, state, replies)
    # t_eff = 1/4 * 1 + 3/4 * 4 = 13/4, mean update per iteration 1/4 * 2/1 + 3/4 * 8/4 = 2.
    torch.testing.assert_close(after.shared[NAME], torch.tensor([1 + 13 / 4 * 2]))
    # Running statistics: the mean by p / t, (1/4 * 3 + 3/16 * 9) / (7/16).
    torch.testing.assert_close(after.shared[RUNNING], torch.tensor([(3 / 4 + 27 / 16) / (7 / 16)]))


def test_a_site_with_more_iterations_counts_by_its_cases_only():
    """Two sites that go the same way per iteration: whoever goes further does not pull more."""
    state = State(round=0, shared={NAME: torch.zeros(1), RUNNING: torch.zeros(1)})
    short = a_reply("a", 1.0, cases=1, iterations=1)
    long = a_reply("b", -10.0, cases=1, iterations=10)
    assert merged(MERGE, state, [short, long]).shared[NAME].tolist() == [0.0]
    fedavg = merged(FedAvg().build().merge, state, [short, long])
    assert fedavg.shared[NAME].tolist() == [-4.5]


def test_with_equal_iterations_it_is_fedavg_bit_for_bit():
    state = State(round=0, shared={NAME: torch.zeros(1), RUNNING: torch.zeros(1)})
    replies = [a_reply(s, v, cases=c, iterations=1) for s, v, c in (("a", 0.1, 3), ("b", 0.7, 11))]
    for iterations in (1, 4, 256):  # powers of two: the weights are those of FedAvg, exactly scaled
        sent = [replace(reply, iterations=iterations) for reply in replies]
        nova, fedavg = (
            merged(method.build().merge, state, sent).shared for method in (FedNova(), FedAvg())
        )
        assert all(torch.equal(tensor, nova[name]) for name, tensor in fedavg.items())
