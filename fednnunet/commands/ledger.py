"""fednnunet_ledger: show in words what has left a site, or what was merged, and check it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.markup import escape
from rich.table import Table

from fednnunet.commands.cli import Opt, PlainConsole, parse, run_command
from fednnunet.commands.ledger_rounds import (
    check_copy,
    is_log,
    show_key,
    show_recomputed,
    show_rounds,
)
from fednnunet.errors import DataError, InputError, raise_all
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.chain_checks import Verified, public_key, verify
from fednnunet.federation.wire.signing import PUBLIC, can_sign
from fednnunet.text import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_ledger."""

    site: Annotated[Path, Opt(positional=True)]
    """the site's working folder (RUN/sites/NAME, over a network KIT/work), or its ledger.jsonl; of
    the coordinator the run folder"""
    show: bool = False
    """list every message, not only how many of each kind; of the coordinator every round"""
    verify: bool = False
    """check that no line was changed, moved, added, or removed between others"""
    key: Path | None = None
    """the site's public key, as it was handed out; by default the one beside the ledger"""
    recompute: bool = False
    """do every merge of a run folder again from the replies, and compare it with the log"""
    replies: Path | None = None
    """folder of the replies, as sites hand them in; by default RUN/replies (log.keep_replies)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Show and check; faults give exit code 2."""
    options = parse(Options, argv, prog="fednnunet_ledger", about=__doc__ or "")
    return run_command(lambda: _run(options))


def _run(options: Options) -> None:
    path = options.site / chain.FILE if options.site.is_dir() else options.site
    if not path.is_file():
        raise InputError(
            "there is no ledger",
            where=str(path),
            mend="give a site's working folder: RUN/sites/NAME, or the work folder of its kit",
        )
    console = PlainConsole()
    if options.recompute and not is_log(path):
        raise InputError(
            "the ledger of a site has no merges to do again",
            where=str(path),
            mend="give the run folder of the coordinator",
        )
    checked = _verified(path, options.key) if options.verify or options.recompute else None
    if is_log(path):
        _log(console, path, options, checked)
        return
    try:
        entries = chain.read(path)
    except ValueError:
        if checked is None:
            raise DataError(
                "the ledger has lines that are no entries",
                where=str(path),
                mend="run the same command with --verify, which names them",
            ) from None
        entries = ()
    _summary(console, entries)
    if options.show:
        _list(console, entries)
    if checked is not None:
        _report(console, path, checked)
        check_copy(console, path.parent)
    show_key(console, path.parent)


def _log(console: PlainConsole, path: Path, options: Options, checked: Verified | None) -> None:
    """Show the coordinator's log of rounds, checked first."""
    if checked is not None:
        _report(console, path, checked)
    show_rounds(console, path, every=options.show)
    if options.recompute:
        show_recomputed(console, path.parent, options.replies)


def _summary(console: PlainConsole, entries: Sequence[dict[str, object]]) -> None:
    if not entries:
        console.print("nothing has left")
        return
    count, size = Counter[str](), Counter[str]()
    for entry in entries:
        kind = str(entry.get("message"))
        count[kind] += 1
        size[kind] += int(str(entry.get("bytes", 0)))
    first, last = (str(entries[place].get("time")) for place in (0, -1))
    table = Table("message", "times", "bytes", title=f"what left from {first} to {last}")
    for kind in sorted(count):
        table.add_row(kind, f"{count[kind]:,}", f"{size[kind]:,}")
    console.print(table)


def _list(console: PlainConsole, entries: Sequence[dict[str, object]]) -> None:
    table = Table("when", "what left", "bytes", "asked for")
    for entry in entries:
        words = [str(entry.get("what", "")), str(entry.get("detail", ""))]
        if entry.get("fault"):
            words.append(f"fault: {entry['fault']}")
        asked = str(entry.get("asked", ""))
        if "round" in entry:
            asked += f", {entry.get('phase') or 'after'} round {int(str(entry['round'])) + 1}"
        if entry.get("run"):
            asked += f" of {entry['run']}"
        shown = (str(entry.get("time")), "; ".join(filter(None, words)))
        size = f"{int(str(entry.get('bytes', 0))):,}"
        table.add_row(*map(escape, shown), size, escape(asked))
    console.print(table)


def _verified(path: Path, key: Path | None) -> Verified:
    if key is not None and not key.is_file():
        raise InputError("there is no such key", where=str(key), mend=f"give the site's {PUBLIC}")
    if key is not None:
        return verify(path, public=key.read_bytes(), all_signed=True)
    return verify(path, public=public_key(path.parent) if can_sign() else None)


def _report(console: PlainConsole, path: Path, checked: Verified) -> None:
    raise_all(
        "the ledger is not as it was written",
        [
            DataError(fault, where=str(path), mend="compare it with a backup of the site's folder")
            for fault in checked.faults
        ],
    )
    lines = plural(checked.entries, "line")
    console.print(f"{lines} in order: none was changed, moved, added or removed between others")
    if checked.unchained:
        console.print(f"the first {checked.unchained} are of an earlier version, without a chain")
    if not can_sign():
        console.print("signatures were not checked (pip install 'fednnunet[privacy]')")
    elif checked.unsigned:
        console.print(f"{plural(checked.unsigned, 'line')} without a signature")
    else:
        console.print("all are signed by the same key")
