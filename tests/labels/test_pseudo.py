"""Pseudo-labels in local training, on small networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.device import Device
from fednnunet.errors import InputError
from fednnunet.labels.known import certain_labels, possible_labels
from fednnunet.labels.loss import make_loss
from fednnunet.labels.pseudo import PseudoLabelling
from fednnunet.labels.settings import PseudoLabels
from fednnunet.supervision import UNKNOWN, SiteSupervision, Supervision
from fednnunet.training.completion import Moment
from fednnunet.training.device import Execution
from fednnunet.training.local_training import train_in_process
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import load, new_state, save
from fednnunet.training.step import make_stepper
from tests.training.fakes import CPU, MemoryCase, MemoryStore, a_job, blobs, small_plan, small_task
from tests.training.steps import META, batch, state

NONE, PARTIAL = Supervision(kind="none"), Supervision(kind="partial", annotated=(2,))
SCRIBBLE, BOX = Supervision(kind="scribble"), Supervision(kind="box")
IMAGE = Supervision(kind="image", present=(1,), absent=(2,))
KINDS = {"none": NONE, "partial": PARTIAL, "scribble": SCRIBBLE, "box": BOX, "image": IMAGE}
ANYTHING = PseudoLabels(start=0.0, ramp_up=0.0, confidence=0.0, max_spread=1.0)
"""Every label of the teacher counts, from the first iteration on."""


def labelling(settings=ANYTHING, **task):
    return PseudoLabelling(settings=settings, task=small_task(**task))


def labels_of(supervision, count=4, axes=3):
    """Loaded label maps of that supervision, made up."""
    generator = torch.Generator().manual_seed(3)
    shape = (count, *(8,) * axes)
    low, high = {"box": (-1, 4), "partial": (-1, 3), "full": (-1, 3)}.get(
        supervision.kind, (UNKNOWN, 3)
    )
    labels = torch.randint(low, high, shape, generator=generator, dtype=torch.int16)
    if supervision.kind == "partial":
        labels[labels == 1] = 0
    return labels.clamp_max(-1) if supervision.kind in ("none", "image") else labels


def weak_batch(*kinds, axes=3):
    whole = batch(len(kinds), axes)
    labels = torch.cat([labels_of(kind, 1, axes) for kind in kinds])
    return replace(whole, labels=labels, supervision=kinds, weak=whole.image * 0.5)


def completed(settings=ANYTHING, *kinds, execution=CPU, at_once=4, **changes):
    """A batch of these kinds with pseudo-labels, by the network of `state`."""
    now, completion = state(execution, **changes), labelling(settings)
    completion.begin(now)
    axes = 2 if "patch" in changes else 3
    moment = Moment(done=0.5, at_once=at_once, execution=execution)
    return completion.complete(now, weak_batch(*kinds, axes=axes), moment)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_is_known_overrules(kind):
    found = completed(ANYTHING, kind, kind, kind, kind)
    possible = possible_labels(found.labels, kind, small_task())
    certain, (pseudo,) = certain_labels(possible), found.pseudo
    known = certain != UNKNOWN
    assert torch.equal(pseudo[known], certain[known])
    free = pseudo[~known & (pseudo != UNKNOWN)]
    assert len(free)  # something was labelled
    index = pseudo.clamp_min(0).long()[:, None]
    assert possible.gather(1, index)[:, 0][pseudo != UNKNOWN].all()
    before = weak_batch(kind, kind, kind, kind)
    assert torch.equal(found.labels, before.labels) and torch.equal(found.image, before.image)
    assert found.weak is None


def test_a_full_sample_gets_none_and_costs_no_pass(monkeypatch):
    looked = []
    now, completion = state(), labelling()
    completion.begin(now)
    real = now.network.forward
    monkeypatch.setattr(now.network, "forward", lambda x: looked.append(len(x)) or real(x))
    moment = Moment(done=0.5, at_once=4, execution=CPU)
    found = completion.complete(now, weak_batch(Supervision(), NONE, Supervision(), NONE), moment)
    assert looked == [2]
    (pseudo,) = found.pseudo
    assert (pseudo[0] == UNKNOWN).all() and (pseudo[2] == UNKNOWN).all()
    assert (pseudo[1] != UNKNOWN).any() and (pseudo[3] != UNKNOWN).any()


def test_before_the_start_there_is_no_pass_and_no_label():
    found = completed(PseudoLabels(start=0.6), NONE, NONE)
    assert found.pseudo == () and found.weak is None


def test_the_teacher_sees_the_weak_view():
    now, completion = state(), labelling(replace(ANYTHING, uncertainty="none"))
    completion.begin(now)
    whole = weak_batch(NONE, NONE)
    found = completion.complete(now, whole, Moment(done=1.0, at_once=2, execution=CPU))
    with torch.no_grad():
        best = now.network.eval()(whole.weak).softmax(1)
    confident = best.max(1).values > 0.5 + 1e-4
    free = whole.labels == UNKNOWN
    agree = (found.pseudo[0] == best.argmax(1))[free & confident]
    assert len(agree) and agree.all()


@pytest.mark.parametrize(
    "settings",
    [
        replace(ANYTHING, uncertainty="flip"),
        replace(ANYTHING, uncertainty="received"),
        replace(ANYTHING, components=True, graph=True, random_walker=True),
        replace(ANYTHING, cross=0.5),
        replace(ANYTHING, mixup=0.3),
    ],
    ids=["flip", "received", "refined", "cross", "mixup"],
)
def test_every_test_and_refinement_gives_labels_of_the_task(settings):
    found = completed(settings, NONE, SCRIBBLE, NONE, BOX)
    assert len(found.pseudo) == (2 if settings.mixup else 1)
    assert sum(found.pseudo_weights) == pytest.approx(1)
    for pseudo in found.pseudo:
        assert set(pseudo.unique().tolist()) <= {UNKNOWN, 0, 1, 2}
        assert (pseudo != UNKNOWN).any()


def test_parts_of_the_batch_do_not_change_the_labels():
    whole, parts = (completed(ANYTHING, NONE, BOX, SCRIBBLE, at_once=n) for n in (4, 1))
    unlike = whole.pseudo[0] != parts.pseudo[0]
    assert float(unlike.float().mean()) < 0.01


def test_it_runs_in_bfloat16():
    execution = Execution(device=Device(precision="bfloat16"), fused=False)
    found = completed(ANYTHING, NONE, PARTIAL, execution=execution)
    assert (found.pseudo[0] != UNKNOWN).any()


@pytest.mark.parametrize("settings", [PseudoLabels(), replace(ANYTHING, cross=1.0, mixup=1.0)])
def test_a_whole_step_runs_on_the_meta_device(settings):
    """Nothing in it reads a value, so a GPU need not wait."""
    plan, configuration = small_plan(batch=4, features=(4, 6, 8))
    completion = labelling(settings)
    job = a_job(plan=plan, configuration=configuration, completion=completion, make_loss=make_loss)
    kinds = (NONE, SCRIBBLE, NONE, PARTIAL)
    job = replace(
        job,
        supervision=SiteSupervision(cases=dict(zip(job.names, kinds[1:], strict=True))),
    )
    stepper = make_stepper(job, META)
    stepper = replace(
        stepper, losses={k: make_loss(plan.task, k, configuration, job.recipe) for k in kinds}
    )
    now = state(META)
    completion.begin(now)
    moment = Moment(done=0.5, at_once=4, execution=META)
    found = completion.complete(now, weak_batch(*kinds).to(torch.device("meta")), moment)
    loss, _ = stepper(now, found)
    completion.follow(now)
    assert loss.device.type == "meta"


def test_regions_get_labels_too():
    task = small_task(regions={"whole": (1, 2), "core": (2,)})
    completion = PseudoLabelling(settings=ANYTHING, task=task)
    now = state(task=task)
    completion.begin(now)
    found = completion.complete(
        now, weak_batch(NONE, NONE), Moment(done=1.0, at_once=2, execution=CPU)
    )
    assert (found.pseudo[0] != UNKNOWN).any()


def test_cross_supervision_of_one_head_is_refused():
    plan, configuration = small_plan(features=(4, 8))
    with pytest.raises(InputError, match="two decoder stages"):
        labelling(PseudoLabels(cross=1.0)).make_loss(plan.task, configuration, RECIPES["fast"])


def unlabelled():
    """The cases of `blobs`, of the last two of which nothing is known."""
    cases = dict(blobs().cases)
    for name in ("case1", "case2"):
        seg = torch.full(cases[name].seg.shape, UNKNOWN, dtype=torch.int16).numpy()
        cases[name] = MemoryCase(cases[name].data, seg)
    return MemoryStore(cases)


def trained(iterations=3, *, settings=None, now=None, schedule=3, execution=CPU, **changes):
    """A state after training on one labelled and two unlabelled cases."""
    plan, configuration = small_plan(features=(4, 6, 8))
    now = now or new_state(plan, configuration, RECIPES["fast"], execution, seed=1)
    job = a_job(
        plan=plan,
        configuration=configuration,
        store=unlabelled(),
        iterations=iterations,
        schedule_length=schedule,
        make_loss=make_loss,
        completion=labelling(settings) if settings else None,
        supervision=SiteSupervision(default=NONE, cases={"case0": Supervision()}),
        **changes,
    )
    train_in_process(now, job, execution)
    return now


def same(a, b):
    one, two = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(one[name], two[name]) for name in one)


def test_pseudo_labels_change_the_weights_and_nothing_changes_without_them():
    plain = trained()
    assert same(plain, trained())
    assert same(plain, trained(settings=replace(ANYTHING, weight=0.0, cut_out=0.0)))
    assert not same(plain, trained(settings=ANYTHING))


def test_training_that_is_interrupted_goes_on_to_the_same_weights(tmp_path):
    settings = replace(ANYTHING, carry=0.5, decay=0.9, deconflict=True, mixup=0.3)
    whole = trained(2, settings=settings, schedule=4)
    whole = trained(2, settings=settings, now=whole, schedule=4)
    half = trained(2, settings=settings, schedule=4)
    save(half, tmp_path)
    plan, configuration = small_plan(features=(4, 6, 8))
    again = new_state(plan, configuration, RECIPES["fast"], CPU, seed=7)
    assert load(again, tmp_path)
    assert same(whole, trained(2, settings=settings, now=again, schedule=4))


def test_workers_make_the_same_batches():
    two = replace(CPU, workers=2)
    settings = replace(ANYTHING, cut_out=1.0)
    assert same(trained(settings=settings), trained(settings=settings, execution=two))


@pytest.mark.parametrize(
    "kind", [NONE, PARTIAL, BOX, IMAGE], ids=["none", "partial", "box", "image"]
)
def test_a_batch_that_goes_through_in_parts_has_the_same_gradient(kind):
    job = a_job(
        completion=labelling(), supervision=SiteSupervision(default=kind), make_loss=make_loss
    )
    assert not job.ignores
    settings, found = PseudoLabels(start=0.0, ramp_up=0.0), []
    for micro_batch in (4, 1):
        now, whole = state(CPU), completed(settings, kind, kind, kind, kind)
        assert len({int((labels == UNKNOWN).sum()) for labels in whole.pseudo[0]}) > 1
        replace(make_stepper(job, CPU), micro_batch=micro_batch).gradient(now, 4, whole)
        gradients = [p.grad for p in now.network.parameters() if p.grad is not None]
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-6)
    assert found[0].abs().max() > 1e-3
