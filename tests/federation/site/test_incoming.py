"""What a site makes of an invite first."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import RefusalError
from fednnunet.federation.site.answers import Answers
from fednnunet.federation.site.incoming import Incoming
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.received_weights import FOLDER
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import ProbeInvite
from fednnunet.task import Task
from tests.federation.site_fakes import INVITE

PROBE = ProbeInvite(run="", method="fedavg", round=1)


def incoming(base, **policy) -> Incoming:
    federation = Federation(
        task=Task(name="t", channels=("MRI",), labels=("background", "a")),
        sites={"north": SiteSpec()},
        training=Training(filters_down=("delta_bfloat16",)),
    )
    return Incoming.at("north", base, federation, SitePolicy(**policy), lambda text: None)


def test_a_round_is_known_by_what_it_says_and_kept(tmp_path):
    invite = replace(INVITE, tensors={"w": torch.ones(2)})
    taken = incoming(tmp_path)
    taken.check(taken.whole(invite), Answers(tmp_path / "answers"))
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    assert taken.digest(invite, "of bytes") == taken.digest(replace(invite), "of other bytes")
    assert taken.digest(PROBE, "of bytes") == "of bytes"
    assert taken.whole(PROBE) is PROBE


def test_a_policy_can_ask_for_the_log(tmp_path):
    answers = Answers(tmp_path / "answers")
    with pytest.raises(RefusalError, match="does not show the coordinator's log"):
        incoming(tmp_path, require_log=True).check(INVITE, answers)
    incoming(tmp_path, require_log=True).check(PROBE, answers)
