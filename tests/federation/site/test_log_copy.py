"""A site's copy of the coordinator's log; what a cheating coordinator does is in tests/attacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.errors import RefusalError
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.site.answers import Answers
from fednnunet.federation.wire import chain, signing
from tests.federation.fakes import a_run
from tests.federation.logged import LoggedEngine, train
from tests.federation.site_fakes import INVITE


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The sites of a training that was logged."""
    folder = tmp_path_factory.mktemp("logged")
    engine = LoggedEngine(folder / "sites")
    train(a_run(folder / "run"), engine)
    return engine


def refused(copy, tmp_path) -> str:
    with pytest.raises(RefusalError) as caught:
        copy.check(INVITE, Answers(tmp_path / "answers"))
    assert caught.value.advice == "compare_logs"
    return caught.value.what


def test_before_any_log_an_invite_without_one_is_let_pass(tmp_path):
    copy = LoggedEngine(tmp_path).copy("a")
    copy.check(INVITE, Answers(tmp_path / "answers"))
    assert copy.head is None


def test_it_is_refused_where_the_site_or_the_file_wants_a_log_or_has_seen_one(trained, tmp_path):
    copy = LoggedEngine(tmp_path).copy("a")
    known = replace(copy, spec=LogSpec(coordinator_key="a" * 64))
    for one in (replace(copy, required=True), known, trained.copy("a")):
        assert "does not show the coordinator's log" in refused(one, tmp_path)


def test_the_head_is_the_last_line_with_the_sites_signature(trained):
    copy = trained.copy("b")
    head, lines = copy.head, chain.lines(copy.path)
    assert (head.number, head.sha256) == (len(lines), chain.digest(lines[-1]))
    if signing.can_sign():
        public = signing.pem_of(head.key)
        assert signing.is_signed(public, head.signed("b"), head.signature)
        assert not signing.is_signed(public, head.signed("a"), head.signature)
