"""What needs a person at a site, and what that person is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.site import consent
from fednnunet.federation.site.policy import Allowed, SitePolicy, read_policy
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from tests.federation.fakes import a_plan

ALLOWED = Allowed(methods=("fedavg",), max_rounds=5)


def a_federation(**training: object) -> Federation:
    settings = {"method": "fedavg", "rounds": 5, "public_rounds": 0} | training
    return Federation(
        task=a_plan().task,
        sites={"a": SiteSpec()},
        training=Training(**settings),  # type: ignore[arg-type]
    )


def test_without_a_table_a_person_decides() -> None:
    assert SitePolicy().allow is None
    assert consent.reasons_to_ask(a_federation(), None)


def test_what_is_within_the_table_needs_nobody() -> None:
    assert consent.reasons_to_ask(a_federation(), ALLOWED) == ()


@pytest.mark.parametrize(
    ("training", "word"),
    [
        ({"rounds": 6}, "6 rounds"),
        ({"method": "fedprox"}, "fedprox"),
        ({"baselines": ("local",)}, "local"),
        ({"public_rounds": 1}, "6 rounds"),
    ],
)
def test_what_goes_beyond_needs_a_person(training: dict[str, object], word: str) -> None:
    (reason,) = consent.reasons_to_ask(a_federation(**training), ALLOWED)
    assert word in reason


def test_a_filter_that_the_site_demands_must_be_used() -> None:
    demanded = Allowed(methods=("fedavg",), max_rounds=5, filters=("delta_bfloat16",))
    assert consent.reasons_to_ask(a_federation(), demanded)
    used = a_federation(filters=("delta_bfloat16",))
    assert consent.reasons_to_ask(used, demanded) == ()


def test_a_person_is_told_what_leaves_and_how_large() -> None:
    told = "\n".join(consent.in_words(a_federation(), a_plan(), SitePolicy()))
    assert "fedavg, 5 rounds" in told and "MiB" in told and "8 x 8 x 8" in told
    assert "standard deviation of the loss" not in told
    weighted = consent.in_words(a_federation(weights="loss_bound"), a_plan(), SitePolicy())
    assert "standard deviation of the loss" in "\n".join(weighted)
    assert a_plan().task.name in told


def test_a_person_is_told_what_leaves_beside_the_rounds() -> None:
    plain = "\n".join(consent.in_words(a_federation(), a_plan(), SitePolicy()))
    for word, settings in {
        "every 2 rounds": {"validate_every": 2},
        "to training alone": {"baselines": ("local",)},
        "post-processing": {"postprocessing": True},
        "without one site": {"contribution": True},
        "own model": {"routed": True},
    }.items():
        told = "\n".join(consent.in_words(a_federation(**settings), a_plan(), SitePolicy()))
        assert word in told and word not in plain
    sharing = consent.in_words(a_federation(), a_plan(), SitePolicy(share_pictures=True))
    assert "pictures" in sharing[-1]


def test_a_request_waits_until_it_is_settled(tmp_path: Path) -> None:
    request = consent.Request(plan=a_plan(), reasons=("why",))
    consent.keep_request(tmp_path, request)
    found = consent.read_request(tmp_path)
    assert found is not None and found.reasons == ("why",)
    consent.drop_request(tmp_path)
    assert consent.read_request(tmp_path) is None


@pytest.mark.parametrize(
    ("begin", "end", "open_at", "closed_at"), [(8, 18, 8, 18), (18, 7, 3, 12), (0, 24, 23, None)]
)
def test_hours_may_cross_midnight(
    begin: int, end: int, open_at: int, closed_at: int | None
) -> None:
    allowed = Allowed(methods=(), max_rounds=1, begin_hour=begin, end_hour=end)
    assert allowed.is_open(open_at)
    assert closed_at is None or not allowed.is_open(closed_at)


def test_the_table_is_read_from_the_sites_file(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('[allow]\nmethods = ["fedavg"]\nmax_rounds = 5\n')
    assert read_policy(path, tmp_path).allow == ALLOWED
    path.write_text("[allow]\nmethods = []\nmax_rounds = 5\nbegin_hour = 3\nend_hour = 3\n")
    with pytest.raises(InputError, match="begin_hour"):
        read_policy(path, tmp_path)
