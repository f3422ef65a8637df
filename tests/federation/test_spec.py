from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.methods.fedease import FedEase
from fednnunet.federation.spec import read_federation
from fednnunet.supervision import Supervision

TASK = """
[task]
name = "t"
channels = ["MRI"]
labels = ["background", "a", "b"]
"""
SITES = """
[sites.one]
folder = "one"
[sites.two]
folder = "two"
"""


@pytest.fixture
def write(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    def write(text: str) -> Path:
        path = tmp_path / "federation.toml"
        path.write_text(text)
        return path

    return write


def test_folders_are_relative_to_the_file(write, tmp_path):
    federation = read_federation(write(TASK + SITES))
    assert federation.sites["one"].folder == tmp_path / "one"
    assert list(federation.sites) == ["one", "two"]
    assert federation.training.method == FedEase()


def test_partial_sites_annotate_what_they_say(write):
    text = TASK + SITES + 'labels = "partial"\nannotated = ["b"]\n'
    federation = read_federation(write(text))
    partial = Supervision(kind="partial", annotated=(2,))
    assert federation.agreed_labels("two") == partial
    assert federation.agreed_labels("one") == Supervision()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TASK, "sites"),
        (TASK + SITES + "colour = 1\n", "unknown field 'colour'"),
        (TASK + SITES + '[training]\nrounds = "ten"\n', "must be a whole number"),
        (TASK + SITES + '[training]\nmethod = "magic"\n', "choose one of: fedavg"),
        (TASK + SITES + '[training]\nrecipe = "magic"\n', "no recipe"),
        (TASK + SITES + '[budget]\nplanner = "magic"\n', "no planner"),
        (TASK + SITES + "[training]\nrounds = 0\n", "at least 1"),
        (TASK + SITES + '[sites."../up"]\nfolder = "one"\n', "cannot be a site's name"),
        (TASK + SITES + 'labels = "partial"\n', "list the annotated labels"),
        (TASK + SITES + 'labels = "partial"\nannotated = ["c"]\n', "does not name"),
        (TASK + SITES + 'patient = "(a"\n', "no regular expression"),
        (TASK + SITES + 'patient = "abc"\n', "has no group"),
        (TASK + "[sites.three]\nfolder = 'three'\n", "site three is missing"),
        (TASK.replace('["MRI"]', "[]") + SITES, "at least one channel"),
        (TASK + SITES + "joins = 0\n", "joins is 0"),
        (TASK + SITES + "joins = 5\nleaves = 4\n", "joins is 5 and leaves 4"),
        (TASK + SITES + "[training]\nsites_per_round = -1\n", "or quorum is negative"),
        (TASK + SITES + "[training]\npersonal_rounds = -1\n", "public_rounds is negative"),
        (TASK + SITES + '[training]\nselection = "best"\n', "choose one of: random, loss"),
        (TASK + SITES + '[training]\npersonal_schedule = "x"\n', "choose one of: own, continued"),
        (TASK + '[sites.one]\nfolder = "one"\njoins = 2\n', "no site takes part in round 1"),
        (TASK + '[sites.one]\nfolder = "one"\nleaves = 9\n', "no site takes part in round 10"),
        (TASK + SITES + "joins = 61\n", "joins in round 61 of 60, so it never trains"),
        (TASK + SITES + "[training]\nquorum = 3\n", "a round invites only 2 sites"),
        (
            TASK + SITES + '[training]\nmethod = "fedavg"\n[training.robust]\nfaulty = 9\n',
            "needs 19 replies",
        ),
        (
            TASK + SITES + "[training]\nquorum = 2\nsites_per_round = 1\n",
            "a round invites only 1 sites",
        ),
        (TASK + SITES + "[training]\npretraining_rounds = -1\n", "pretraining_rounds, personal"),
        (
            TASK + SITES + "[training.pretraining]\nmasked = 0.5\n",
            "but pretraining_rounds is 0",
        ),
        (
            TASK + SITES + '[training.imbalance]\ncopy_paste = ["c"]\n',
            "copy_paste names 'c', which the task does not",
        ),
        ("[task\n", "not readable TOML"),
    ],
)
def test_what_is_wrong_with_a_federation_file_is_said(write, text, words):
    with pytest.raises(FedNNUNetError) as caught:
        read_federation(write(text))
    assert words in str(caught.value)


def test_public_rounds_need_no_site_if_they_may_not_take_place(write):
    text = TASK + SITES + 'leaves = 9\n[training]\nmethod = "fedavg"\nrounds = 10\n'
    one = text.replace('folder = "one"', 'folder = "one"\nleaves = 10')
    assert read_federation(write(one)).members["one"].leaves == 10


def test_all_faults_come_at_once(write):
    text = TASK + SITES + "colour = 1\n[training]\nrounds = 'ten'\nmethod = 3\n"
    with pytest.raises(FedNNUNetError) as caught:
        read_federation(write(text))
    message = str(caught.value)
    assert "colour" in message
    assert "$.training.rounds" in message
    assert "$.training.method" in message


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(InputError, match="there is no federation file"):
        read_federation(tmp_path / "none.toml")
