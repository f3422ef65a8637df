"""A bundle for external hospitals: the global model and the sites' own, as experts.

This is the part for outside hospitals of Jiang, Yang, Cheng and Dou, "IOP-FL: Inside-Outside
Personalization for Federated Medical Image Segmentation", IEEE Transactions on Medical Imaging
2023, for any method that gives sites models of their own: whoever predicts with the bundle mixes
the experts for each case (`inference.routing`).

A site's own model is private otherwise. It leaves only where the federation file asks for it
(`training.routed`) and the site's own policy allows it (`share_model`), once, after training, as a
message of its own that the site's ledger names. A site that gives none is left out of the bundle
and takes part in all else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.exchange import ask
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.wire.messages import EvaluateInvite, ModelInvite, ModelReply
from fednnunet.federation.wire.tensors import check_like
from fednnunet.inference.bundle import Bundle, join_experts, write_bundle
from fednnunet.progress import Progress

FOLDER = "routed"
_GLOBAL, _SITE = "global", "site-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The bundle, if any site gave its model, and notes on the sites that gave none."""

    bundle: Bundle | None
    notes: tuple[str, ...]


def write_routed(
    engine: Engine,
    run: Run,
    invites: Mapping[str, EvaluateInvite],
    common: Mapping[str, Tensor],
    like: Mapping[str, Tensor],
    *,
    progress: Progress | None = None,
) -> Routed:
    """Ask the sites for their own models and write `routed/` in the run's folder.

    `invites` name the model of each site, as for its evaluation. `common` is the global model,
    empty where there is none, `like` has every tensor's name, shape and kind.
    """
    given, refused = _ask_for_models(engine, invites, like, progress)
    notes = tuple(f"not in the routed bundle: {site}: {why}" for site, why in refused.items())
    if not given:
        return Routed(bundle=None, notes=(*notes, "no routed bundle: no site gave a model"))
    experts = {_GLOBAL: common} if common else {}
    experts |= {_SITE + site: tensors for site, tensors in given.items()}
    bundle = write_bundle(
        run.folder / FOLDER,
        plan=run.plan,
        configuration=run.training.configuration,
        weights=join_experts(experts),
        mirrored=run.training.mirrored,
        note={"method": run.method_name, "sites": ", ".join(given)},
    )
    return Routed(bundle=bundle, notes=notes)


def _ask_for_models(
    engine: Engine,
    invites: Mapping[str, EvaluateInvite],
    like: Mapping[str, Tensor],
    progress: Progress | None,
) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, str]]:
    """The models that were given, and why others were not, by site."""

    def check(site: str, reply: ModelReply) -> None:
        check_like(reply.tensors, like, site=site)

    asked = {
        site: ModelInvite(
            tensors=invite.tensors,
            run=invite.run,
            method=invite.method,
            round=invite.round,
            best=invite.best,
        )
        for site, invite in invites.items()
    }
    answers = ask(engine, asked, ModelReply, check=check, progress=progress)
    found = {site: answer.reply.tensors for site, answer in answers.replies.items()}
    return found, {site: error.what for site, error in answers.errors.items()}
