"""Before training: what differential privacy does not go together with, one message each."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.catalogue import PRESETS
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.training_spec import Training
from fednnunet.labels.settings import PseudoLabels

SITE, PATIENT = Privacy(unit="site"), Privacy(unit="patient")
SENDS_MORE = {"scaffold", "scaffold_bn_head", "fedproto", "feddg", "qfedavg_dice"}
BY_LOSS = {"qfedavg", "propfair"}
SEVERAL_GRADIENTS = {"ditto", "apfl", "fedsam", "fedsam_bn_head", "per_fedavg"}


def refused(privacy: Privacy) -> set[str]:
    found = set()
    for name in PRESETS:
        try:
            Training(method=name, privacy=privacy)
        except InputError as error:
            assert "differential privacy cannot be used" in error.what
            assert error.mend
            found.add(name)
    return found


def test_which_methods_are_refused():
    assert refused(SITE) == {*SENDS_MORE, *BY_LOSS, "pooled"}
    assert refused(PATIENT) == {*SENDS_MORE, *BY_LOSS, *SEVERAL_GRADIENTS, "pooled"}


def test_baselines_are_checked_too():
    with pytest.raises(InputError, match="pooled: it trains on all cases in one place"):
        Training(baselines=("pooled",), privacy=SITE)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"contribution": True}, "probe"),
        ({"sites_per_round": 2, "selection": "loss"}, "chosen by losses"),
        ({"pseudo_labels": PseudoLabels()}, "one patient's influence"),
        ({"weights": "fedmix"}, "losses or overlaps"),
        ({"weights": "contour_noise"}, "figures of the rule of weights"),
        ({"pretraining_rounds": 2}, "no gradients by patient"),
    ],
)
def test_settings_that_leak_are_refused(changes, what):
    Training(**changes)
    with pytest.raises(InputError, match=what) as found:
        Training(**changes, privacy=PATIENT)
    assert "take training." in found.value.mend


def test_by_site_pseudo_labels_are_allowed():
    assert Training(pseudo_labels=PseudoLabels(), privacy=SITE).privacy is SITE
