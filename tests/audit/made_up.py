"""A tiny prepared site to attack."""

from __future__ import annotations

from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.training_spec import Training
from tests.federation.site_fakes import a_site
from tests.training.fakes import blobs

ALL = frozenset({"weight"})


def training(privacy: Privacy | None = None, **changes) -> Training:
    return Training(
        method="fedavg", rounds=1, iterations_per_round=2, device="cpu", privacy=privacy, **changes
    )


def prepared(folder, privacy: Privacy | None = None, *, cases: int = 4):
    store, held_out = blobs(cases), blobs(3, seed=9)
    return a_site(
        folder,
        "north",
        store=store,
        cases=store.names,
        held_out=held_out,
        held_out_cases=held_out.names,
        training=training(privacy),
    )
