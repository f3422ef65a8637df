"""The engine that asks sites over a network: it lays invites out and waits for the replies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.engines.network.exchange import Desk
from fednnunet.federation.wire.chain import digest
from fednnunet.federation.wire.limits import reply_limit
from fednnunet.federation.wire.messages import Message, pack

_LOOK_S = 0.05


class NetworkEngine:
    """Asks sites through a `Desk`; no exchange takes longer than `limit_s` seconds."""

    def __init__(self, sites: tuple[str, ...], desk: Desk, *, limit_s: float) -> None:
        self._sites = tuple(sorted(sites))
        self._desk = desk
        self._limit_s = limit_s

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, sorted."""
        return self._sites

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        """Ask all sites at once and yield the answers as they come."""
        limits = {site: reply_limit(invite) for site, invite in invites.items()}
        sizes: dict[str, int] = {}
        questions = self._lay_out(invites, limits, sizes)
        hard = Deadline(self._limit_s)
        try:
            self._desk.want(frozenset(questions))
            while questions and not deadline.passed and not hard.passed:
                self._check()
                for site in questions.keys() & self._desk.revoked():
                    self._desk.withdraw(site, questions.pop(site))
                ready = [s for s, q in questions.items() if self._desk.reply(s, q).exists()]
                for site in ready:
                    question = questions[site]
                    answer = self._read(site, question, sizes[site], limits[site])
                    self._desk.withdraw(site, questions.pop(site))
                    self._desk.want(frozenset(questions))
                    yield answer
                    del answer  # it holds a reply's tensors
                if not ready:
                    time.sleep(_LOOK_S)
        finally:
            for site, question in questions.items():
                self._desk.withdraw(site, question)
            self._desk.want(frozenset())

    def _check(self) -> None:
        """Raise what keeps all sites away and waiting cannot mend."""
        if self._desk.problem.exists():
            what, _, mend = self._desk.problem.read_text(encoding="utf-8").partition("\n")
            raise FedNNUNetError(
                what,
                where="the coordinator's connection",
                mend=mend
                or "see the logs in the coordinator's kit, mend what they name, and run the same "
                "command again",
            )

    def _lay_out(
        self, invites: Mapping[str, Message], limits: Mapping[str, int], sizes: dict[str, int]
    ) -> dict[str, str]:
        """Write the invites, one after another; the same bytes are written once."""
        questions: dict[str, str] = {}
        written: dict[str, Path] = {}
        last: Message | None = None
        data = b""
        for site, invite in sorted(invites.items()):
            if invite is not last:
                data, last = b"", invite
                data = pack(invite)
            question = digest(data)
            same = written.get(question)
            written[question] = self._desk.put(site, question, data, limits[site], same)
            questions[site], sizes[site] = question, len(data)
        return questions

    def _read(self, site: str, question: str, sent: int, limit: int) -> Answer:
        return Answer.of_file(site, self._desk.reply(site, question), sent=sent, limit=limit)
