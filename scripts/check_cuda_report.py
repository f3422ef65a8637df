"""What check_cuda.py looks at, in order of importance, and how its results are kept and shown.

Nothing here imports torch: the process that watches over the parts must outlive what they do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["passed", "missed", "failed", "skipped"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """`function` is "module:name"; a part begins if `seconds` are left, and may take `limit`."""

    name: str
    title: str
    function: str
    seconds: float
    limit: float


PARTS = (
    Part("numbers", "one step against float64 on the CPU", "check_cuda_steps:numbers", 15, 90),
    Part("speed", "training, recipe nnunet", "check_cuda_speed:speed", 20, 120),
    Part("speed_large", "training, large patches", "check_cuda_speed:speed_large", 30, 150),
    Part("predict", "prediction of a CT volume", "check_cuda_predict:predict", 25, 120),
    Part("memory", "a batch that does not fit", "check_cuda_steps:memory", 10, 60),
    Part("kill", "resuming after a kill", "check_cuda_train:kill", 25, 90),
    Part("dice", "Dice of bfloat16 and float32", "check_cuda_train:dice", 30, 120),
    Part("federation", "3 sites, 3 rounds of fedease", "check_cuda_train:federation", 20, 90),
    Part("forms", "with and without our forms", "check_cuda_forms:forms", 25, 120),
    Part("profile", "where a step's time goes", "check_cuda_speed:profile", 15, 60),
    Part("speed_fast", "training, recipe fast", "check_cuda_speed:speed_fast", 15, 60),
    Part("compile", "training with torch.compile", "check_cuda_speed:compiled", 60, 200),
    Part("repeat", "whether two runs are equal", "check_cuda_steps:repeat", 15, 60),
    Part("compile_large", "the same, large patches", "check_cuda_speed:compiled_large", 60, 200),
    Part("devices", "several devices", "check_cuda_train:devices", 30, 120),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that was to hold: a figure and its limit, in words."""

    what: str
    value: str
    wanted: str
    ok: bool


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of a part. `rows` is its table, `error` the traceback or why it was left out."""

    state: State = "passed"
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str = ""

    def check(
        self, what: str, value: float, *, most: float | None = None, least: float = 0
    ) -> None:
        """Note a figure that is to be at most `most`, or else at least `least`; NaN is neither."""
        ok = value <= most if most is not None else value >= least
        wanted = f"at most {most:g}" if most is not None else f"at least {least:g}"
        self.hold(what, bool(ok), value=f"{value:.4g}", wanted=wanted)

    def hold(self, what: str, ok: bool, *, value: str = "", wanted: str = "yes") -> None:
        """Note whether something holds."""
        shown = value or ("yes" if ok else "no")
        self.checks.append(Check(what=what, value=shown, wanted=wanted, ok=ok))
        if not ok and self.state == "passed":
            self.state = "missed"


class Book:
    """The results in a folder: `results.json`, `results.md`, and which part is running."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def read(self) -> dict[str, Any]:
        """All that is known so far."""
        path = self.folder / "results.json"
        empty: dict[str, Any] = {"environment": {}, "parts": {}}
        return json.loads(path.read_text()) if path.exists() else empty

    def describe(self, environment: Row) -> None:
        """Keep the facts about the machine."""
        self._write(self.read() | {"environment": environment})

    def add(self, part: Part, result: Result) -> None:
        """Keep a part's result, and write the table anew."""
        content = self.read()
        content["parts"][part.name] = {"title": part.title, **asdict(result)}
        self._write(content)
        self.mark(None)

    def mark(self, part: Part | None) -> None:
        """Say which part is running, for the process that watches."""
        path = self.folder / "running"
        if part is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(part.name)

    def running(self) -> tuple[str, float] | None:
        """The part that is running, and since when (seconds of the clock)."""
        path = self.folder / "running"
        try:
            return path.read_text(), path.stat().st_mtime
        except FileNotFoundError:
            return None

    def _write(self, content: dict[str, Any]) -> None:
        for name, text in (
            ("results.json", json.dumps(content, indent=1) + "\n"),
            ("results.md", as_markdown(content)),
        ):
            temporary = self.folder / f".{name}"
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, self.folder / name)


def as_markdown(content: dict[str, Any]) -> str:
    """The results as a page: facts, verdicts, and a table a part."""
    facts = "; ".join(f"{name} {value}" for name, value in content["environment"].items())
    lines = [facts, "", *table(_verdicts(content["parts"]))]
    for part in content["parts"].values():
        if part["rows"] or part["notes"]:
            lines += ["", f"### {part['title']}", "", *table(part["rows"])]
            lines += [f"- {note}" for note in part["notes"]]
        if part["error"]:
            lines += ["", f"### {part['title']}: {part['state']}", "", "```"]
            lines += [*part["error"].strip().splitlines()[-25:], "```"]
    return "\n".join(lines) + "\n"


def _verdicts(parts: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for part in parts.values():
        head = {"part": part["title"], "seconds": part["seconds"], "": part["state"]}
        rows += [
            head
            | {"checked": c["what"], "found": c["value"], "wanted": c["wanted"]}
            | {"": "ok" if c["ok"] else "NOT MET"}
            for c in part["checks"]
        ] or [head | {"checked": "", "found": "", "wanted": ""}]
    return rows


def table(rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table; columns in order of their first row."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        return []
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        lines.append(f"| {' | '.join(_cell(row.get(name, '')) for name in columns)} |")
    return lines


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "/").replace("\n", " ")
