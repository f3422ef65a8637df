"""An auditor's check: every merge of a training done again from the replies, against the log.

The coordinator's own loop runs once more, with the replies that the log names in the place of the
sites, and writes a log of its own. Where that differs, the coordinator has sent or merged something
else than it had to. Replies are found by their digest, in the run folder (`log.keep_replies`) or in
a folder of files that the sites hand in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from fednnunet import records
from fednnunet.errors import DataError, FedNNUNetError, InputError
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.round_log import REPLIES, RoundLog
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.given_start import first_weights
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.membership import Member
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.content_digests import ContentDigests
from fednnunet.federation.wire.log_lines import LogLines
from fednnunet.federation.wire.messages import Message, TrainInvite, TrainReply, unpack_file
from fednnunet.federation.wire.round_log import Invited, Merged
from fednnunet.federation.workflows.train import check_runs
from fednnunet.files import sha256_of
from fednnunet.inference.bundle import read_bundle
from fednnunet.network.tensors import Tensors
from fednnunet.planning.plan import read_plan

_PARTS = {
    "replies": "the replies that can be merged",
    "shared": "the merged weights",
    "for_site": "the weights for single sites",
    "extras": "what goes with the weights",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """How many rounds were merged again, and in how many runs."""

    rounds: int
    runs: int


class _EndedError(Exception):
    """The log has no more rounds of the run."""


class Recorded:
    """An engine that answers with the replies that a log names, found by their digest."""

    def __init__(self, log: LogLines, replies: Mapping[str, Path]) -> None:
        self._log, self._replies = log, replies

    @property
    def sites(self) -> tuple[str, ...]:
        """None: only invites to train are answered."""
        return ()

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        """Answer for the sites whose replies were merged in the round."""
        for site, invite in sorted(invites.items()):
            if type(invite) is not TrainInvite:
                raise InputError(
                    "replies under masks say nothing one by one, so no merge can be done again",
                    where="training.secure",
                    mend="compare the sites' copies of the log with that in the run folder",
                )
            merged = self._log.merged.get((invite.run, invite.round))
            if merged is None:
                raise _EndedError
            if site in merged.replies:
                path = _found(self._replies, merged, site)
                yield Answer.of_file(site, path, sent=0, limit=path.stat().st_size)


def recompute(folder: Path, replies: Path | None = None) -> Recomputed:
    """Do every merge of the run folder again; raises DataError for the first that differs.

    `replies` is the folder of the replies, by default that in the run folder. Raises InputError
    where a reply is not there.
    """
    path = folder / chain.FILE
    if not path.is_file():
        raise InputError(
            "there is no log of rounds", where=str(path), mend="give the folder of a training"
        )
    log = LogLines(chain.lines(path))
    federation = records.read(Federation, folder / "federation.json")
    found = _by_digest(replies or folder / REPLIES)
    plan = read_plan(folder / "plan.json")
    training = federation.training
    initial = first_weights(folder, plan, training.configuration, training)
    rounds = runs = 0
    for run in check_runs(federation, plan, folder):
        logged = [number for name, number in log.merged if name == run.name]
        if run.kind == "federated" and logged:
            recompute_run(run, initial, federation.members, log, found)
            _check_bundle(run, log.merged[run.name, max(logged)], initial)
            rounds, runs = rounds + len(logged), runs + 1
    return Recomputed(rounds=rounds, runs=runs)


def recompute_run(
    run: Run,
    initial: Tensors,
    members: Mapping[str, Member],
    log: LogLines,
    replies: Mapping[str, Path],
) -> None:
    """As `recompute`, of one training; `replies` has a file for each digest."""
    training = replace(
        run.training,
        quorum=1,
        deadline_s=0.0,
        grace_s=0.0,
        max_update_ratio=0.0,
        contribution=False,
    )
    asked = {key: entry for key, entry in log.asked.items() if key[0] == run.name}
    sites = {site for entry in asked.values() for site in entry.invites}
    cases = _cases(run.name, log, replies)
    taking_part = {site: replace(members[site], cases=cases.get(site, 1)) for site in sorted(sites)}
    with TemporaryDirectory() as temporary:
        again = replace(run, folder=Path(temporary) / "run", training=training)
        own = RoundLog(Path(temporary), LogSpec(), with_sites=False)
        error: FedNNUNetError | None = None
        try:
            with suppress(_EndedError):
                run_rounds(
                    Recorded(log, replies), again, initial, taking_part, lambda _: None, log=own
                )
        except InputError:
            raise
        except FedNNUNetError as refused:
            error = refused
        lines = chain.lines(own.path)
        if lines:
            _compare(run.name, log, LogLines(lines))
        if error:
            raise error
        _check_complete(run.name, log, LogLines(lines) if lines else None)


def _check_complete(run: str, log: LogLines, own: LogLines | None) -> None:
    """Raise DataError where the log has merges that no replies lead to."""
    done = own.merged.keys() if own else set()
    lacking = sorted(key for key in log.merged if key[0] == run and key not in done)
    if lacking:
        raise DataError(
            f"round {lacking[0][1] + 1} cannot be done again: the log lacks a round before it",
            where=chain.FILE,
            mend="ask the coordinator for the whole log, and compare it with the sites' copies",
        )


def _compare(run: str, log: LogLines, own: LogLines) -> None:
    """Raise DataError for the first round whose entries are not those that the replies give."""
    for key in sorted(own.asked):
        if key not in log.asked:
            continue
        asked, again = log.asked[key], own.asked[key]
        unlike = sorted(
            site
            for site in asked.invites.keys() | again.invites.keys()
            if asked.invites.get(site) != again.invites.get(site)
        )
        if unlike:
            raise _differs(asked, f"what site {unlike[0]} was sent is not what it had to be sent")
        if key not in own.merged or key not in log.merged:
            return
        for part, words in _PARTS.items():
            if getattr(log.merged[key], part) != getattr(own.merged[key], part):
                raise _differs(asked, f"{words} are not those that the replies give")


def _check_bundle(run: Run, last: Merged, initial: Tensors) -> None:
    """The global model that is given out must be the last merge, if it is to be that."""
    folder = run.folder / "global"
    if run.training.keep == "best" or not folder.is_dir():
        return
    weights = read_bundle(folder).weights
    if weights.keys() == initial.keys() and ContentDigests().tensors(weights) != last.shared:
        raise DataError(
            "the global model is not what was merged last",
            where=str(folder),
            mend="do not use the model; ask the coordinator, or train in a new run folder",
        )


def _cases(run: str, log: LogLines, replies: Mapping[str, Path]) -> dict[str, int]:
    """Each site's training cases, as its first reply states them."""
    cases: dict[str, int] = {}
    for key, merged in sorted(log.merged.items()):
        for site in merged.replies.keys() - cases.keys() if key[0] == run else ():
            reply = unpack_file(_found(replies, merged, site), sender=f"site {site}")
            if isinstance(reply, TrainReply):
                cases[site] = reply.cases
    return cases


def _by_digest(folder: Path) -> dict[str, Path]:
    """All files below a folder, by their SHA-256."""
    if not folder.is_dir():
        raise InputError(
            "there are no replies to merge again",
            where=str(folder),
            mend="set keep_replies = true in [log] before the training, or give the folder of the "
            "replies that the sites handed in",
        )
    return {sha256_of(path).hex(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _found(replies: Mapping[str, Path], merged: Merged, site: str) -> Path:
    path = replies.get(merged.replies[site])
    if path is None:
        raise InputError(
            f"the reply of site {site} in round {merged.round + 1} is not there, or is another",
            where=f"the file with the SHA-256 {merged.replies[site]}",
            mend="ask the site for its reply; each site's ledger has the digest of what it sent",
        )
    return path


def _differs(asked: Invited, what: str) -> DataError:
    where = f"round {asked.round + 1}" + (f" of {asked.run}" if asked.run else "")
    return DataError(
        what,
        where=f"{where}, {asked.phase}",
        mend="do not use the models of this and later rounds; ask the coordinator what was done",
    )
