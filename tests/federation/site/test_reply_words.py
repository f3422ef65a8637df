"""The ledger's words for a reply."""

from __future__ import annotations

from dataclasses import replace

from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.site.reply_words import reply_words
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import MeasureInvite, pack
from fednnunet.federation.wire.privacy import Spent
from tests.attacks.test_hostile_messages import REPLY
from tests.federation.site_fakes import INVITE
from tests.training.fakes import small_task

INVITED = replace(INVITE, method="fedavg")
SPENT = Spent(unit="patient", epsilon=1.5, total=1.5, delta=1e-5, rounds=2)


def words(training: Training, reply=REPLY) -> str:
    return reply_words(INVITED, pack(reply), training, site="a")


def test_filters_and_epsilon_are_named():
    training = Training(method="fedavg", filters=("delta_bfloat16",))
    assert words(training) == training.filter_chain[0].words
    private = replace(training, privacy=Privacy())
    found = words(private, replace(REPLY, spent=SPENT))
    assert "bfloat16; gradients clipped to 1 a patient" in found
    assert found.endswith(SPENT.words)


def test_by_site_the_filter_says_what_was_done():
    training = Training(method="fedavg", privacy=Privacy(unit="site"))
    assert words(training, replace(REPLY, spent=SPENT)).count("update clipped") == 1


def test_other_invites_have_no_more_words():
    invite = MeasureInvite(task=small_task())
    assert reply_words(invite, b"", Training(), site="a") == ""
