"""A coordinator that asks for more than the site's limits allow gets codes."""

from __future__ import annotations

from pathlib import Path

from fednnunet.federation.wire.messages import FaultReply, TrainReply
from tests.attacks.victim import a_victim


def test_replies_beyond_the_limits_stay_at_the_site(tmp_path: Path) -> None:
    """Without such limits the file's rounds are the only limit of what leaves."""
    a_victim(tmp_path)
    (tmp_path / "north" / "site.toml").write_text("[outgoing.max_messages]\nTrainReply = 1\n")
    victim = a_victim(tmp_path).prepare()
    assert isinstance(victim.ask(victim.invite(0)), TrainReply)
    assert isinstance(victim.ask(victim.invite(0)), TrainReply)  # the same bytes again
    reply = victim.ask(victim.invite(1))
    assert isinstance(reply, FaultReply)
    assert (reply.kind, reply.advice) == ("refusal", "respect_policy")
