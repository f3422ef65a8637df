"""Pooled cases as a kind of run."""

from __future__ import annotations

from fednnunet.federation.methods.fedavg import FedAvg
from fednnunet.federation.methods.local import Local
from fednnunet.federation.methods.pooled import Pooled, run_kind


def test_it_is_fedavg_of_one_site():
    assert Pooled().build() == FedAvg().build()


def test_it_alone_is_no_federated_run():
    assert [run_kind(each) for each in (Pooled(), FedAvg(), Local())] == [
        "pooled",
        "federated",
        "federated",
    ]
