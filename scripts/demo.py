"""The whole way on three phantom hospitals: check, plan, train, predict, evaluate, report.

Run by `make demo`. Everything is written below `demo/` and may be deleted at any time; an
interrupted demo goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from fednnunet.commands import check, evaluate, plan, predict, train
from fednnunet.federation.spec import read_federation

sys.path.insert(0, str(Path(__file__).parent))
import make_phantoms

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "demo" / "data"
RUN = ROOT / "demo" / "run"
PREDICTED = ROOT / "demo" / "predicted"

Command = Callable[[Sequence[str] | None], int]


def main() -> int:
    """Run all steps; stop at the first that fails."""
    console = Console()
    if not (DATA / "federation.toml").exists():
        _step(console, "make three phantom hospitals", make_phantoms.main, [str(DATA)])
    federation = read_federation(DATA / "federation.toml")
    for name, site in federation.sites.items():
        _step(console, f"check site {name}", check.main, [str(site.folder)])
    toml = str(DATA / "federation.toml")
    _step(console, "plan", plan.main, [toml, "-o", str(RUN)])
    _step(console, "train", train.main, [str(RUN)])
    outside = next(iter(federation.sites))
    images, labels = (federation.sites[outside].folder / f for f in ("imagesTs", "labelsTs"))
    for model in ("global", f"sites/{outside}/personal"):
        out = PREDICTED / model.replace("/", "_")
        _step(
            console,
            f"predict the test images of {outside} with {model}",
            predict.main,
            [str(RUN / model), "-i", str(images), "-o", str(out)],
        )
        _step(console, "evaluate", evaluate.main, [str(out), str(labels)])
    train.show_scores(RUN, console)
    console.print(f"report: {RUN / 'report.html'}")
    return 0


def _step(console: Console, title: str, command: Command, argv: Sequence[str]) -> None:
    console.print(Rule(title, align="left"))
    code = command(argv)
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    raise SystemExit(main())
