"""Task files whose values are too deep, too large or no text: refused, and at once."""

from __future__ import annotations

import json

import pytest

from fednnunet import records
from fednnunet.dataset_header import task_of
from fednnunet.errors import FedNNUNetError, InputError, ReplyError
from fednnunet.federation.site.policy import read_policy
from fednnunet.federation.spec import read_federation
from fednnunet.federation.wire.messages import PrepareReply, pack, unpack
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.plan import Reason, read_plan
from fednnunet.planning.validate import validate
from tests.planning.cases import TASK, exchanges, make_cases

FEDERATION = """
[task]
name = "t"
channels = ["MRI"]
labels = ["background", "a"]
[sites.berlin]
folder = {folder}
[training]
rounds = {rounds}
"""


@pytest.mark.parametrize("depth", [70, 900, 100_000])
def test_nested_brackets_are_refused(tmp_path, depth):
    path = tmp_path / "plan.json"
    path.write_text("[" * depth + "]" * depth)
    with pytest.raises(InputError):
        read_plan(path)
    (tmp_path / "dataset.json").write_text(path.read_text())
    with pytest.raises(InputError):
        task_of(tmp_path)


@pytest.mark.parametrize("depth", [70, 5000])
def test_nested_brackets_in_toml_are_refused(tmp_path, depth):
    path = tmp_path / "federation.toml"
    path.write_text("a = " + "[" * depth + "]" * depth)
    with pytest.raises(InputError):
        read_federation(path)
    with pytest.raises(InputError):
        read_policy(path, tmp_path)


@pytest.mark.parametrize("rounds", ["1000000000", "10" * 30, "1e400", "inf"])
def test_rounds_without_end_are_refused(tmp_path, rounds):
    path = tmp_path / "federation.toml"
    path.write_text(FEDERATION.format(folder='"."', rounds=rounds))
    with pytest.raises(InputError):
        read_federation(path)


@pytest.mark.parametrize("folder", ['"\\u0000"', f'"{"a" * 300}"', f'"{"a/" * 3000}"'])
def test_names_that_no_folder_has_are_refused(tmp_path, folder):
    path = tmp_path / "federation.toml"
    path.write_text(FEDERATION.format(folder=folder, rounds=3))
    with pytest.raises(InputError, match="cannot be the name"):
        read_federation(path)


@pytest.mark.parametrize("value", [10**9, float("inf"), float("-inf"), 10**400, [1, 10**9]])
def test_labels_without_end_are_refused_or_passed_over(tmp_path, value):
    header = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": value}}
    (tmp_path / "dataset.json").write_text(json.dumps(header))
    try:
        task = task_of(tmp_path)
    except FedNNUNetError:
        return
    assert len(task.labels) < 10


@pytest.mark.parametrize("value", [10**400, -(10**400), 2**63])
def test_numbers_beyond_any_count_are_refused(value):
    with pytest.raises(FedNNUNetError, match="bits"):
        records.decode(PrepareReply, {"training_cases": value, "held_out_cases": 1})


HEXADECIMAL = "0x" + "f" * 5000  # TOML has no limit here, where Python writes 4,300 digits at most


@pytest.mark.parametrize(
    "text",
    [
        f"task = {HEXADECIMAL}",
        f"sites = [{HEXADECIMAL}]",
        f"[training]\nrecipe = {HEXADECIMAL}",
        f"[training]\nmethod = {HEXADECIMAL}",
        f"[training]\nbaselines = {HEXADECIMAL}",
        f"[training]\nrounds = {HEXADECIMAL}",
        f"[budget]\nplanner = [{HEXADECIMAL}]",
    ],
)
def test_numbers_too_long_to_be_written_are_refused(tmp_path, text):
    path = tmp_path / "federation.toml"
    path.write_text(text)
    with pytest.raises(FedNNUNetError) as caught:
        read_federation(path)
    assert len(str(caught.value)) < 5000
    path.write_text(f"min_cases = {HEXADECIMAL}")
    with pytest.raises(InputError, match="bits"):
        read_policy(path, tmp_path)


def test_half_a_character_is_refused():
    with pytest.raises(FedNNUNetError, match="not text"):
        records.decode(Reason, {"decision": "\ud800", "because": "a"})


def test_tensors_among_the_fields_of_a_message_are_refused():
    data = pack(PrepareReply(training_cases=5, held_out_cases=2))
    forged = data.replace(b'\\"training_cases\\": 5', b'\\"tensors\\": 5, \\"q\\": 5  ')
    assert len(forged) == len(data) + 13 or forged != data
    length = int.from_bytes(data[:8], "little") + len(forged) - len(data)
    with pytest.raises(ReplyError):
        unpack(length.to_bytes(8, "little") + forged[8:], sender="site berlin")


@pytest.mark.parametrize("column, value", [(1, 1e300), (2, -1.0), (3, 1e200), (4, 1e300), (1, 0.5)])
def test_moments_that_no_values_have_are_refused(column, value):
    fingerprint, _ = exchanges(make_cases(6))
    validate(fingerprint, site="berlin")
    changed = Fingerprint(task=TASK, vector=fingerprint.to_vector())
    block = changed.block("spacing_z")
    occupied = int(block[0].argmax())
    block[column, occupied] = value
    with pytest.raises(FedNNUNetError, match="spacing z has moments"):
        validate(changed, site="berlin")
