"""A site's gate for jobs: it lets exactly our one job in, and writes every other to the ledger.

NVFlare asks it before it deploys a job. Behind it stand NVFlare's own limits (no code of a job's
author, one class on the list), which hold for what a gate could overlook.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nvflare.apis.app_validation import AppValidator
from nvflare.lighter.tool_consts import NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE

from fednnunet import records
from fednnunet.federation.engines.network.flare.job import CLIENT, CONFIGS, SERVER, client_config
from fednnunet.federation.engines.network.kit import FILE, SETTINGS, Settings
from fednnunet.federation.site import ledger
from fednnunet.federation.site.ledger import About
from fednnunet.federation.wire import chain

REFUSED = "RefusedJob"
_KNOWN = {f"{CONFIGS}/{CLIENT}", f"{CONFIGS}/{SERVER}"}
_SIGNATURES = (NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE)


class JobGate(AppValidator):
    """Refuses a job that is not exactly the one of `job.write_job`."""

    def validate(self, app_folder: str) -> tuple[str, dict[str, Any]]:
        """Why the job is refused, or "", and NVFlare's properties of it (none)."""
        folder = Path(app_folder).absolute()
        why = why_refused(folder)
        if why:
            _write_down(folder, why)
        return why, {}


def why_refused(app: Path) -> str:
    """What in a job's folder is not ours; "" where all of it is."""
    files = [path for path in app.rglob("*") if path.is_symlink() or not path.is_dir()]
    names = {str(path.relative_to(app)) for path in files}
    odd = sorted(name for name in names - _KNOWN if Path(name).name not in _SIGNATURES)
    if odd:
        return f"the job brings {len(odd)} files beside its configuration, which may be code"
    try:
        found = json.loads((app / CONFIGS / CLIENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "the job's configuration cannot be read"
    if found != client_config():
        return "the job asks for another class, task or setting than this site allows"
    return ""


def _write_down(app: Path, why: str) -> None:
    """Enter a refusal in the ledger of the site whose kit the job was unpacked in."""
    kit = next((folder for folder in app.parents if (folder / FILE).is_file()), None)
    if kit is None or not (kit / SETTINGS).is_file():
        return
    work = records.read(Settings, kit / SETTINGS).work
    about = About(detail=why, asked="a job of NVFlare", fault="refusal", advice="respect_policy")
    words = "nothing: a job was refused before any of it ran"
    ledger.record(work / chain.FILE, kind=REFUSED, words=words, data=b"", about=about)
