"""A child that repeats each line of its parent: `fake_child [deaf|brief]`.

A `deaf` one does not heed a request to end, a `brief` one ends at once.
"""

from __future__ import annotations

import signal
import sys

from fednnunet.federation.engines.network.children import end_with_parent


def main(argv: list[str]) -> int:
    if "deaf" in argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "brief" in argv:
        sys.stderr.write("this child ends by itself\n")
        return 3
    lines = end_with_parent()
    sys.stdout.write("ready\n")
    while True:
        sys.stdout.write(f"heard {lines.get()}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
