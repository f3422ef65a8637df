"""A worker without a site: it answers, and ends at the first request where it is told to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fednnunet.federation.engines.network.exchange import FOLDER, Tray


def main(folder: Path) -> None:
    tray, end = Tray(folder / FOLDER), folder / "end_at_first"
    _say("ready")
    for line in sys.stdin:
        command, _, question = line.strip().partition(" ")
        if command == "answer" and end.exists():
            end.unlink()
            os.kill(os.getpid(), 9)
        tray.put_reply(question, command.encode())
        _say(f"done {question}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
