from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fednnunet.errors import RefusalError
from fednnunet.federation.secure.fixed_point import decode_sums
from fednnunet.federation.secure_spec import Planning, SecureAggregation
from fednnunet.federation.site.masking import SiteMasking
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.wire.messages import FingerprintReply, MeasureInvite, TrainInvite, sums
from fednnunet.federation.wire.secure_messages import (
    KeysInvite,
    MaskedMeasureInvite,
    MaskedTrainInvite,
    SharesInvite,
    UnmaskInvite,
    masked_words,
)
from tests.federation.fakes import INITIAL
from tests.federation.masked_sites import a_federation

pytest.importorskip("cryptography", reason="secure aggregation needs the extra `privacy`")

SITES = ("a", "b", "c")
SECURE = a_federation(secure=SecureAggregation())
PLANNED = replace(a_federation(), planning=Planning(secure=True))
INVITE = TrainInvite(
    tensors=INITIAL,
    run="",
    method="fedavg",
    round=0,
    phase="joint",
    resume_round=0,
    iterations=25,
    schedule_start=0,
    schedule_length=50,
)


def a_site(folder: Path, name: str, federation=SECURE, **policy) -> SiteMasking:
    return SiteMasking(name, folder / name, federation, SitePolicy(**policy))


class Course:
    """The steps of one session, each asked of single sites."""

    def __init__(self, folder, federation, topic="training", session="s", sites=SITES):
        self.sites = {name: a_site(folder, name, federation) for name in sites}
        self.about = {"topic": topic, "session": session}

    def keys(self):
        invite = KeysInvite(**self.about)
        self.roster = {name: site.respond(invite).keys for name, site in self.sites.items()}
        return self

    def share(self, threshold=3):
        invite = SharesInvite(**self.about, threshold=threshold, roster=self.roster)
        self.sealed = {name: site.respond(invite).sealed for name, site in self.sites.items()}
        return self

    def masked_sums(self, vector, partners=SITES):
        invite = MaskedMeasureInvite(
            task=PLANNED.task, session=self.about["session"], partners=partners
        )
        reply = FingerprintReply(tensors=sums(vector))
        return {
            name: masked_words(site.reply(invite, reply), 2 * len(vector), 64, site=name)
            for name, site in self.sites.items()
        }

    def unmask(self, name, survivors=SITES):
        sealed = {sender: shares[name] for sender, shares in self.sealed.items()}
        invite = UnmaskInvite(**self.about, survivors=survivors, sealed=sealed)
        return self.sites[name].respond(invite).revealed


def test_a_site_repeats_its_answers_also_after_a_restart(tmp_path):
    first = Course(tmp_path, PLANNED, "fingerprint").keys().share()
    vector = np.arange(5.0)
    sent = first.masked_sums(vector)
    again = Course(tmp_path, PLANNED, "fingerprint").keys().share()
    assert again.roster == first.roster and again.sealed == first.sealed
    assert all((again.masked_sums(vector)[n] == sent[n]).all() for n in SITES)
    assert again.unmask("a") == first.unmask("a")
    path = tmp_path / "a" / "secure" / "fingerprint.json"
    assert path.stat().st_mode & 0o077 == 0


def test_the_sum_over_all_sites_is_all_that_remains(tmp_path):
    course = Course(tmp_path, PLANNED, "fingerprint").keys().share()
    words = course.masked_sums(np.arange(5.0))
    from fednnunet.federation.secure.protocol import Unmasking

    total = sum(words.values(), np.zeros(10, np.uint64))
    revealed = {name: course.unmask(name) for name in SITES}
    unmasking = Unmasking(
        session="s", threshold=3, roster=course.roster, partners=SITES, survivors=SITES
    )
    unmasking.remove(total, revealed)
    assert (decode_sums(total) == 3 * np.arange(5.0)).all()


def test_statistics_are_not_summed_with_other_sites_later(tmp_path):
    Course(tmp_path, PLANNED, "fingerprint").keys().share().masked_sums(np.arange(5.0))
    other = Course(tmp_path, PLANNED, "fingerprint", "t").keys().share()
    fewer = replace(other.sites["a"]._of("fingerprint", "", "t").session, threshold=2)
    kept = replace(other.sites["a"]._of("fingerprint", "", "t"), session=fewer)
    other.sites["a"]._write("fingerprint", "", kept)
    del other.sites["b"], other.sites["c"]
    with pytest.raises(RefusalError, match="summed with those of other sites") as caught:
        other.masked_sums(np.arange(5.0), ("a", "b"))
    assert caught.value.advice == "answered_once"


def test_the_sums_for_the_plan_are_of_all_sites_or_of_none(tmp_path):
    course = Course(tmp_path, PLANNED, "fingerprint").keys().share()
    course.masked_sums(np.arange(5.0))
    with pytest.raises(RefusalError, match="all sites are summed for the plan, or of none"):
        course.unmask("a", ("a", "b"))


def masked_reply(site, invite):
    from tests.federation.fakes import PretendEngine

    return site.reply(invite, PretendEngine().reply("a", invite.plain))


def test_masks_are_removed_for_one_set_of_sites_in_a_round(tmp_path):
    secure = a_federation(secure=SecureAggregation(threshold=2))
    course = Course(tmp_path, secure).keys().share(2)
    invite = MaskedTrainInvite.of(INVITE, session="s", partners=SITES, total=6.0)
    assert not course.sites["a"].is_done(invite)
    masked_reply(course.sites["a"], invite)
    assert not course.sites["a"].is_done(invite)  # a stop here has the reply masked again
    course.sites["a"].keep_done(invite)
    assert course.sites["a"].is_done(invite)
    course.unmask("a", ("a", "b"))
    again = Course(tmp_path, secure, session="t").keys().share(2)
    repeated = replace(invite, session="t")
    assert not again.sites["a"].is_done(repeated)
    masked_reply(again.sites["a"], repeated)
    with pytest.raises(RefusalError, match="from a sum over other sites in this round"):
        again.unmask("a")
    again.unmask("a", ("a", "b"))


def test_no_session_of_an_earlier_round_begins(tmp_path):
    course = Course(tmp_path, a_federation(secure=SecureAggregation(threshold=2)))
    course.sites["a"].respond(KeysInvite(topic="training", session="s", round=1))
    with pytest.raises(RefusalError, match="keys were made for round 2, which comes later"):
        course.sites["a"].respond(KeysInvite(topic="training", session="t", round=0))


def test_a_lower_threshold_than_agreed_is_refused(tmp_path):
    with pytest.raises(RefusalError, match="2 shares would remove a mask, 3 were agreed on"):
        Course(tmp_path, SECURE).keys().share(2)
    course = Course(tmp_path, SECURE, sites=("a",)).keys()
    with pytest.raises(RefusalError, match="1 sites would be summed"):
        course.share()


def test_a_session_that_was_never_begun(tmp_path):
    invite = MaskedTrainInvite.of(INVITE, session="x", partners=SITES, total=6.0)
    with pytest.raises(RefusalError, match="knows nothing of this session"):
        masked_reply(a_site(tmp_path, "a"), invite)


def test_what_was_not_agreed_on_is_refused(tmp_path):
    masked = MaskedTrainInvite.of(INVITE, session="s", partners=SITES, total=6.0)
    with pytest.raises(RefusalError, match="agrees on no sum under masks"):
        a_site(tmp_path, "a", a_federation()).check(masked)
    with pytest.raises(RefusalError, match="agrees on no sum under masks"):
        Course(tmp_path, a_federation()).keys()
    with pytest.raises(RefusalError, match="and none is asked for"):
        a_site(tmp_path, "a").check(INVITE)
    with pytest.raises(RefusalError, match="and none is asked for"):
        a_site(tmp_path, "a", PLANNED).check(MeasureInvite(task=PLANNED.task))
    a_site(tmp_path, "a").check(masked)
    a_site(tmp_path, "a").check(replace(INVITE, phase="personal"))  # nothing leaves


def test_a_site_may_demand_masks(tmp_path):
    strict = a_site(tmp_path, "a", a_federation(), require_secure_aggregation=True)
    for invite in (INVITE, MeasureInvite(task=PLANNED.task)):
        with pytest.raises(RefusalError, match="only under masks") as caught:
            strict.check(invite)
        assert caught.value.advice == "respect_policy"
    strict.check(replace(INVITE, phase="personal", tensors={"w": torch.ones(1)}))
