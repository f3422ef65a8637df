from __future__ import annotations

import pytest
import torch

from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.federation.site import ledger
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.messages import (
    FingerprintReply,
    MeasureInvite,
    PrepareReply,
    TrainInvite,
    pack,
    sums,
    unpack,
    unpack_file,
)
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "a"))


def test_fields_and_tensors_survive_the_way():
    invite = TrainInvite(
        tensors={"w": torch.arange(6.0).reshape(2, 3)},
        run="",
        method="fedavg",
        round=3,
        phase="joint",
        resume_round=2,
        iterations=5,
        schedule_start=15,
        schedule_length=50,
    )
    back = unpack(pack(invite), sender="the coordinator")
    assert isinstance(back, TrainInvite)
    assert (back.method, back.round, back.schedule_length) == ("fedavg", 3, 50)
    assert torch.equal(back.tensors["w"], invite.tensors["w"])


def test_a_message_without_tensors_and_with_records():
    back = unpack(pack(MeasureInvite(task=TASK)), sender="x")
    assert isinstance(back, MeasureInvite)
    assert back.task == TASK


def test_sums_travel_in_double_precision():
    back = unpack(pack(FingerprintReply(tensors=sums([1 / 3]))), sender="x")
    assert back.tensors["sums"].dtype == torch.float64
    assert back.tensors["sums"].item() == 1 / 3


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04junk", b"\xff" * 40, pack(FingerprintReply())[:-9]]
)
def test_foreign_bytes_are_refused(data, tmp_path):
    (tmp_path / "reply").write_bytes(data)
    with pytest.raises(ReplyError, match="cannot be read"):
        unpack(data, sender="site berlin")
    with pytest.raises(ReplyError, match="cannot be read"):
        unpack_file(tmp_path / "reply", sender="site berlin")


def test_a_file_is_read_as_its_bytes_are_and_may_be_removed(tmp_path):
    sent = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(7), "e": torch.zeros(0, 4)}
    path = tmp_path / "reply"
    path.write_bytes(pack(FingerprintReply(tensors=sent)))
    with pytest.raises(ReplyError, match="more than 9"):
        unpack_file(path, sender="x", limit=9)
    back = unpack_file(path, sender="x", limit=10_000)
    path.unlink()
    assert isinstance(back, FingerprintReply) and back.tensors.keys() == sent.keys()
    assert all(torch.equal(back.tensors[name], sent[name]) for name in sent)


def test_a_mistyped_field_names_the_sender():
    data = pack(PrepareReply(training_cases=5, held_out_cases=2))
    forged = data.replace(b'training_cases\\": 5', b'training_cases\\": "')
    with pytest.raises(FedNNUNetError, match="site berlin"):
        unpack(forged, sender="site berlin")


def test_the_ledger_keeps_whole_lines_only(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger.record(path, kind="A", words="sums", data=b"12345")
    with path.open("a") as file:
        file.write('{"half": ')
    (entry,) = chain.read(path)
    assert entry["bytes"] == 5
    assert entry["what"] == "sums"
