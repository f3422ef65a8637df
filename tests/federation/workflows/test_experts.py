"""The bundle of the sites' own models, over sites that answer at once."""

from __future__ import annotations

import torch

from fednnunet.errors import RefusalError
from fednnunet.federation.coordinator.engine import Answer
from fednnunet.federation.wire.messages import EvaluateInvite, ModelInvite, ModelReply
from fednnunet.federation.workflows.experts import FOLDER, write_routed
from fednnunet.inference.bundle import read_bundle
from fednnunet.training.initial import initial_tensors
from tests.federation.fakes import SITES, a_plan, a_run

LIKE = initial_tensors(a_plan(), "3d_fullres", seed=0)


class Giving:
    """Sites that give a model of their own; a site without one refuses."""

    sites = SITES

    def __init__(self, **models):
        self.models, self.asked = models, {}

    def ask(self, invites, deadline):
        for site, invite in invites.items():
            self.asked[site] = invite
            if site in self.models:
                yield Answer(site=site, reply=ModelReply(tensors=self.models[site]))
            else:
                yield Answer(site=site, error=RefusalError("the model stays here"))


def filled(value):
    return {name: torch.full_like(tensor, value) for name, tensor in LIKE.items()}


def invites():
    return {
        site: EvaluateInvite(run="", method="fedbn", round=4, personal=True, best=True)
        for site in SITES
    }


def test_models_that_are_given_are_experts_next_to_the_global_one(tmp_path):
    engine = Giving(a=filled(1.0), c=filled(3.0))
    routed = write_routed(engine, a_run(tmp_path, "fedbn"), invites(), filled(0.0), LIKE)
    experts = read_bundle(tmp_path / FOLDER).experts
    assert set(experts) == {"global", "site-a", "site-c"}
    assert all((t == 3.0).all() for t in experts["site-c"].values())
    assert all((t == 0.0).all() for t in experts["global"].values())
    assert routed.bundle is not None
    assert routed.bundle.note == {"method": "fedbn", "sites": "a, c"}
    (note,) = routed.notes
    assert note == "not in the routed bundle: b: the model stays here"
    asked = engine.asked["a"]
    assert isinstance(asked, ModelInvite)
    assert (asked.method, asked.round, asked.best) == ("fedbn", 4, True)


def test_without_a_global_model_there_are_the_sites_alone(tmp_path):
    write_routed(Giving(a=filled(1.0)), a_run(tmp_path, "fedbn"), invites(), {}, LIKE)
    assert set(read_bundle(tmp_path / FOLDER).experts) == {"site-a"}


def test_where_no_site_gives_a_model_there_is_no_bundle(tmp_path):
    routed = write_routed(Giving(), a_run(tmp_path, "fedbn"), invites(), filled(0.0), LIKE)
    assert routed.bundle is None and not (tmp_path / FOLDER).exists()
    assert routed.notes[-1] == "no routed bundle: no site gave a model"
    assert len(routed.notes) == 4


def test_a_model_of_another_network_is_left_out(tmp_path):
    engine = Giving(a=filled(1.0), b={"w": torch.ones(1)})
    routed = write_routed(engine, a_run(tmp_path, "fedbn"), invites(), {}, LIKE)
    assert routed.bundle is not None and set(routed.bundle.experts) == {"site-a"}
    assert any(note.startswith("not in the routed bundle: b: ") for note in routed.notes)
