"""Whatever goes wrong at a site, no name of a case or a patient gets out, in no byte."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from fednnunet import errors, records
from fednnunet.commands.report_run import report_run
from fednnunet.errors import FedNNUNetError, ManyFaults
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.site import site as site_module
from fednnunet.federation.site import wall
from fednnunet.federation.site.site import Site
from fednnunet.federation.site.wall import LEDGER, LOG, SiteFault
from fednnunet.federation.spec import Federation, read_federation
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.faults import KINDS
from fednnunet.federation.wire.messages import (
    FaultReply,
    FingerprintReply,
    MeasureInvite,
    Message,
    pack,
    unpack,
)
from fednnunet.federation.workflows.plan import plan_together
from fednnunet.federation.workflows.simulation import SITES, simulation_engine
from fednnunet.federation.workflows.train import train_together
from fednnunet.planning.plan import read_plan
from fednnunet.preprocess.workers import run_jobs
from fednnunet.training.batches import batches
from tests.end_to_end.tiny import TOML, make_federation, shrink

PATIENT, CASE = "Erika_Mustermann", "admission_77"
VOXELS = 4711

SUBCLASSES = {
    name: found
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, FedNNUNetError)
}


def rename_cases(folder: Path) -> None:
    """Put the names of a case and a patient into every file of a site."""
    for path in sorted(folder.glob("*/case_*")):
        path.rename(path.with_name(path.name.replace("case_", f"{CASE}_{PATIENT}_")))


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Federation:
    path = make_federation(
        tmp_path_factory.mktemp("hospitals") / PATIENT,
        toml=TOML.replace("rounds = 2", "rounds = 2\nquorum = 1\nvalidate_every = 1", 1),
    )
    for site in ("north", "south", "west"):
        rename_cases(path.parent / site)
    return read_federation(path)


def told(text: str) -> str:
    """What an exception at a site may say."""
    return f"{text} of {PATIENT} in labelsTr/{CASE}_{PATIENT}_0.nii.gz, {VOXELS} voxels"


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: object, **settings: object) -> None:
        raise error

    return fail


def a_fault(kind: type[FedNNUNetError]) -> FedNNUNetError:
    if kind is ManyFaults:
        single = (kind for kind in SUBCLASSES.values() if kind is not ManyFaults)
        return ManyFaults(told("faults"), [a_fault(kind) for kind in single])
    return kind(told("what"), where=told("where"), mend=told("mend"), advice=told("advice"))


class Dying:
    """A source of batches that kills the process which asks it."""

    def __getitem__(self, step: int) -> None:
        os._exit(9)


def killed_case_worker(cases: Any, task: Any, **settings: Any) -> None:
    run_jobs(os._exit, {case.name: 9 for case in cases[:2]}, workers=2, progress=None, what="x")


def killed_batch_worker(cases: Any, task: Any, **settings: Any) -> None:
    list(batches(Dying(), 0, 2, workers=1, pin=False))  # type: ignore[arg-type]


CAUSES: dict[str, tuple[Callable[..., Any], str]] = {
    **{
        name: (
            raising(a_fault(kind)),
            next(k for k, v in KINDS.items() if v.error is kind and k != "unexpected"),
        )
        for name, kind in SUBCLASSES.items()
    },
    "unexpected": (raising(ValueError(told("value"))), "unexpected"),
    "a file": (raising(OSError(28, "No space left", told("file"))), "unexpected"),
    "memory": (raising(MemoryError(told("memory"))), "out_of_memory"),
    "GPU memory": (raising(torch.OutOfMemoryError(told("memory"))), "out_of_memory"),
    "a killed case worker": (killed_case_worker, "killed_worker"),
    "a killed batch worker": (killed_batch_worker, "killed_worker"),
}


def assert_silent(data: bytes, where: str) -> None:
    for secret in (PATIENT, CASE, f"{VOXELS} voxels"):
        assert secret.encode() not in data, (secret, where)


def test_every_class_of_error_has_a_kind_of_its_own():
    assert {kind.error for kind in KINDS.values()} == set(SUBCLASSES.values())


@pytest.mark.parametrize("cause", CAUSES)
def test_of_no_fault_does_a_name_leave(cause, federation, tmp_path, monkeypatch):
    fail, kind = CAUSES[cause]
    seen: list[SiteFault] = []
    site = Site("north", federation, tmp_path / PATIENT, on_fault=seen.append)
    monkeypatch.setattr(site_module, "measure_cases", fail)
    data = site.answer(pack(MeasureInvite(task=federation.task)))
    assert_silent(data, cause)
    reply = unpack(data, sender="site north")
    assert isinstance(reply, FaultReply)
    assert reply.kind == kind
    many = {"ManyFaults": len(SUBCLASSES) - 1, "a killed case worker": 2}
    assert reply.faults == many.get(cause, 1)
    assert_silent(str(reply.error("north")).encode(), cause)

    (entry,) = chain.read(site.base / LEDGER)
    assert entry["message"] == "FaultReply"
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    (fault,) = seen
    assert fault.log == site.base / LOG
    assert fault.log.stat().st_mode & 0o077 == 0
    assert ("Traceback" in fault.log.read_text()) == (kind == "unexpected" or "memory" in cause)
    assert "Traceback" not in fault.text
    if cause != "a killed batch worker":
        assert CASE in fault.text and CASE in fault.log.read_text()


@pytest.mark.parametrize("data", [b"", b"\x80\x04junk", pack(FingerprintReply())])
def test_what_is_no_invite_is_answered_by_a_fault(data, federation, tmp_path):
    site = Site("north", federation, tmp_path / "north")
    reply = unpack(site.answer(data), sender="north")
    assert isinstance(reply, FaultReply)
    assert (reply.kind, reply.advice) == ("message", "same_version")
    assert [entry["message"] for entry in chain.read(site.base / LEDGER)] == ["FaultReply"]


def test_what_the_ledger_cannot_hold_does_not_leave(federation, tmp_path, monkeypatch):
    site = Site("north", federation, tmp_path / "north")
    monkeypatch.setattr(wall.ledger, "record", raising(OSError(28, told("disk"))))
    data = site.answer(pack(MeasureInvite(task=federation.task)))
    assert isinstance(unpack(data, sender="north"), FaultReply)
    assert_silent(data, "a full disk")


def test_a_terminal_that_fails_does_not_open_the_wall(federation, tmp_path, monkeypatch):
    site = Site("north", federation, tmp_path / "n", on_fault=raising(OSError(told("closed"))))
    monkeypatch.setattr(site_module, "measure_cases", raising(ValueError(told("value"))))
    data = site.answer(pack(MeasureInvite(task=federation.task)))
    assert isinstance(unpack(data, sender="north"), FaultReply)


def test_an_interruption_by_the_user_goes_through(federation, tmp_path, monkeypatch):
    site = Site("north", federation, tmp_path / "north")

    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(site_module, "measure_cases", interrupted)
    with pytest.raises(KeyboardInterrupt):
        site.answer(pack(MeasureInvite(task=federation.task)))


class Listening:
    """An engine that keeps every byte that sites send."""

    def __init__(self, engine: InProcessEngine) -> None:
        self.sent: list[bytes] = []
        sites = {name: self._heard(engine.local(name)) for name in engine.sites}
        self._engine = InProcessEngine(sites)
        self.sites = self._engine.sites
        self.local = self._engine.local

    def _heard(self, site: Any) -> Any:
        whole = site.answer

        def answer(data: bytes) -> bytes:
            reply = whole(data)
            self.sent.append(reply)
            return reply

        site.answer = answer
        return site

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        return self._engine.ask(invites, deadline)


def test_the_coordinators_folder_holds_only_what_messages_brought(
    federation, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    seen: list[SiteFault] = []
    engine = Listening(simulation_engine(federation, run, on_fault=seen.append))
    records.write(plan_together(engine, federation).plan, run / "plan.json")
    shrink(run / "plan.json")
    train = site_module.SiteTrainer.train
    evaluate = site_module.evaluate_at_site

    def trains(trainer: Any, invite: Any, **settings: Any) -> Any:
        if trainer.site.name == "south" and invite.round == 1:
            raise a_fault(errors.DataError)
        return train(trainer, invite, **settings)

    def evaluates(bundle: Any, cases: Any, folder: Path, **settings: Any) -> Any:
        if "north" in str(folder) and not settings["pictures"]:
            raise ValueError(told("value"))
        return evaluate(bundle, cases, folder, **settings)

    monkeypatch.setattr(site_module.SiteTrainer, "train", trains)
    monkeypatch.setattr(site_module, "evaluate_at_site", evaluates)
    plan = read_plan(run / "plan.json")
    for name in federation.sites:
        engine.local(name).approve(plan)
    train_together(engine, federation, plan, run, observer=lambda *_: None)
    elsewhere = {
        name: dataclasses.replace(site, folder=Path("data"))
        for name, site in federation.sites.items()
    }
    records.write(dataclasses.replace(federation, sites=elsewhere), run / "federation.json")
    report_run(run)

    history = load_records(run / "rounds")
    assert history[1].refused["south"] == KINDS["data"].words
    assert "failed unexpectedly" in history[0].faults["north"]
    assert len(seen) >= 2
    kept = [p for p in run.rglob("*") if p.is_file() and SITES not in p.relative_to(run).parts]
    assert {"report.html", "history.csv", "scores.json", "0002.json"} <= {p.name for p in kept}
    for path in kept:
        assert_silent(path.read_bytes(), str(path))
        assert PATIENT not in str(path.relative_to(run)) and CASE not in str(path.relative_to(run))
        assert path.suffix != ".png"
    assert "data:image/png" not in (run / "report.html").read_text()
    for data in engine.sent:
        assert_silent(data, "a reply")

    for name in federation.sites:
        own = (run / SITES / name / "report.html").read_text()
        assert CASE in own and "data:image/png" in own
        others = set(federation.sites) - {name}
        assert not any(f"site {other}" in own for other in others)
