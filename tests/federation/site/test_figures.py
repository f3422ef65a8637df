"""What a site states for a rule of weights, and what stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.site.figures import annotated_cases, loss_spread
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.wire.figures import Figures
from fednnunet.federation.wire.messages import pack, unpack
from fednnunet.supervision import SiteSupervision, Supervision
from tests.contracts.helpers import an_invite, first_tensors
from tests.federation.site_fakes import a_site, a_trainer
from tests.training.test_summary import a_summary

INNER, NONE = Supervision(kind="partial", annotated=(2,)), Supervision(kind="none")


def counted(tmp_path, least, **cases):
    policy = SitePolicy(min_cases=3, min_bin_count=1, min_scored_cases=least)
    supervision = SiteSupervision(cases=cases)
    return annotated_cases(a_site(tmp_path, "one", policy=policy, supervision=supervision))


def test_cases_of_a_class_are_counted_where_there_are_enough(tmp_path):
    assert counted(tmp_path, 1, case0=INNER) == (2, 3)
    assert counted(tmp_path, 3, case0=INNER) == (0, 3)
    assert counted(tmp_path, 3, case0=NONE) == ()  # 2 of 3 cases: no statement of any class
    assert counted(tmp_path, 9) == (3, 3)  # all cases, whose number is known
    assert counted(tmp_path, 1, case0=NONE, case1=NONE, case2=NONE) == (0, 0)


def test_the_spread_needs_as_many_cases_as_the_mean_loss(tmp_path):
    site = a_site(tmp_path, "one")
    asked = replace(site, training=replace(site.training, method="fedavg", weights="loss_bound"))
    summary = a_summary(loss_spread=0.25, cases=("case0",))
    assert loss_spread(asked, summary, "joint") == 0.25
    assert loss_spread(asked, summary, "personal") is None
    assert loss_spread(site, summary, "joint") is None
    strict = replace(asked, policy=SitePolicy(min_scored_cases=2))
    assert loss_spread(strict, summary, "joint") is None


@pytest.mark.parametrize(
    ("settings", "stated"),
    [
        ({}, set()),
        ({"weights": "closeness"}, set()),
        ({"weights": "loss_bound"}, {"loss_spread"}),
        ({"weights": "contour_noise"}, {"contour_noise"}),
        ({"merging": Merging(head_rows="annotated")}, {"annotated_cases"}),
    ],
)
def test_a_reply_has_the_figures_that_the_sites_own_file_asks_for(tmp_path, settings, stated):
    trainer = a_trainer(tmp_path, "one")
    training = replace(trainer.training, method="fedavg", **settings)
    reply = a_trainer(tmp_path, "one", training=training).train(
        an_invite("fedavg", first_tensors(), 0)
    )
    given, nothing = reply.figures, Figures()
    names = Figures.__dataclass_fields__
    assert {n for n in names if getattr(given, n) != getattr(nothing, n)} == stated
    assert unpack(pack(reply), sender="one").figures == given
    assert len(training.figure_words("joint")) == len(stated)
    assert training.figures_in("personal") == ()
