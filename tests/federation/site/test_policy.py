"""A site's own limits on what it shares."""

from __future__ import annotations

import pytest

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.site.policy import FILE_NAME, SitePolicy, read_policy


def test_a_policy_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="min_cases is 0"):
        SitePolicy(min_cases=0)


def test_a_bin_holds_at_most_all_cases():
    assert SitePolicy(min_cases=3, min_bin_count=8).required_cases == 8
    assert SitePolicy(min_cases=9, min_bin_count=2).required_cases == 9


def test_the_named_file_goes_before_that_of_the_folder(tmp_path):
    assert read_policy(None, tmp_path) == SitePolicy()
    (tmp_path / FILE_NAME).write_text("min_cases = 7\n")
    assert read_policy(None, tmp_path) == SitePolicy(min_cases=7)
    own = tmp_path / "own.toml"
    own.write_text("share_model = true\n")
    assert read_policy(own, tmp_path) == SitePolicy(share_model=True)


def test_a_teacher_lies_beside_the_policy(tmp_path):
    (tmp_path / FILE_NAME).write_text('teacher = "models/organ"')
    assert read_policy(None, tmp_path).teacher == tmp_path / "models" / "organ"
    assert SitePolicy().teacher is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("min_cases = ", "not readable TOML"),
        ("min_case = 3", "unknown field 'min_case'"),
        ('min_cases = "3"', "must be a whole number"),
        ("min_scored_cases = 0", "min_scored_cases is 0"),
        ("[outgoing]\nmax_gib = -1", "max_gib is -1"),
        ("[outgoing.max_messages]\nTrainInvite = 3", "no limit of messages"),
        ("[outgoing.max_messages]\nTrainReply = -3", "no limit of messages"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused_with_its_file(tmp_path, text, words):
    path = tmp_path / FILE_NAME
    path.write_text(text)
    with pytest.raises(FedNNUNetError) as caught:
        read_policy(None, tmp_path)
    assert words in str(caught.value) and str(path) in str(caught.value)
