"""A site's work in a process of its own, so that whatever ends it costs one reply.

    python -m fednnunet.federation.engines.network.worker KIT

It reads lines on its standard input and writes lines on its standard output:

    answer QUESTION     the invite of that name is to be answered; `done QUESTION` follows
    killed QUESTION     an earlier worker ended at it: a fault is the answer; `done QUESTION`
    say TEXT            for the site's terminal
    error [...]         the site cannot be opened: what, where and mend as JSON; the process ends
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fednnunet import records
from fednnunet.errors import FedNNUNetError, StorageError, WorkerError
from fednnunet.federation.engines.network.children import end_with_parent
from fednnunet.federation.engines.network.exchange import FOLDER, Tray
from fednnunet.federation.engines.network.federation_file import at_site, read_network_federation
from fednnunet.federation.engines.network.kit import FEDERATION, SETTINGS, Settings, read_kit
from fednnunet.federation.engines.network.state import PAUSED
from fednnunet.federation.site import consent
from fednnunet.federation.site.approval import check_training_approved
from fednnunet.federation.site.policy import read_policy
from fednnunet.federation.site.site import Site
from fednnunet.federation.site.wall import SiteFault
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire.messages import MAX_HEADER, PrepareInvite, TrainInvite, unpack
from fednnunet.files import private_files
from fednnunet.planning.plan import Plan

_LOOK_S = 0.5
_AGAIN_S = 5.0
_TELL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A site that answers what lies in its tray."""

    site: Site
    federation: Federation
    settings: Settings
    tray: Tray
    say: Callable[[str], None]

    def answer(self, question: str) -> None:
        """Answer an invite, once the policy or a person allows it; not if it is taken back."""
        path = self.tray.invite(question)
        if not path.exists() or not self._may_begin(path):
            return
        self._reply(question, self.site.answer(path.read_bytes()))

    def answer_for_killed(self, question: str) -> None:
        """Answer an invite at which a worker ended."""
        error = WorkerError(
            "the process that worked on the request was ended, probably for lack of memory",
            mend="give the machine more memory, or set workers or memory_gib lower",
        )
        self._reply(question, self.site.fail(self.tray.invite(question).read_bytes(), error))

    def _reply(self, question: str, data: bytes) -> None:
        while self.tray.invite(question).exists():
            try:
                self.tray.put_reply(question, data)
                return
            except StorageError as error:
                self.say(f"the reply waits: {error}")
                time.sleep(_AGAIN_S)

    def _may_begin(self, path: Path) -> bool:
        invite = None
        if path.stat().st_size < MAX_HEADER:
            try:
                invite = unpack(path.read_bytes(), sender="the coordinator")
            except FedNNUNetError:
                return True  # the site refuses it, and its ledger says so
        if isinstance(invite, PrepareInvite) and not self._wait_for_approval(invite.plan, path):
            return False
        large = invite is None or isinstance(invite, TrainInvite)
        return self._wait(path, lambda: not self._is_paused() and (not large or self._is_open()))

    def _wait_for_approval(self, plan: Plan, path: Path) -> bool:
        """Wait until somebody has approved the plan; False where the invite is taken back."""
        base = self.settings.work
        policy = read_policy(self.settings.policy, self.settings.data)
        reasons = consent.reasons_to_ask(self.federation, policy.allow)
        if not reasons:
            with suppress(FedNNUNetError):  # out of bounds: the site refuses it itself
                self.site.approve(plan)
            return True
        if not self._is_approved(plan):
            request = consent.Request(plan=plan, reasons=reasons, policy=policy)
            consent.keep_request(base, request)
            self.say(f"a plan waits for approval: fednnunet_site {self.settings.kit} --approve")
        found = self._wait(path, lambda: self._is_approved(plan))
        consent.drop_request(base)
        return found

    def _is_approved(self, plan: Plan) -> bool:
        try:
            check_training_approved(self.settings.work, plan, self.federation.training)
        except FedNNUNetError:
            return False
        return True

    def _is_paused(self) -> bool:
        return (self.settings.work / PAUSED).exists()

    def _is_open(self) -> bool:
        allow = read_policy(self.settings.policy, self.settings.data).allow
        return allow is None or allow.is_open(datetime.now().hour)

    def _wait(self, path: Path, ready: Callable[[], bool]) -> bool:
        """Wait until `ready`; False where the invite is taken back before."""
        while path.exists():
            if ready():
                return True
            time.sleep(_LOOK_S)
        return False


def open_worker(settings: Settings, say: Callable[[str], None]) -> Worker:
    """Open the site; raises what is wrong with its settings."""
    kit = read_kit(settings.kit, "site")
    federation, _ = read_network_federation(settings.kit / FEDERATION)
    federation = at_site(federation, kit.name, settings.data, settings.policy)
    last = [0.0]

    def progress(site: str, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if done >= total or now - last[0] > _TELL_S:
            last[0] = now
            say(f"{what} {done}/{total}")

    def on_fault(fault: SiteFault) -> None:
        say(f"fault, details in {fault.log}: {fault.text}".replace("\n", " "))

    site = Site(kit.name, federation, settings.work, progress=progress, on_fault=on_fault)
    return Worker(
        site=site,
        federation=federation,
        settings=settings,
        tray=Tray(settings.kit / FOLDER),
        say=say,
    )


def main(argv: Sequence[str]) -> int:
    """Answer until the parent ends this process."""
    lines = end_with_parent()

    def tell(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def say(text: str) -> None:
        tell(f"say {text}")

    with private_files():
        try:
            worker = open_worker(records.read(Settings, Path(argv[0]) / SETTINGS), say)
        except FedNNUNetError as error:
            tell(f"error {json.dumps([error.what, error.where, error.mend])}")
            return 2
        tell("ready")
        while True:
            command, _, question = lines.get().partition(" ")
            if command == "answer":
                worker.answer(question)
            else:
                worker.answer_for_killed(question)
            tell(f"done {question}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
