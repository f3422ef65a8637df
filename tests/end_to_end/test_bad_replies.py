"""Replies to the planner that no site's cases can give, over an engine whose sites pretend."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from fednnunet import records
from fednnunet.commands import plan, train
from fednnunet.errors import FedNNUNetError
from fednnunet.federation.coordinator.stated import SITES, StatedCases, read_stated
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.site.site import Site
from fednnunet.federation.spec import read_federation
from fednnunet.federation.wire.messages import FingerprintReply, ShapesReply, pack, sums, unpack
from fednnunet.federation.workflows.plan import plan_together
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.plan import read_plan
from fednnunet.task import Task

Forge = Callable[[bytes], bytes]


def forged(kind: type, change: Callable[[np.ndarray], np.ndarray | None]) -> Forge:
    """Change the vector of one kind of reply; other replies pass as they are."""

    def forge(data: bytes) -> bytes:
        reply = unpack(data, sender="the test")
        if not isinstance(reply, kind):
            return data
        vector = reply.tensors["sums"].numpy().copy()
        changed = change(vector)
        return pack(kind(tensors=sums(vector if changed is None else changed)))

    return forge


def block(name: str, change: Callable[[np.ndarray], None]) -> Forge:
    """Change one part of a fingerprint, of the tiny federation's task."""
    task = Task(name="tiny", channels=("MRI",), labels=("background", "ball", "core"))
    return forged(FingerprintReply, lambda v: change(Fingerprint(task=task, vector=v).block(name)))


def other_schema(data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    message = json.loads(header["__metadata__"]["message"]) | {"schema": 99}
    header["__metadata__"]["message"] = json.dumps(message)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def halved(data: bytes) -> bytes:
    reply = unpack(data, sender="the test")
    return pack(FingerprintReply(tensors={"sums": reply.tensors["sums"].bfloat16()}))


def add(place: object, value: float) -> Callable[[np.ndarray], None]:
    def change(part: np.ndarray) -> None:
        part[place] += value

    return change


FORGERIES: dict[str, tuple[Forge, str]] = {
    "schema": (other_schema, "schema 99"),
    "garbage": (lambda data: b"no message", "cannot be read"),
    "bins": (forged(FingerprintReply, lambda v: v[:-1]), "other bins"),
    "rows": (forged(FingerprintReply, lambda v: np.stack([v, v])), "other bins"),
    "negative": (block("shape_z", add(3, -1.0)), "shape z has negative counts"),
    "fractions": (block("shape_y", add(3, 0.5)), "not whole numbers"),
    "does not add up": (block("spacing_x", add((0, 3), 1.0)), "counts 6 cases, not 5"),
    "more labels than cases": (block("cases_per_label", add(1, 3.0)), "have each label"),
    "weight": (block("foreground_0", add((1, slice(0, 40)), 1.0)), "intensity histogram"),
    "nan": (block("foreground_0", add((2, 5), np.nan)), "1 sums are not finite"),
    "infinite": (block("voxels_per_label", add(1, np.inf)), "not finite"),
    "shape bins": (forged(ShapesReply, lambda v: v[:-3]), "the shapes have"),
    "shape counts": (forged(ShapesReply, lambda v: add(20, 1.0)(v)), "counts 6 cases, not 5"),
    "shapes negative": (forged(ShapesReply, lambda v: add(20, -9.0)(v)), "negative"),
    "shapes nan": (forged(ShapesReply, lambda v: add(20, np.nan)(v)), "not finite"),
    "half precision": (halved, "the sums are torch.bfloat16"),
    "no sums": (lambda data: pack(FingerprintReply()), "holds the tensors []"),
}


class Pretender:
    """A site whose replies are forged."""

    def __init__(self, site: Site, forge: Forge) -> None:
        self.site, self.forge = site, forge

    def answer(self, data: bytes) -> bytes:
        return self.forge(self.site.answer(data))


@pytest.fixture(scope="module")
def honest(federation, tmp_path_factory):
    """The federation, and its sites with their measurements in memory."""
    read = read_federation(federation)
    base = tmp_path_factory.mktemp("honest")
    return read, {name: Site(name, read, base / name) for name in read.sites}


@pytest.mark.parametrize("name", FORGERIES)
def test_an_impossible_reply_is_refused_with_the_name_of_its_site(name, honest):
    federation, sites = honest
    forge, words = FORGERIES[name]
    engine = InProcessEngine(sites | {"south": Pretender(sites["south"], forge)})
    with pytest.raises(FedNNUNetError) as caught:
        plan_together(engine, federation)
    said = str(caught.value)
    assert words in said
    assert "site south" in said
    assert "site north" not in said
    assert "mend:" in said


def test_every_bad_reply_is_named_at_once(honest):
    federation, sites = honest
    forge = FORGERIES["negative"][0]
    bad = {name: Pretender(sites[name], forge) for name in ("north", "south")}
    with pytest.raises(FedNNUNetError) as caught:
        plan_together(InProcessEngine(sites | bad), federation)
    assert "site north" in str(caught.value)
    assert "site south" in str(caught.value)


def test_the_run_goes_on_without_the_site_when_told_so(federation, tmp_path, monkeypatch, capsys):
    whole, forge = Site.answer, FORGERIES["nan"][0]

    def answer(site: Site, data: bytes) -> bytes:
        reply = whole(site, data)
        return forge(reply) if site.name == "south" else reply

    monkeypatch.setattr(Site, "answer", answer)
    run = tmp_path / "run"
    assert plan.main([str(federation), "-o", str(run)]) == 2
    assert not (run / "plan.json").exists()
    assert "site south" in capsys.readouterr().err
    assert plan.main([str(federation), "-o", str(run), "--without", "south"]) == 0
    assert "site north stated 5 cases: 50.0% of the fingerprint" in capsys.readouterr().out
    assert read_stated(run).cases == {"north": 5, "west": 5}
    made = read_plan(run / "plan.json")
    assert made.cases == 10
    assert sorted(made.site_labels) == ["north", "west"]
    assert sorted(json.loads((run / "federation.json").read_text())["sites"]) == ["north", "west"]


def test_a_site_whose_folder_is_gone_can_be_left_out(federation, copy_of, tmp_path, capsys):
    root = copy_of(federation.parent)
    (root / "south").rename(tmp_path / "gone")
    command = [str(root / "federation.toml"), "-o", str(tmp_path / "run")]
    assert plan.main([*command, "--without", "south"]) == 0
    assert plan.main([*command, "--without", "oslo,south"]) == 2
    assert "there is no site oslo" in capsys.readouterr().err


def test_a_site_that_stated_more_cases_than_it_prepares_is_refused(planned, copy_of, capsys):
    run = copy_of(planned)
    stated = read_stated(run).cases
    records.write(StatedCases(cases={**stated, "south": 5_200_000}), run / SITES)
    assert train.main([str(run)]) == 2
    said = capsys.readouterr().err
    assert "5200000 cases were stated for the plan, but 4 are prepared for training" in said
    assert "site south" in said
    assert not (run / "rounds").exists()


def test_what_pretends_is_only_the_forgery(honest, tmp_path):
    """The same engine with honest replies plans, so it is the forgery that is refused above."""
    federation, sites = honest
    engine = InProcessEngine(sites | {"south": Pretender(sites["south"], lambda data: data)})
    planned = plan_together(engine, federation)
    alone = plan_together(simulation_engine(federation, tmp_path), federation)
    assert planned.plan == alone.plan
