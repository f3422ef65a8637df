"""One task for sites whose label sets differ; a site that lacks a channel is named."""

from __future__ import annotations

from collections.abc import Mapping

from fednnunet.errors import DataError, raise_all
from fednnunet.task import Task


def union_task(name: str, sites: Mapping[str, Task]) -> Task:
    """The task of all labels that any site has, in the order in which sites name them.

    Sites are taken by name, so that the order in which they answer does not matter. Raises
    DataError naming each site and channel that is missing there.
    """
    ordered = [sites[site] for site in sorted(sites)]
    channels = list(dict.fromkeys(c for task in ordered for c in task.channels))
    faults = [
        DataError(
            f"site {site} lacks the channel {channel!r}",
            where=f"site {site}, which has {', '.join(task.channels)}",
            mend="add the channel's images there, or plan without this site or this channel",
        )
        for site, task in sorted(sites.items())
        for channel in channels
        if channel not in task.channels
    ]
    raise_all("the sites have different channels", faults)
    first = ordered[0]
    orders = {site: task.channels for site, task in sites.items()}
    raise_all(
        "the sites order their channels differently",
        [
            DataError(
                f"site {site} has the channels in the order {', '.join(order)}, "
                f"others {', '.join(first.channels)}",
                where=f"site {site}",
                mend="number the image files in the same order",
            )
            for site, order in sorted(orders.items())
            if order != first.channels
        ],
    )
    background = first.labels[0]
    labels = dict.fromkeys(label for task in ordered for label in task.labels[1:])
    return Task(name=name, channels=first.channels, labels=(background, *labels))
