"""A fingerprint as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.planning.fingerprint import (
    Fingerprint,
)
from fednnunet.planning.record import read_fingerprint, write_fingerprint
from tests.planning.cases import TASK, make_cases

CASES = make_cases(12)


WHOLE = Fingerprint.of(TASK, CASES)


def test_a_fingerprint_survives_its_file(tmp_path: Path) -> None:
    write_fingerprint(WHOLE, tmp_path / "fingerprint.json")
    assert (
        read_fingerprint(tmp_path / "fingerprint.json").vector.tobytes() == WHOLE.vector.tobytes()
    )


def test_a_file_with_other_bins_or_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fingerprint.json"
    write_fingerprint(WHOLE, path)
    data = json.loads(path.read_text())
    for change in ({"bins": "spacing 7"}, {"schema": 99}, {"schema": 1}):
        path.write_text(json.dumps(data | change))
        with pytest.raises(FedNNUNetError, match="bins") as caught:
            read_fingerprint(path)
        assert "measure again with preprocessing/fingerprint_site.py" in str(caught.value)
    path.write_text(json.dumps(data | {"parts": {}}))
    with pytest.raises(ReplyError, match="cases"):
        read_fingerprint(path)
    misplaced = data["parts"] | {"cases": {"places": [3], "values": [12.0]}}
    path.write_text(json.dumps(data | {"parts": misplaced}))
    with pytest.raises(ReplyError, match="outside"):
        read_fingerprint(path)
