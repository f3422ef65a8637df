"""An ordered chain of filters: the first is nearest to the site's work."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.federation.filters.filter import Filter, FilterContext
from fednnunet.federation.wire.messages import TrainInvite
from fednnunet.network.tensors import Tensors

_PREFIX = "filters/"


def context_of(invite: TrainInvite, site: str) -> FilterContext:
    """What filters see of the round that an invite begins."""
    return FilterContext(
        site=site,
        run=invite.run,
        round=invite.round,
        phase=invite.phase,
        received=invite.tensors,
    )


def may_be_coded(invite: TrainInvite) -> bool:
    """Whether a site has the weights that changes are from: it was accepted in the round before.

    That round was of the same phase, since the public phase counts its rounds by itself.
    """
    return invite.phase != "personal" and invite.resume_round == invite.round > 0


def is_coded(invite: TrainInvite) -> bool:
    """Whether an invite brings codes of changes in the place of weights."""
    kinds = {tensor.dtype for tensor in invite.tensors.values()}
    return may_be_coded(invite) and bool(kinds & {torch.uint8, torch.bfloat16})


def filter_at_site(
    filters: Sequence[Filter],
    payload: Tensors,
    context: FilterContext,
    memory: MutableMapping[str, Tensor],
) -> Tensors:
    """The tensors that leave the site.

    `memory` is the site's, saved with its state: each filter has a part of it, which is replaced
    by what the filter leaves in its context.
    """
    for place, one in enumerate(filters):
        prefix = f"{_PREFIX}{place}/"
        old = {name: tensor for name, tensor in memory.items() if name.startswith(prefix)}
        own = {name.removeprefix(prefix): tensor.cpu() for name, tensor in old.items()}
        payload = one.site(payload, replace(context, memory=own))
        for name in old:
            del memory[name]
        memory.update({prefix + name: tensor for name, tensor in own.items()})
    return payload


def filter_at_coordinator(
    filters: Sequence[Filter], payload: Tensors, context: FilterContext
) -> Tensors:
    """The tensors that a site's work gave, as far as the filters can tell.

    Raises ReplyError for a payload that cannot be read, whatever is wrong with it.
    """
    for one in reversed(filters):
        try:
            payload = one.coordinator(payload, replace(context, memory={}))
        except FedNNUNetError:
            raise
        except Exception as error:  # noqa: BLE001 - foreign tensors may be wrong in any way
            raise ReplyError(
                f"a reply does not pass a filter's coordinator half: {type(error).__name__}",
                where=f"reply of site {context.site}",
                mend="coordinator and site must have the same training.filters and version",
            ) from None
    return payload
