from __future__ import annotations

import pytest

from fednnunet.errors import DataError, FedNNUNetError
from fednnunet.planning.union import union_task
from fednnunet.task import Task


def site(*labels: str, channels: tuple[str, ...] = ("T1", "T2")) -> Task:
    return Task(name="site", channels=channels, labels=("background", *labels))


def test_labels_are_united_whatever_the_order_of_sites() -> None:
    sites = {"b": site("spleen", "liver"), "a": site("liver", "kidney")}
    union = union_task("abdomen", sites)
    assert union.labels == ("background", "liver", "kidney", "spleen")
    assert union_task("abdomen", dict(reversed(sites.items()))) == union


def test_a_missing_channel_is_named_with_its_site() -> None:
    sites = {"berlin": site("liver"), "rome": site("liver", channels=("T1",))}
    with pytest.raises(DataError, match="site rome lacks the channel 'T2'"):
        union_task("abdomen", sites)


def test_all_missing_channels_are_listed() -> None:
    sites = {"berlin": site("liver", channels=("T2",)), "rome": site("liver", channels=("T1",))}
    with pytest.raises(FedNNUNetError, match="2 faults") as caught:
        union_task("abdomen", sites)
    assert "berlin lacks" in str(caught.value) and "rome lacks" in str(caught.value)


def test_another_order_of_channels_is_refused() -> None:
    sites = {"berlin": site("liver"), "rome": site("liver", channels=("T2", "T1"))}
    with pytest.raises(DataError, match="in the order T2, T1"):
        union_task("abdomen", sites)
