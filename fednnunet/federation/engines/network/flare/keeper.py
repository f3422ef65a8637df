"""Keeps a job running at the coordinator, as long as replies of sites are awaited.

NVFlare ends a job when the process of one site is killed, and leaves a site out of the running job
that connects after its start. Neither costs any training, since messages wait in the exchange
folders: the job is ended where it still runs, and another is submitted.

    python -m fednnunet.federation.engines.network.flare.keeper COORDINATOR_KIT ADMIN_KIT
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nvflare.fuel.flare_api.api_spec import AuthenticationError
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from fednnunet.federation.engines.network.children import end_with_parent
from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.engines.network.flare.job import write_job
from fednnunet.federation.engines.network.flare.provision import ADMIN

_LOOK_S = 0.5
_GATHER_S = 45.0  # for all awaited sites to connect before a job begins without some
_SETTLE_S = 30.0  # that a job lasts at least before it is ended for the sake of a site
_START_S = 120.0  # for a site's process of a new job to start, on a machine that is busy
_LOST_S = 10.0  # for a site that asked before to ask again
_PATIENCE_S = 300.0  # the longest time between two jobs for the sake of one site
_END_S = 6.0  # for a job to end by itself
_HEARD_S = 25.0  # NVFlare's site programs send a sign of life every 10 s
_ENDED = ("FINISHED", "FAILED", "ABANDONED")


@dataclass(slots=True)
class Keeper:
    """What is known of the sites, and of the job that runs."""

    desk: Desk
    admin_kit: Path
    session: Session | None = None
    job: str = ""
    begun: float = 0.0
    waited_since: float = 0.0
    not_before: dict[str, float] = field(default_factory=dict)
    jobs: int = 0
    members: frozenset[str] = frozenset()
    """The sites that were connected when the job was submitted."""
    seen: frozenset[str] = frozenset()
    """The sites that have asked for invites in this job."""
    lost_since: dict[str, float] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()

    def step(self) -> None:
        """Look once, and do what is due."""
        awaited = self.desk.awaited()
        if not awaited:
            self.waited_since = 0.0
            return
        self.waited_since = self.waited_since or time.monotonic()
        session = self._connected()
        for site in self.desk.revoked() - self.revoked:
            session.disable_client(site)
            self.revoked |= {site}
            _say(f"{site} is admitted no more")
        clients = session.get_connected_client_list()
        heard = time.time() - _HEARD_S
        here = frozenset(c.name for c in clients if c.last_connect_time > heard)
        if self.job and self._has_ended(session):
            _say(f"job {self.job} has ended")
            self.job = ""
        if not self.job:
            waited = time.monotonic() - self.waited_since
            if here & awaited and (here >= awaited or waited > _GATHER_S or self.jobs):
                self._submit(session, here)
            return
        if late := self._without_a_part(here & awaited):
            _say(f"{', '.join(sorted(late))} are connected and have no part in the job")
            patience = min(_SETTLE_S * 2**self.jobs, _PATIENCE_S)
            self.not_before |= dict.fromkeys(late, time.monotonic() + patience)
            self._end(session)

    def _without_a_part(self, here: frozenset[str]) -> frozenset[str]:
        """The connected sites for whose sake another job is due.

        A site that connected after the job began can have no part in it. One that was there is
        given time: to start its process, or to ask again after its network was gone.
        """
        now, alive = time.monotonic(), self.desk.alive()
        age = now - self.begun
        if age <= _SETTLE_S:
            return frozenset()
        self.seen |= alive
        missing = here - alive
        self.lost_since = {site: self.lost_since.get(site, now) for site in missing}
        return frozenset(
            site
            for site in missing
            if now > self.not_before.get(site, 0)
            and (
                site not in self.members
                or (site in self.seen and now - self.lost_since[site] > _LOST_S)
                or age > _START_S
            )
        )

    def _connected(self) -> Session:
        if self.session is None:
            self.session = new_secure_session(ADMIN, str(self.admin_kit), timeout=10.0)
        return self.session

    def _submit(self, session: Session, here: frozenset[str]) -> None:
        self.desk.closing.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.job = session.submit_job(str(write_job(Path(folder) / "carry")))
        self.begun = time.monotonic()
        self.members, self.seen, self.lost_since = here, frozenset(), {}
        self.jobs += 1
        _say(f"job {self.job} was submitted")

    def _end(self, session: Session) -> None:
        self.desk.closing.touch()
        end = time.monotonic() + _END_S
        while time.monotonic() < end:
            if self._has_ended(session):
                self.job = ""
                return
            time.sleep(_LOOK_S)
        session.abort_job(self.job)

    def _has_ended(self, session: Session) -> bool:
        return str(session.get_job_status(self.job)).startswith(_ENDED)


def main(argv: Sequence[str]) -> int:
    """Run until the parent ends this process."""
    kit, admin = (Path(folder).resolve() for folder in argv)
    end_with_parent()
    keeper = Keeper(desk=Desk(kit / FOLDER), admin_kit=admin)
    while True:
        try:
            keeper.step()
        except AuthenticationError as error:
            keeper.desk.report(f"the admin's kit is refused: {error}")
            return 1
        except Exception as error:  # noqa: BLE001 - the connection may fail in any way, and return
            _say(f"{type(error).__name__}: {error}")
            keeper.session = None
        time.sleep(_LOOK_S)


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
