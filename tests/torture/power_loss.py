"""Power loss: the log of a change's writes and syncs, replayed with what was not synced dropped, reordered or torn.

The model: a file's writes are durable after a sync of the file, the names of a folder after a sync of the folder. Of
what is not durable, any part may be on disk: whole writes in any order, or some of the sectors of a write. Names change
in the order of the calls, as on a journaling file system.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import shim
from .outcomes import Attack, Outcome, isolated
from .workload import CHANGES, FIRST, NEW, Templates, add, checked, of, opened

_HEADER = struct.Struct("<cqQQ")
_MODES = ("drop", "keep", "reorder", "torn 512", "torn 4096")


@dataclass(frozen=True)
class Event:
    """One call: W(rite), T(runcate), S(ync), C(reate), R(ename), X (exchange), U(nlink), D (mkdir), A(cknowledged)."""

    kind: str
    offset: int
    path: str
    data: bytes


@dataclass
class File:
    """A file as the disk has it: synced content, and what came after."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)


def read_log(data: bytes) -> list[Event]:
    """Return the events of a log."""
    events, position = [], 0
    while position + _HEADER.size <= len(data):
        kind, offset, first, second = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        path = data[position : position + first].decode()
        events.append(Event(kind.decode(), offset, path, data[position + first : position + first + second]))
        position += first + second
    return events


class PowerLoss(Attack):
    """The machine stops at some call; allowed are the acknowledged changes, with or without the one in progress."""

    name = "power loss"
    needs_shim = True

    def __init__(self) -> None:
        super().__init__()
        (self.folder / "templates").mkdir()
        self.templates = Templates(self.folder / "templates")
        self.logs: dict[str, tuple[Path, list[Event], list[Any]]] = {}

    def attempt(self, rng: random.Random) -> Outcome:
        name = rng.choice([*(name for name in CHANGES if "snapshot" not in name), "several"])
        if name not in self.logs:
            self.logs[name] = self._recorded(name)
        start, events, states = self.logs[name]
        position = rng.randint(0, len(events))
        mode = rng.choice(_MODES)
        state = f"{name}: stopped at call {position} of {len(events)}, unsynced writes: {mode}"
        target = self.folder / "crashed"
        shutil.rmtree(target, ignore_errors=True)
        _replay(start, events[:position], target, self.folder / "work", mode, rng)
        done = max([event.offset for event in events[:position] if event.kind == "A"], default=0)
        ended = isolated(lambda: checked(target / "x") if (target / "x").exists() else None)
        if ended.error or ended.killed:
            return Outcome("damaged", state, ended.killed or ended.trace)
        allowed = states[done : done + 2]
        if ended.value not in allowed:
            return Outcome("other state", state, f"acknowledged {done} changes; found {ended.value}")
        there = ended.value == allowed[-1] and len(allowed) > 1 and allowed[0] != allowed[1]
        return Outcome("acknowledged, and the next" if there else "as acknowledged", state)

    def _recorded(self, name: str) -> tuple[Path, list[Event], list[Any]]:
        """Run a change with its calls logged; return the folder before it, the log, and the states it passes."""
        work, start, log = self.folder / "work", self.folder / f"start-{name}", self.folder / f"log-{name}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        change = CHANGES.get(name)
        template = change.template if change is not None else "empty"
        before: Any = self.templates.copy(template, work / "x") if template else None
        if name == "restore":
            self.templates.copy("grown", work / "source")
            shutil.copytree(work, start)
            states = [before, self.templates.contents["grown"]]
        else:
            shutil.copytree(work, start)
            states = [before, change.after(before or {})] if change is not None else _several_states()

        def run() -> bool:
            control = shim.functions()
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            control.torture_log(str(work).encode(), descriptor)
            if change is not None:
                change.apply(work / "x")
                control.torture_mark(1)
            else:
                _several(work / "x", control.torture_mark)
            control.torture_log(b"", -1)
            return True

        ended = isolated(run)
        assert ended.value, ended
        return start, read_log(log.read_bytes()), states


def _several(path: Path, mark: Any) -> None:
    with opened(path) as index:
        add(index, FIRST)
        mark(1)
        add(index, NEW)
        mark(2)
        index.delete(["s3", "n0"])
        mark(3)
        index.update_metadata(["s1"], [{"year": 3}])
        mark(4)
        add(index, {"s1": "replaced owl"}, upsert=True)
        mark(5)
        index.compact()
        mark(6)
    mark(7)


def _several_states() -> list[Any]:
    states: list[Any] = [{}, of(FIRST)]
    states.append({**states[-1], **of(NEW)})
    states.append({id_: value for id_, value in states[-1].items() if id_ not in ("s3", "n0")})
    states.append({**states[-1], **of({"s1": FIRST["s1"]}, {"s1": {"year": 3}})})
    states.append({**states[-1], **of({"s1": "replaced owl"})})
    return [*states, states[-1], states[-1]]


def _replay(start: Path, events: list[Event], target: Path, work: Path, mode: str, rng: random.Random) -> None:
    files = {
        str(work / file.relative_to(start)): File(bytearray(file.read_bytes()))
        for file in start.rglob("*")
        if file.is_file()
    }
    folders = {str(work / folder.relative_to(start)) for folder in start.rglob("*") if folder.is_dir()}
    # Names: what the last sync of their folder made durable, then as many of the later changes as the disk has.
    names: dict[str, File] = dict(files)
    durable = _last_durable_name(events)
    named = [i for i, event in enumerate(events) if event.kind in "CRXUD" and i > durable]
    last = durable if not named else {"drop": durable, "keep": named[-1]}.get(mode, rng.choice([durable, *named]))
    # All names as the process saw them, for the writes; those up to `last`, for the disk.
    disk_names, disk_folders = dict(names), set(folders)
    for i, event in enumerate(events):
        if event.kind in "CRXUD":
            _rename(names, folders, event)
            if i <= last:
                _rename_from(disk_names, disk_folders, event, names)
        elif event.kind == "S":
            if (file := names.get(event.path)) is not None:
                for pending in file.pending:
                    _apply(file.content, pending)
                file.pending.clear()
        elif event.kind in "WT" and (file := names.get(event.path)) is not None:
            file.pending.append(event)
    for folder in sorted({str(work), *disk_folders}):
        (target / Path(folder).relative_to(work)).mkdir(parents=True, exist_ok=True)
    for path, file in disk_names.items():
        if path.endswith("-shm"):
            continue
        destination = target / Path(path).relative_to(work)
        if destination.parent.exists():
            destination.write_bytes(_on_disk(file, mode, rng))


def _last_durable_name(events: list[Event]) -> int:
    """Return the position of the last change of names that a sync of a folder made durable; -1 for none."""
    synced: dict[str, int] = {}
    for i, event in enumerate(events):
        if event.kind == "S":
            synced[event.path] = i
    durable = -1
    for i, event in enumerate(events):
        if event.kind in "CRXUD":
            path = event.data.decode() if event.kind in "RX" else event.path
            if synced.get(str(Path(path).parent), -1) > i:
                # In order: everything before it is durable too.
                durable = i
    return durable


def _rename(names: dict[str, File], folders: set[str], event: Event) -> None:
    if event.kind == "C":
        names[event.path] = File()
    else:
        _rename_from(names, folders, event, names)


def _rename_from(names: dict[str, File], folders: set[str], event: Event, all_names: dict[str, File]) -> None:
    first, second = event.path, event.data.decode()
    if event.kind == "C":
        names[first] = all_names[first]
    elif event.kind == "D":
        folders.add(first)
    elif event.kind == "U":
        names.pop(first, None)
        folders.discard(first)
    elif event.kind == "R":
        _move(names, folders, first, second)
    else:
        _move(names, folders, first, f"{first}.exchanged")
        _move(names, folders, second, first)
        _move(names, folders, f"{first}.exchanged", second)


def _move(names: dict[str, File], folders: set[str], first: str, second: str) -> None:
    for path in [path for path in names if path == first or path.startswith(f"{first}/")]:
        names[second + path[len(first) :]] = names.pop(path)
    for path in [path for path in folders if path == first or path.startswith(f"{first}/")]:
        folders.remove(path)
        folders.add(second + path[len(first) :])


def _on_disk(file: File, mode: str, rng: random.Random) -> bytes:
    content = bytearray(file.content)
    for event in file.pending:
        if mode == "keep" or (mode != "drop" and rng.random() < 0.5):
            if mode.startswith("torn") and event.kind == "W":
                sector = int(mode.split()[1])
                start = event.offset
                while start < event.offset + len(event.data):
                    end = min((start // sector + 1) * sector, event.offset + len(event.data))
                    if rng.random() < 0.6:
                        piece = event.data[start - event.offset : end - event.offset]
                        _apply(content, Event("W", start, event.path, piece))
                    start = end
            else:
                _apply(content, event)
    return bytes(content)


def _apply(content: bytearray, event: Event) -> None:
    if event.kind == "T":
        if event.offset < len(content):
            del content[event.offset :]
        else:
            content.extend(bytes(event.offset - len(content)))
        return
    if len(content) < event.offset:
        content.extend(bytes(event.offset - len(content)))
    content[event.offset : event.offset + len(event.data)] = event.data
