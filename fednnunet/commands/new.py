"""fednnunet_new: write a federation file, with comments, from the folders of its sites."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.dataset_header import task_of
from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.federation.site_names import checked_sites
from fednnunet.federation.spec import read_federation
from fednnunet.files import write_text
from fednnunet.task import Task
from fednnunet.text import plural

TRAINING = """\
[budget]
planner = "plain"           # nnU-Net's network; "cpu" is a small one for machines without a GPU
# memory_gib = 8            # GPU memory to plan for; by default what the planner needs
# workers = 2               # cases that a site processes in parallel

[training]
method = "fedease"          # a model for each site; "fedavg": one model for all
recipe = "fast"             # "nnunet": optimiser, loss and augmentation as in nnU-Net
rounds = 40                 # exchanges between the coordinator and the sites
iterations_per_round = 25   # optimiser steps of each site in a round
held_out = 0.2              # share of each site's patients that is kept for evaluation
public_rounds = 20          # rounds at the end that make the model for other hospitals
baselines = ["local"]       # also train each site alone, to see whether joining helps
# device = "cuda"           # by default a GPU if there is one
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_new."""

    folders: Annotated[tuple[Path, ...], Opt(positional=True)]
    """the folders of the sites, in nnU-Net's raw layout; a site is named after its folder"""
    output: Annotated[Path, Opt(short="-o")] = Path("federation.toml")
    """the file to write"""
    policy: Path | None = None
    """a file with the limits of all sites on what they share, such as plans/public_data_site.toml
    for public volumes"""
    overwrite: bool = False
    """replace the file if there is one"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; the task is read from the sites' dataset.json."""
    options = parse(Options, argv, prog="fednnunet_new", about=__doc__ or "")
    return run_command(lambda: _new(options))


def _new(options: Options) -> None:
    path = options.output
    check_output(path.parent)
    if path.exists() and not options.overwrite:
        raise InputError(
            "there is a federation file already",
            where=str(path),
            mend="choose another name with -o, or replace the file with --overwrite",
        )
    sites = _sites(options.folders)
    text = federation_text(_task(sites), sites, relative_to=path.parent, policy=options.policy)
    write_text(path, text)
    read_federation(path)
    console = PlainConsole(highlight=False, soft_wrap=True)
    console.print(f"{plural(len(sites), 'site')} written to {path}; read it through, then run")
    console.print(f"fednnunet_plan {path} -o RUN")


def federation_text(
    task: Task, sites: dict[str, Path], *, relative_to: Path, policy: Path | None = None
) -> str:
    """The text of a federation file; paths in it are relative to the folder `relative_to`."""
    lines = [
        "# The one file of a federation. Every key and its default:",
        "# docs/reference/federation.md",
        "",
        "[task]",
        f"name = {_quoted(task.name)}",
        f"channels = {_quoted(list(task.channels))}   # as _0000, _0001, ...; CT is treated as CT",
        f"labels = {_quoted(list(task.labels))}",
        "",
    ]
    if task.ignore is not None:
        lines.insert(-1, f"ignore = {task.ignore}")
    if task.regions:
        lines += ["[task.regions]"]
        lines += [f"{_quoted(name)} = {list(values)}" for name, values in task.regions.items()]
        lines += [""]
    for name, folder in sites.items():
        lines += [f"[sites.{_quoted(name)}]", f"folder = {_quoted(_path(folder, relative_to))}"]
        if policy:
            lines += [f"policy = {_quoted(_path(policy, relative_to))}"]
        lines += ["# trains = false            # only evaluates the model for other hospitals", ""]
    return "\n".join(lines) + "\n" + TRAINING


def _sites(folders: Sequence[Path]) -> dict[str, Path]:
    """The folders by the name of their site."""
    sites: dict[str, Path] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in sites:
            raise InputError(
                f"two folders are named {name!r}",
                where=str(folder),
                mend="rename one of them: a site is named after its folder",
            )
        sites[name] = folder.resolve()
    return checked_sites(sites)


def _task(sites: dict[str, Path]) -> Task:
    """The task of all sites; raises the faults of all sites together."""
    faults: list[FedNNUNetError] = []
    tasks: dict[str, Task] = {}
    for name, folder in sites.items():
        try:
            tasks[name] = task_of(folder)
        except FedNNUNetError as fault:
            faults.append(fault)
    raise_all("the task is not known", faults)
    first = next(iter(tasks))
    for name, task in tasks.items():
        ours, theirs = ((t.channels, t.labels, t.regions) for t in (tasks[first], task))
        if ours != theirs:
            raise InputError(
                f"the dataset.json of {first} and of {name} name other channels or labels",
                where=str(sites[name] / "dataset.json"),
                mend=f"give both the same names: {first} has {list(tasks[first].labels)}, "
                f"{name} has {list(task.labels)}",
            )
    return tasks[first]


def _path(path: Path, base: Path) -> str:
    """A path relative to `base` where that is possible, with forward slashes."""
    try:
        return Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()


def _quoted(value: object) -> str:
    """A text or a list of texts in TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
