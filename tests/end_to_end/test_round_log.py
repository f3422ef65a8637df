"""A logged training of real sites that are sent codes of changes, interrupted, audited."""

from __future__ import annotations

import shutil

import pytest

from fednnunet.commands import ledger, train
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.coordinator.round_log import REPLIES
from fednnunet.federation.site.log_copy import FILE as COPY
from fednnunet.federation.site.site import Site
from fednnunet.federation.wire import chain
from tests.end_to_end.interruption import Interruption
from tests.end_to_end.tiny import TOML, make_federation, make_planned, no_pictures


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("logged")
    toml = TOML.replace(
        "public_rounds = 1", 'public_rounds = 1\nfilters_down = [{name = "quantised", bits = 4}]'
    )
    run = root / "run"
    make_planned(make_federation(root, toml=f"{toml}\n[log]\nkeep_replies = true\n"), run)
    with no_pictures():
        with pytest.MonkeyPatch.context() as patch:
            hook = Interruption(Site.answer, 7, after=True)  # within the second round
            patch.setattr(Site, "answer", lambda site, data: hook(site, data))
            assert train.main([str(run)]) == 130
        assert train.main([str(run)]) == 0
    return run


def test_sites_are_sent_fewer_bytes_from_the_second_round_on(run):
    first, second, public = load_records(run / "rounds")
    assert not any(record.refused for record in (first, second, public))
    assert second.sites["north"].bytes_to_site < 0.7 * first.sites["north"].bytes_to_site


def test_every_merge_can_be_done_again(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert ledger.main([str(run), "--recompute", "--show"]) == 0
    out = capsys.readouterr().out
    assert "3 rounds merged again from the replies" in out and "2, joint" in out


def test_a_site_can_prove_what_it_sent(run, capsys):
    assert ledger.main([str(run / "sites" / "north"), "--verify"]) == 0
    assert "2 replies of this site, each as it left" in " ".join(capsys.readouterr().out.split())


def test_what_was_changed_afterwards_is_found(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    weights = copy / "global" / "weights.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert ledger.main([str(copy), "--recompute"]) == 2
    weights.write_bytes(data)
    shutil.rmtree(copy / REPLIES)
    assert ledger.main([str(copy), "--recompute"]) == 2
    assert "there are no replies to merge again" in capsys.readouterr().err
    assert ledger.main([str(copy), "--recompute", "--replies", str(run / REPLIES)]) == 0
    site = copy / "sites" / "north"
    lines = chain.lines(site / COPY)
    (site / COPY).write_bytes(b"".join(line + b"\n" for line in lines[:1] + lines[2:]))
    assert ledger.main([str(site), "--verify"]) == 2
    assert "lines are missing or moved" in capsys.readouterr().err
