"""What sites are sent in fewer bytes."""

from __future__ import annotations

import pytest
import torch

from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.wire.content_digests import ContentDigests
from tests.federation.fakes import INITIAL, SITES, PretendEngine, a_run
from tests.federation.logged import Coded, LoggedEngine, train

FOUR = {"name": "quantised", "bits": 4}


def a_down_run(folder, *, method="fedavg", filters=(FOUR,), **settings):
    run = a_run(folder / "run", method, filters_down=filters, **settings)
    return run, Coded(folder / "sites", run.training.down_chain)


def test_without_filters_weights_are_sent(tmp_path):
    run, engine = a_down_run(tmp_path, filters=())
    state = train(run, engine)
    assert not engine.coded and not state.down


@pytest.mark.parametrize(
    ("method", "filters"),
    [
        ("fedavg", ({"name": "top_k"},)),
        ("fedease", (FOUR,)),
        ("scaffold", ("delta_bfloat16",)),
    ],
)
def test_sites_train_from_the_very_weights_of_the_state(tmp_path, method, filters):
    run, engine = a_down_run(tmp_path, method=method, filters=filters)
    state = train(run, engine)
    assert engine.refused == []  # so the log, which has the weights of the state, agrees
    phases = run.phases(INITIAL)
    begins = {0, phases.own}
    expected = {(r, s) for r in range(phases.total) for s in SITES if r not in begins}
    assert engine.coded == expected
    assert not state.down


def test_what_codes_lose_comes_back(tmp_path):
    """The sites add the same to every weight, whatever they train from: in the end all is there."""
    run, engine = a_down_run(tmp_path, filters=({"name": "quantised", "bits": 2},))
    plain = train(a_run(tmp_path / "plain"), LoggedEngine(tmp_path / "others"))
    state = train(run, engine)
    for name, tensor in plain.shared.items():
        torch.testing.assert_close(state.shared[name], tensor, rtol=1e-5, atol=1e-5)


def test_a_site_that_missed_a_round_is_sent_all_weights(tmp_path):
    run, engine = a_down_run(tmp_path, quorum=2)
    engine.fail = {1: "b"}
    train(run, engine)
    assert engine.refused == [] and (2, "b") not in engine.coded
    assert {(2, "a"), (2, "c"), (3, "b")} <= engine.coded
    assert len({engine.from_weights[2, site] for site in SITES}) == 1


def test_a_site_that_lost_what_it_received_is_sent_all_weights_later(tmp_path):
    run, engine = a_down_run(tmp_path, quorum=2)

    class Losing(Coded):
        def opened(self, site, invite):
            if (site, invite.round) == ("b", 2):
                for path in (self.folder / site / "received").glob("*"):
                    path.unlink()
            return super().opened(site, invite)

    losing = Losing(engine.folder, engine.filters)
    train(run, losing)
    (refused,) = losing.refused
    assert refused.startswith("2 b: the weights that the site received in round 2 are not there")
    assert (3, "b") not in losing.coded and len(losing.from_weights) == 4 * len(SITES) - 1


@pytest.mark.parametrize("method", ["fedavg", "fedease"])
def test_it_resumes_bit_for_bit(tmp_path, method):
    run, engine = a_down_run(tmp_path / "whole", method=method)
    whole = train(run, engine)
    again, interrupted = a_down_run(tmp_path / "again", method=method)
    reply = interrupted.reply

    def once(site, invite):
        if invite.round == 2:
            raise KeyboardInterrupt
        return reply(site, invite)

    interrupted.reply = once
    with pytest.raises(KeyboardInterrupt):
        train(again, interrupted)
    state = train(again, Coded(interrupted.folder, interrupted.filters))
    assert ContentDigests().tensors(state.shared) == ContentDigests().tensors(whole.shared)
    assert state.for_site.keys() == whole.for_site.keys()
    for site, tensors in state.for_site.items():
        assert ContentDigests().tensors(tensors) == ContentDigests().tensors(whole.for_site[site])


def test_rounds_that_are_added_begin_with_all_weights(tmp_path):
    run, engine = a_down_run(tmp_path, rounds=2)
    train(run, engine)
    longer, _ = a_down_run(tmp_path, rounds=4)
    train(longer, engine)
    assert engine.refused == [] and (2, "a") not in engine.coded and (3, "a") in engine.coded


def test_the_bytes_of_each_way_are_in_the_history(tmp_path):
    run, engine = a_down_run(tmp_path)
    train(run, engine)
    first, second = (r.sites["a"] for r in load_records(run.folder / "rounds")[:2])
    assert first.bytes_to_site > 0 and second.bytes_to_site > 0


def test_sites_without_a_log_are_sent_codes_as_well(tmp_path):
    from fednnunet.federation.coordinator.rounds import run_rounds
    from tests.federation.fakes import MEMBERS

    class Plain(PretendEngine):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def reply(self, site, invite):
            return super().reply(site, self.inner.opened(site, invite))

    run, engine = a_down_run(tmp_path)
    run_rounds(Plain(engine), run, INITIAL, MEMBERS, lambda record: None)
    assert (1, "a") in engine.coded
