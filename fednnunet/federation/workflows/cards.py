"""Complete the model cards of a run's bundles once the models have been scored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fednnunet.federation.card_spec import CardSpec
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.coordinator.spent import spent_words
from fednnunet.federation.workflows.experts import FOLDER as ROUTED
from fednnunet.inference.card import JSON, amend_card

if TYPE_CHECKING:
    from fednnunet.federation.workflows.train import TrainingScores


def complete_cards(runs: Iterable[Run], spec: CardSpec, scores: TrainingScores) -> None:
    """Add scores, sites and the federation's own words to the card of every bundle for all sites.

    A site completes the cards of its own bundles itself, from its own scores.
    """
    for run in runs:
        model = run.method_name if run.name else "global"
        privacy = spent_words(load_records(run.folder / "rounds"), named=spec.name_sites)
        for folder, name in ((run.folder / "global", model), (run.folder / ROUTED, "routed")):
            if not (folder / JSON).is_file():
                continue
            of_sites = next(
                (m.sites for m in scores.models if m.model == name and not m.personal), None
            )
            amend_card(
                folder,
                scores=of_sites,
                external=tuple(scores.external),
                sites=[site for site, cases in scores.training_cases.items() if cases],
                name_sites=spec.name_sites,
                privacy=privacy,
                licence=spec.licence,
                intended_use=spec.intended_use,
            )
