"""Replies are decoded by the filters' coordinator half before they are checked."""

from __future__ import annotations

from dataclasses import replace

import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.coordinator.engine import Answer
from fednnunet.federation.coordinator.exchange import ask
from fednnunet.federation.wire.messages import ModelInvite, ModelReply

INVITE = ModelInvite(run="", method="fedavg", round=1)


class Echo:
    """Sites that send the number that stands for them."""

    sites = ("a", "b")

    def ask(self, invites, deadline):
        for place, site in enumerate(invites):
            reply = ModelReply(tensors={"w": torch.full((2,), float(place))})
            yield Answer(site=site, reply=reply, bytes_from_site=7)


def test_replies_are_decoded_before_they_are_checked():
    seen = {}

    def decode(site, message):
        if site == "a":
            raise ReplyError("this cannot be read")
        return replace(message, tensors={"w": message.tensors["w"] + 1})

    def check(site, message):
        seen[site] = message.tensors["w"].tolist()

    answers = ask(Echo(), dict.fromkeys("ab", INVITE), ModelReply, decode=decode, check=check)
    assert seen == {"b": [2.0, 2.0]}
    assert answers.replies["b"].reply.tensors["w"].tolist() == [2.0, 2.0]
    assert answers.replies["b"].bytes_from_site == 7
    assert answers.errors["a"].what == "this cannot be read"
