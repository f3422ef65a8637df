"""Merges that are done again; what is found in a faked log is in tests/attacks."""

from __future__ import annotations

import pytest

from fednnunet.errors import DataError, InputError
from fednnunet.federation.coordinator.round_log import REPLIES
from fednnunet.federation.workflows.recompute import recompute
from tests.federation.fakes import a_run
from tests.federation.logged import KEEP, Coded, LoggedEngine, audit, train


@pytest.mark.parametrize("method", ["fedavg", "fedease", "scaffold", "fedadam"])
def test_an_honest_training_is_recomputed_bit_for_bit(tmp_path, method):
    run = a_run(tmp_path / "run", method)
    train(run, LoggedEngine(tmp_path / "sites"), spec=KEEP)
    audit(run)


def test_sites_that_missed_rounds_and_codes_on_both_ways_are_recomputed(tmp_path):
    filters = ({"name": "quantised", "bits": 8},)
    run = a_run(tmp_path / "run", quorum=2, filters_down=filters, max_update_ratio=0.0)
    train(run, Coded(tmp_path / "sites", run.training.down_chain, fail={1: "b"}), spec=KEEP)
    audit(run)


def test_a_training_that_was_stopped_is_recomputed_as_far_as_it_came(tmp_path):
    class Stopped(LoggedEngine):
        def reply(self, site, invite):
            if (invite.round, site) == (2, "b"):
                raise KeyboardInterrupt
            return super().reply(site, invite)

    run = a_run(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train(run, Stopped(tmp_path / "sites"), spec=KEEP)
    audit(run)


def test_a_log_without_one_of_its_rounds_is_found(tmp_path):
    run = a_run(tmp_path / "run")
    train(run, LoggedEngine(tmp_path / "sites"), spec=KEEP)
    with pytest.raises(DataError, match="cannot be done again: the log lacks a round before it"):
        audit(run, without_round=1)


def test_a_reply_that_is_missing_or_touched_is_named(tmp_path):
    run = a_run(tmp_path / "run")
    train(run, LoggedEngine(tmp_path / "sites"), spec=KEEP)
    path = run.folder / REPLIES / "0001" / "b.bin"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputError, match="reply of site b in round 2 is not there, or is another"):
        audit(run)


def test_a_folder_without_a_log_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no log of rounds"):
        recompute(tmp_path)
