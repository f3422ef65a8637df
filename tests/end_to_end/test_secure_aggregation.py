"""Tiny hospitals that plan and train under masks, beside the same federation without them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from fednnunet.commands import ledger as ledger_command
from fednnunet.commands import plan, train
from fednnunet.errors import DataError
from fednnunet.federation.coordinator import history
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.coordinator.stated import read_stated
from fednnunet.federation.site.site import Site
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.messages import unpack
from fednnunet.federation.wire.secure_messages import MaskedTrainInvite
from tests.end_to_end.tiny import TOML, make_federation, no_pictures, plain_pages, shrink

pytest.importorskip("cryptography", reason="secure aggregation needs the extra `privacy`")

PLAIN = TOML.replace("trains = false\n", "").replace(
    "public_rounds = 1", 'public_rounds = 1\nmax_update_ratio = 0\nrecipe = "nnunet"'
)
"""By plain SGD, which does not enlarge differences in the last bits as AdamW does."""
SECURE = PLAIN + "\n[training.secure]\n\n[planning]\nsecure = true\n"


@contextmanager
def without_west(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The site west gives no vector in the second round."""
    whole = Site.answer

    def answer(site: Site, data: bytes) -> bytes:
        invite = unpack(data, sender="the test")
        if site.name == "west" and isinstance(invite, MaskedTrainInvite) and invite.round == 1:
            return site.fail(data, DataError("the disk is full", mend="make room"))
        return whole(site, data)

    with patch.context() as away:
        away.setattr(Site, "answer", answer)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The run folders of both, by name, with the weights of every round."""
    patch = pytest.MonkeyPatch()
    patch.setattr(history, "_KEPT_STATES", 9)
    root = tmp_path_factory.mktemp("secure")
    make_federation(root, toml=PLAIN)
    (root / "secure.toml").write_text(SECURE)
    found = {}
    for name, file in (("plain", "federation.toml"), ("secure", "secure.toml")):
        run = root / name
        with plain_pages():
            assert plan.main([str(root / file), "-o", str(run)]) == 0
        shrink(run / "plan.json")
        with no_pictures():
            if name == "secure":  # a site is away once, after others have sent their vectors
                with without_west(patch):
                    assert train.main([str(run)]) == 2
                assert len(load_records(run / "rounds")) == 1
            assert train.main([str(run)]) == 0
        found[name] = run
    patch.undo()
    return found


def test_the_plan_and_its_sums_are_the_same(runs):
    plain, secure = runs["plain"], runs["secure"]
    for name in ("plan.json", "fingerprint.json", "why.md"):
        assert (secure / name).read_bytes() == (plain / name).read_bytes()
    assert read_stated(plain).cases and not read_stated(secure).cases


def test_the_weights_are_the_same_to_the_precision_of_the_numbers(runs):
    for number in (1, 2, 3):
        name = f"rounds/{number:04d}.safetensors"
        one, other = load_file(runs["plain"] / name), load_file(runs["secure"] / name)
        assert one.keys() == other.keys()
        for key in one:
            torch.testing.assert_close(other[key], one[key], rtol=1e-6, atol=1e-8)


def test_no_site_tells_its_loss_and_every_site_counts(runs):
    records = load_records(runs["secure"] / "rounds")
    assert [record.phase for record in records] == ["joint", "joint", "public"]
    for record in records:
        assert sorted(record.sites) == ["north", "south", "west"] and not record.refused
        assert all(site.loss is None and not site.dice for site in record.sites.values())


def test_the_ledger_says_that_all_of_it_was_masked(runs, capsys):
    folder = runs["secure"] / "sites" / "north"
    entries = chain.read(folder / "ledger.jsonl")
    kinds = {str(entry["message"]) for entry in entries}
    assert {"MaskedFingerprintReply", "MaskedShapesReply", "MaskedTrainReply"} <= kinds
    assert not kinds & {"FingerprintReply", "ShapesReply", "TrainReply"}
    # one round was asked for twice, with other masks
    masked = [entry for entry in entries if entry["message"] == "MaskedTrainReply"]
    assert len(masked) == 4 and all("under masks" in str(entry["what"]) for entry in masked)
    assert ledger_command.main([str(folder), "--verify"]) == 0


def test_what_is_secret_is_its_owners_alone(runs):
    path = runs["secure"] / "sites" / "north" / "secure" / "training.json"
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())["revealed"] == ["north", "south", "west"]
