"""A federation with differential privacy: a policy ends it; report, ledger and card state it."""

from __future__ import annotations

import pytest

from fednnunet import records
from fednnunet.audit.record import JSON, Audit
from fednnunet.commands import audit, train
from fednnunet.federation.privacy.accountant import Mechanism, epsilon
from fednnunet.federation.site.privacy_account import PrivacyAccount
from fednnunet.federation.wire import chain
from fednnunet.inference.card import MARKDOWN, read_card
from tests.end_to_end.tiny import POLICY, TOML, make_federation, make_planned, plain_pages

pytest.importorskip("dp_accounting", reason="the extra dp is not installed")

PRIVATE = TOML.replace('method = "fedbn_head"', 'method = "fedavg"') + (
    '\n[training.privacy]\nunit = "site"\nclip = 0.05\nnoise = 6.0\ndelta = 0.01\n'
)
ROUND = Mechanism(noise=3.0)


def test_a_policy_ends_a_training_which_goes_on_with_its_account(tmp_path, capsys):
    make_planned(make_federation(tmp_path, toml=PRIVATE), tmp_path / "run")
    limit = (epsilon([ROUND], 0.01) + epsilon([ROUND] * 2, 0.01)) / 2
    policy = tmp_path / "south" / "site.toml"
    policy.write_text(f"{POLICY}\n[privacy]\nmax_epsilon = {limit}\n")
    with plain_pages():
        assert train.main([str(tmp_path / "run")]) == 2
        told = capsys.readouterr().err
        assert told.count("max_epsilon in its policy may be raised") == 1
        south = PrivacyAccount(base=tmp_path / "run" / "sites" / "south", site="south")
        assert [release.round for release in south.releases] == [0]
        policy.write_text(f"{POLICY}\n[privacy]\nmax_epsilon = 100\n")
        assert train.main([str(tmp_path / "run")]) == 0
    assert [release.round for release in south.releases] == [0, 1]
    words = f"epsilon {epsilon([ROUND] * 2, 0.01):.3g} a change of the site"
    assert words in " ".join((tmp_path / "run" / "report.html").read_text().split())
    card = read_card(tmp_path / "run" / "global")
    assert len(card.privacy) == 2  # the same words for both sites, and the scope
    assert words in (tmp_path / "run" / "global" / MARKDOWN).read_text()
    details = [str(entry["detail"]) for entry in chain.read(south.base / chain.FILE)]
    assert any("noise of 6 clips" in words and "epsilon" in words for words in details)

    small = ["--targets", "1", "--steps", "1", "--edge", "8", "--cases", "5"]
    assert audit.main([str(tmp_path / "run"), "--site", "south", *small]) == 0
    found = records.read(Audit, south.base / audit.FOLDER / JSON)
    assert [one.defended for one in found.inversions] == [False, True] * 2
    assert found.differencing["exact sums"].patients == 5
