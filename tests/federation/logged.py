"""Sites that train nothing, but compare what they are sent with the coordinator's log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.round_log import REPLIES, RoundLog
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.filters.chain import is_coded
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.site.agreement import question_of
from fednnunet.federation.site.answers import Answered, Answers
from fednnunet.federation.site.log_copy import LogCopy
from fednnunet.federation.site.received_weights import ReceivedWeights
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.content_digests import ContentDigests
from fednnunet.federation.wire.log_lines import LogLines
from fednnunet.federation.wire.messages import Message, TrainInvite, pack, unpack
from fednnunet.federation.workflows.recompute import recompute_run
from fednnunet.files import sha256_of
from tests.federation.fakes import INITIAL, MEMBERS, PretendEngine

KEEP = LogSpec(keep_replies=True)
Change = Callable[[str, TrainInvite], TrainInvite]


class LoggedEngine(PretendEngine):
    """Sites with working folders below `folder`; `change` is what happens to an invite on its way.

    `refused` fills with what sites refuse, as "round site: what".
    """

    def __init__(
        self, folder: Path, *, spec: LogSpec | None = None, change: Change | None = None, **options
    ) -> None:
        super().__init__(**options)
        self.folder, self.spec = folder, spec or LogSpec()
        self.change = change or (lambda site, invite: invite)
        self.refused: list[str] = []
        self.notes: list[str] = []

    def copy(self, site: str, **changes) -> LogCopy:
        base = self.folder / site
        copy = LogCopy(site=site, base=base, spec=self.spec, required=False, log=self.notes.append)
        return replace(copy, **changes)

    def opened(self, site: str, invite: TrainInvite) -> TrainInvite:
        """What a site makes of an invite first."""
        return invite

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        for site, sent in sorted(invites.items()):
            data = pack(self.change(site, sent))
            invite = unpack(data, sender="the coordinator")
            if self.fail.get(invite.round) == site:
                continue
            answers, copy = Answers(self.folder / site / "answers"), self.copy(site)
            try:
                invite = self.opened(site, invite)
                copy.check(invite, answers)
            except FedNNUNetError as error:
                self.refused.append(f"{invite.round} {site}: {error.what}")
                yield Answer(site=site, error=error)
                continue
            question = question_of(invite)
            found = answers.find(question, "")
            reply = found[1] if found else b""
            if not found:
                reply = pack(replace(self.reply(site, invite), head=copy.head))
                about = Answered(question=question, invite="", reply="", message="TrainReply")
                answers.keep(about, reply)
            yield Answer.of(site, reply, sent=len(data), limit=10**9)


class Coded(LoggedEngine):
    """Sites that read codes with what they have kept, and remember what they trained from."""

    def __init__(self, folder, filters, **options):
        super().__init__(folder, **options)
        self.filters = filters
        self.coded: set[tuple[int, str]] = set()
        self.from_weights: dict[tuple[int, str], str] = {}

    def opened(self, site, invite):
        received = ReceivedWeights(base=self.folder / site, filters=self.filters)
        if is_coded(invite):
            self.coded.add((invite.round, site))
        whole = received.whole(invite)
        received.keep(whole)
        self.from_weights[invite.round, site] = ContentDigests().tensors(whole.tensors)
        return whole


def train(run, engine: LoggedEngine, *, spec: LogSpec | None = None, members=MEMBERS):
    """All rounds of a run, logged in its folder."""
    log = RoundLog(run.folder, spec or engine.spec)
    return run_rounds(engine, run, INITIAL, members, lambda record: None, log=log)


def audit(run, *, without_round: int | None = None) -> None:
    """Do every merge of a run again from the replies that it has kept; the log may lack a round."""
    log = LogLines(chain.lines(run.folder / chain.FILE))
    if without_round is not None:
        del log.asked[run.name, without_round], log.merged[run.name, without_round]
    paths = (run.folder / REPLIES).rglob("*.bin")
    replies = {sha256_of(path).hex(): path for path in paths}
    recompute_run(run, INITIAL, MEMBERS, log, replies)
