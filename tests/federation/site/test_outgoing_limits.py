"""What may leave a site in all."""

from __future__ import annotations

import pytest

from fednnunet.errors import RefusalError
from fednnunet.federation.site import ledger
from fednnunet.federation.site.outgoing_limits import OutgoingCheck
from fednnunet.federation.site.policy import OutgoingLimits
from fednnunet.federation.wire import chain

KIB = 2**-20  # GiB


def send(path, limits, sizes, kind="TrainReply", log=lambda text: None):
    checked = OutgoingCheck(ledger=path, limits=limits, log=log)
    for size in sizes:
        data = bytes(size)
        checked.check(kind, data)
        ledger.record(path, kind=kind, words="weights", data=data)


def test_without_limits_everything_may_leave(tmp_path):
    send(tmp_path / "l", None, [10, 20])
    send(tmp_path / "l", OutgoingLimits(), [10, 20])
    assert len(chain.read(tmp_path / "l")) == 4


def test_a_message_beyond_the_number_or_the_bytes_stays(tmp_path):
    limits = OutgoingLimits(max_messages={"TrainReply": 2})
    send(tmp_path / "a", limits, [1, 2])
    send(tmp_path / "a", limits, [1, 2])  # the same bytes again tell nothing new
    send(tmp_path / "a", limits, [7], kind="EvaluateReply")
    with pytest.raises(RefusalError, match="3 of 2 TrainReply"):
        send(tmp_path / "a", limits, [3])
    send(tmp_path / "b", OutgoingLimits(max_gib=3 * KIB), [1024, 2048])
    with pytest.raises(RefusalError, match="GiB"):
        send(tmp_path / "b", OutgoingLimits(max_gib=3 * KIB), [1])


def test_faults_always_leave(tmp_path):
    send(tmp_path / "l", OutgoingLimits(max_gib=KIB), [5000], kind="FaultReply")
    assert len(chain.read(tmp_path / "l")) == 1


def test_the_log_tells_before_it_runs_out(tmp_path):
    seen: list[str] = []
    send(tmp_path / "l", OutgoingLimits(max_messages={"TrainReply": 10}), range(8), log=seen.append)
    assert not seen
    send(tmp_path / "l", OutgoingLimits(max_messages={"TrainReply": 10}), [8], log=seen.append)
    assert seen == ["outgoing: 9 of 10 TrainReply have left"]


def test_the_log_tells_while_one_more_message_may_leave(tmp_path):
    seen: list[str] = []
    send(tmp_path / "a", OutgoingLimits(max_messages={"TrainReply": 3}), range(2), log=seen.append)
    assert seen == ["outgoing: 2 of 3 TrainReply have left"]
    send(tmp_path / "b", OutgoingLimits(max_gib=3.5 * KIB), [1024], log=seen.append)
    assert len(seen) == 1
    send(tmp_path / "b", OutgoingLimits(max_gib=3.5 * KIB), [1025], log=seen.append)
    assert len(seen) == 2 and "GiB have left" in seen[1]
