"""The weights that a site was sent, kept so that it can read codes of their changes.

They lie in a file a round, the last two of them: a round that is asked for again is read again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fednnunet.errors import FedNNUNetError, RefusalError
from fednnunet.federation.filters.chain import filter_at_coordinator, is_coded
from fednnunet.federation.filters.filter import Filter, FilterContext
from fednnunet.federation.site.places import inside
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import TrainInvite
from fednnunet.files import replacing

FOLDER = "received"
_KEPT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedWeights:
    """What a site with the working folder `base` was sent; `filters` are those of the way down."""

    base: Path
    filters: tuple[Filter, ...]

    def whole(self, invite: TrainInvite) -> TrainInvite:
        """The invite with weights in the place of codes.

        Raises RefusalError where the weights of the round before are not there, and for codes that
        cannot be read.
        """
        if not self.filters or not is_coded(invite):
            return invite
        before = self._file(invite, invite.round - 1)
        codes, extras = split(invite.tensors)
        try:
            context = FilterContext(
                site="",
                run=invite.run,
                round=invite.round,
                phase=invite.phase,
                received=load_file(before),
            )
            weights = filter_at_coordinator(self.filters, codes, context)
        except (OSError, SafetensorError):
            raise RefusalError(
                f"the weights that the site received in round {invite.round} are not there",
                where=str(before),
                mend="restore the site's folder; in the round after next it is sent all weights",
                advice="restore_state",
            ) from None
        except FedNNUNetError as error:
            raise RefusalError(
                f"what the site was sent cannot be read: {error.what}",
                mend="give coordinator and sites the same training.filters_down and version",
                advice="as_agreed",
            ) from None
        return replace(invite, tensors=join(weights, extras))

    def keep(self, invite: TrainInvite) -> None:
        """Keep the weights of a whole invite, before it is answered."""
        if not self.filters or not invite.tensors:
            return
        path = self._file(invite, invite.round)
        tensors = {name: t.contiguous() for name, t in split(invite.tensors)[0].items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary)
        for old in sorted(path.parent.glob(f"{invite.phase}_*.safetensors"))[:-_KEPT]:
            old.unlink(missing_ok=True)

    def _file(self, invite: TrainInvite, number: int) -> Path:
        folder = inside(self.base, invite.run, FOLDER)
        return folder / f"{invite.phase}_{number:06d}.safetensors"
