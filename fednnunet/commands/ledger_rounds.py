"""The coordinator's log of rounds as `fednnunet_ledger` shows and checks it."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from fednnunet import records
from fednnunet.commands.cli import PlainConsole
from fednnunet.errors import DataError, FedNNUNetError, raise_all
from fednnunet.federation.site.log_copy import FILE as COPY
from fednnunet.federation.site.log_copy import KEYS, SeenKeys
from fednnunet.federation.wire import chain, signing
from fednnunet.federation.wire.chain_checks import as_entry, verify_lines
from fednnunet.federation.wire.log_lines import LogLines
from fednnunet.federation.workflows.recompute import recompute
from fednnunet.text import plural


def is_log(path: Path) -> bool:
    """Whether the file is a coordinator's log, and not the ledger of a site."""
    first = next(iter(chain.lines(path)), b"")
    return "kind" in as_entry(first)


def show_rounds(console: PlainConsole, path: Path, *, every: bool) -> None:
    """How many rounds of each training the log has, and with `every` each of them."""
    log = LogLines(chain.lines(path))
    times = {key: str(as_entry(line).get("time")) for key, line in _merged_lines(log)}
    runs = sorted({run for run, _ in log.merged})
    for run in runs:
        count = sum(name == run for name, _ in log.merged)
        console.print(f"{plural(count, 'round')} of {run or 'the training'} were logged")
    if key := _key(path.parent):
        console.print(f"signed by the coordinator's key {key}")
    if not every:
        return
    table = Table("when", "round", "merged replies of", "not merged", "merged weights (SHA-256)")
    for place, merged in sorted(log.merged.items()):
        name = f"{merged.round + 1}, {merged.phase}" + (f", {merged.run}" if merged.run else "")
        cells = (times[place], name, ", ".join(merged.replies), ", ".join(merged.refused))
        table.add_row(*map(escape, cells), merged.shared)
    console.print(table)


def show_recomputed(console: PlainConsole, folder: Path, replies: Path | None) -> None:
    """Do every merge of a run again; raises DataError for the first that differs."""
    found = recompute(folder, replies)
    console.print(
        f"{plural(found.rounds, 'round')} merged again from the replies: what was sent and merged "
        "is what the log says"
    )


def check_copy(console: PlainConsole, base: Path) -> None:
    """Compare a site's copy of the log with the site's own ledger; raises DataError."""
    lines = chain.lines(base / COPY)
    if not lines:
        return
    keys = records.read(SeenKeys, base / KEYS) if (base / KEYS).is_file() else SeenKeys(site="")
    first = as_entry(lines[0])
    public = signing.pem_of(keys.coordinator) if keys.coordinator and signing.can_sign() else None
    number = first.get("number")
    faults = verify_lines(
        lines,
        before=str(first.get("before")),
        first=number if isinstance(number, int) else 1,
        public=public,
        all_signed=True,
    ).faults
    sent = {str(entry.get("sha256")) for entry in chain.read(base / chain.FILE)}
    log = LogLines(lines)
    if not faults:
        faults = tuple(
            f"the reply of round {merged.round + 1} in it is not one that left the site"
            for merged in log.merged.values()
            if keys.site in merged.replies and merged.replies[keys.site] not in sent
        )
    mend = "keep both files as evidence, and compare the copy with the log in the run folder"
    raise_all(
        "the copy of the coordinator's log is not as it was written",
        [DataError(f"{COPY}: {fault}", where=str(base), mend=mend) for fault in faults],
    )
    counted = sum(keys.site in merged.replies for merged in log.merged.values())
    console.print(
        f"{plural(len(lines), 'line')} of the coordinator's log are in order; it has "
        f"{plural(counted, 'reply', 'replies')} of this site, each as it left"
    )


def show_key(console: PlainConsole, base: Path) -> None:
    """The site's public key, for `log.site_keys` of the federation file."""
    if key := _key(base):
        console.print(f"the site's public key: {key}")


def _key(folder: Path) -> str:
    """The public key in a folder that has one already."""
    if not (folder / signing.PRIVATE).is_file():
        return ""
    try:
        return signing.public_hex(folder)
    except (FedNNUNetError, OSError):
        return ""


def _merged_lines(log: LogLines) -> list[tuple[tuple[str, int], bytes]]:
    numbers = {id(entry): number for number, entry in log.entries}
    found = [(key, log.line(numbers[id(merged)])) for key, merged in log.merged.items()]
    return [(key, line) for key, line in found if line is not None]
