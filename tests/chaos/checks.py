"""What must hold once it is quiet again, from the rows, the files and what people were told.

Each check returns the violations that it found, a sentence each.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from hyperion.media.status import Status, is_legal_walk
from tests.chaos.clients import Person
from tests.lifecycle.tree import Tree

REOPENED = ("analysis asked for again", "tried again by an operator")
UNFINISHED = "('PENDING', 'UPLOADED', 'EXTRACTING', 'PROCESSING')"
# What the program only logs when it meets something that nobody foresaw.
BUGS = {
    "NOT JSON",
    "actor.crashed",
    "actor.ended_unasked",
    "request.failed",
    "store.erase_failed",
    "store.put_failed",
    "supervisor.crashed",
    "task.failed",
}

Row = asyncpg.Record


@dataclass(frozen=True)
class Evidence:
    """Everything that is judged, read at one moment at which nothing runs."""

    people: Sequence[Person]
    photos: dict[str, Row]
    history: dict[str, list[Row]]
    feeds: dict[str, int]
    tasks: dict[int, Row]
    counted: Row
    blobs: set[str]
    thumbnails: set[str]
    files: dict[str, int]
    tree: Tree


async def gather(connection: "asyncpg.Connection[Row]", people: Sequence[Person], store: Path, tree: Tree) -> Evidence:
    """Read the evidence."""
    history: defaultdict[str, list[Row]] = defaultdict(list)
    for row in await connection.fetch(_HISTORY):
        history[row["media_id"]].append(row)
    return Evidence(
        people=people,
        photos={row["id"]: row for row in await connection.fetch(_PHOTOS)},
        history=dict(history),
        feeds={row["user_id"]: row["seq"] for row in await connection.fetch("SELECT user_id, seq FROM feed")},
        tasks={row["id"]: row for row in await connection.fetch(_TASKS)},
        counted=(await connection.fetch(_COUNTED))[0],
        blobs={row[0] for row in await connection.fetch("SELECT DISTINCT media_id::text FROM media_blob")},
        thumbnails={row[0] for row in await connection.fetch("SELECT media_id::text FROM media_thumbnail")},
        files={str(path.relative_to(store)): path.stat().st_size for path in store.rglob("*") if path.is_file()},
        tree=tree,
    )


def violations(evidence: Evidence) -> list[str]:
    """Run every check."""
    return [f"{check.__name__}: {found}" for check in CHECKS for found in check(evidence)]


def people_are_content(e: Evidence) -> Iterable[str]:
    """No answer was one that the client can make nothing of; no frame came twice or out of order."""
    for person in e.people:
        yield from person.memory.complaints
        yield from person.feed.complaints


def acknowledged_photos_are_there(e: Evidence) -> Iterable[str]:
    """What was acknowledged exists unless its owner deleted it; what was deleted does not."""
    for person in e.people:
        memory = person.memory
        for media_id in sorted(memory.photos - memory.doubtful_deletions - e.photos.keys()):
            yield f"{media_id} was acknowledged and is not there"
        for media_id in sorted(memory.deleted & e.photos.keys()):
            yield f"{media_id} was deleted and is there"
        own = {media_id for media_id, row in e.photos.items() if row["user_id"] == person.id}
        unexpected = own - memory.photos
        if len(unexpected) > memory.doubtful_photos:
            yield f"{person.id} has {len(unexpected)} photos unknown to them, and {memory.doubtful_photos} in doubt"


def photos_are_finished_once(e: Evidence) -> Iterable[str]:
    """Between two reopenings a photo becomes READY or FAILED once, at the end, as its row says."""
    for media_id, row in e.photos.items():
        walk = [Status(entry["status"]) for entry in e.history.get(media_id, [])]
        shown = " ".join(walk)
        if not is_legal_walk(walk):
            yield f"{media_id} went an illegal way: {shown}"
        if walk[-1:] != [Status(row["status"])]:
            yield f"{media_id} is {row['status']} after {shown}"
        for part in _parts(e.history.get(media_id, [])):
            ends = [status for status in part if status in (Status.READY, Status.FAILED)]
            if len(ends) != 1 or part[-1] != ends[0]:
                yield f"{media_id} was finished {len(ends)} times in {' '.join(part)} of {shown}"


def photos_are_whole(e: Evidence) -> Iterable[str]:
    """READY: analysed, with a thumbnail, without bytes in the database. FAILED: with a reason, and bytes somewhere."""
    for media_id, row in e.photos.items():
        if row["status"] == "READY":
            if media_id in e.blobs:
                yield f"{media_id} is READY and has bytes in the database"
            if media_id not in e.thumbnails or not row["is_analysed"]:
                yield f"{media_id} is READY without a thumbnail or finding"
        elif not row["failed_reason"]:
            yield f"{media_id} is {row['status']} without a reason"
        elif not row["is_stored"] and media_id not in e.blobs:
            yield f"{media_id} is FAILED and its bytes are nowhere"


def reopenings_are_those_asked_for(e: Evidence) -> Iterable[str]:
    """A photo was analysed again as often as was acknowledged, or as may have been."""
    for person in e.people:
        memory = person.memory
        for media_id in e.photos.keys() & memory.photos:
            count = sum(_is_reopening(entry) for entry in e.history[media_id])
            least, most = memory.again[media_id], memory.again[media_id] + memory.doubtful_again[media_id]
            if not least <= count <= most:
                yield f"{media_id} was reopened {count} times, asked for {least} to {most} times"


def tasks_are_over(e: Evidence) -> Iterable[str]:
    """Every task is in no table of the queue (finished), or in that of the dead with an error."""
    for task_id, row in e.tasks.items():
        if row["places"] or (row["is_dead"] and not row["error"]):
            yield f"task {task_id} ({row['kind']}) is in {row['places']}, error {row['error']!r}"
    simulated = {task_id for task_id, row in e.tasks.items() if row["kind"] == "simulate"}
    told = {task_id for person in e.people for task_id in person.memory.tasks}
    doubtful = sum(person.memory.doubtful_tasks for person in e.people)
    for task_id in sorted(told - simulated):
        yield f"task {task_id} was acknowledged and is not there"
    if len(simulated - told) > doubtful:
        yield f"{len(simulated - told)} tasks are unknown to everybody, and {doubtful} in doubt"


def feeds_are_gapless(e: Evidence) -> Iterable[str]:
    """A user's numbers are 1, 2, 3 and so on; only deleted photos leave gaps, whose frames tell of them."""
    rows: defaultdict[str, dict[int, Row]] = defaultdict(dict)
    for entries in e.history.values():
        for entry in entries:
            rows[entry["user_id"]][entry["seq"]] = entry
    for person in e.people:
        own, last = rows[person.id], e.feeds.get(person.id, 0)
        missing = set(range(1, last + 1)) - own.keys()
        if own and max(own) > last:
            yield f"{person.id} has a row {max(own)} past the counter {last}"
        if missing and not person.memory.doubtful_deletions:
            yield f"{person.id} never deleted and lacks {sorted(missing)}"
        order = [own[seq]["logged_at"] for seq in sorted(own)]
        if order != sorted(order):
            yield f"{person.id}'s numbers are not in the order of time"


def sockets_told_everything(e: Evidence) -> Iterable[str]:
    """Every row of a photo that still exists came as a frame, and every frame of such a photo is a row."""
    for person in e.people:
        rows = {
            (entry["seq"], media_id, entry["status"])
            for media_id, entries in e.history.items()
            for entry in entries
            if entry["user_id"] == person.id
        }
        frames = {(frame.seq, frame.media_id, frame.status) for frame in person.feed.frames}
        for seq, media_id, status in sorted(rows - frames):
            yield f"frame {seq} ({media_id} {status}) never came"
        for seq, media_id, status in sorted(frames - rows):
            if media_id in e.photos:
                yield f"frame {seq} ({media_id} {status}) came and there is no such row"


def counters_agree(e: Evidence) -> Iterable[str]:
    """Each READY and each finished generic task was counted once.

    The history of deleted photos is gone: their READY frames are the least, their finished tasks the
    most that can have been counted for them.
    """
    finished = Counter(row["kind"] for row in e.tasks.values() if not row["is_dead"])
    ready = sum(entry["status"] == "READY" for entries in e.history.values() for entry in entries)
    certain = ready + finished["simulate"]
    seen = sum(
        frame.status == "READY" and frame.media_id not in e.photos
        for person in e.people
        for frame in person.feed.frames
    )
    unseen = sum(
        row["kind"] == "analyse" and not row["is_dead"] and row["item"] not in e.photos for row in e.tasks.values()
    )
    if not certain + seen <= e.counted["done"] <= certain + unseen:
        yield f"{e.counted['done']} were counted as done, {certain + seen} to {certain + unseen} were"
    attempts = sum("attempt" in entry["message"] for entries in e.history.values() for entry in entries)
    if e.counted["failed"] < attempts:
        yield f"{e.counted['failed']} were counted as failed, {attempts} attempts did"


def store_holds_exactly_the_photos(e: Evidence) -> Iterable[str]:
    """Each stored photo has its file, whole. A file belongs to a photo, or its removal is a dead task.

    Temporary files of killed archivers may lie about; they go when they are an hour old.
    """
    files = {path: size for path, size in e.files.items() if not path.rpartition("/")[2].startswith(".put-")}
    stored = {row["store_path"]: row["size_bytes"] for row in e.photos.values() if row["is_stored"]}
    given_up = {row["path"] for row in e.tasks.values() if row["kind"] == "erase" and row["is_dead"]}
    owned = {row["store_path"] for row in e.photos.values()}
    for path in sorted(stored.keys() - files.keys()):
        yield f"{path} is missing from the store"
    for path in sorted(files.keys() - owned - given_up):
        yield f"{path} is nobody's file"
    for path in sorted(stored.keys() & files.keys()):
        if stored[path] != files[path]:
            yield f"{path} has {files[path]} bytes, not {stored[path]}"


def nothing_unforeseen_was_logged(e: Evidence) -> Iterable[str]:
    """No log line tells of a bug."""
    for line in e.tree.lines:
        if line["event"] in BUGS:
            yield str({key: value for key, value in line.items() if key != "exception"}) + _last_line(line)


CHECKS: list[Callable[[Evidence], Iterable[str]]] = [
    people_are_content,
    acknowledged_photos_are_there,
    photos_are_finished_once,
    photos_are_whole,
    reopenings_are_those_asked_for,
    tasks_are_over,
    feeds_are_gapless,
    sockets_told_everything,
    counters_agree,
    store_holds_exactly_the_photos,
    nothing_unforeseen_was_logged,
]

UNSETTLED = f"""
SELECT (SELECT count(*) FROM task_ready) AS ready,
    (SELECT count(*) FROM task_scheduled) AS scheduled,
    (SELECT count(*) FROM task_lease) AS leased,
    (SELECT count(*) FROM media WHERE status IN {UNFINISHED}) AS unfinished
"""
STRAY_LEASES = """
SELECT l.task_id, l.boot
FROM task_lease AS l
WHERE NOT EXISTS (SELECT 1 FROM actor AS a WHERE a.boot = l.boot AND a.state <> 'gone')
"""
_PHOTOS = """
SELECT id::text, user_id, status, store_path, size_bytes, stored_at IS NOT NULL AS is_stored, failed_reason,
    technical_metadata ? 'model' AND has_trash IS NOT NULL AS is_analysed
FROM media
"""
_HISTORY = "SELECT user_id, seq, media_id::text, status, message, logged_at FROM media_log ORDER BY media_id, seq"
_TASKS = """
SELECT t.id, t.kind, t.item::text, t.payload ->> 'path' AS path, d.task_id IS NOT NULL AS is_dead, d.error,
    (SELECT count(*) FROM task_ready AS x WHERE x.task_id = t.id)
    + (SELECT count(*) FROM task_scheduled AS x WHERE x.task_id = t.id)
    + (SELECT count(*) FROM task_lease AS x WHERE x.task_id = t.id) AS places
FROM task AS t
LEFT JOIN task_dead AS d ON d.task_id = t.id
"""
_COUNTED = """
    SELECT COALESCE(sum(done), 0)::bigint AS done, COALESCE(sum(failed), 0)::bigint AS failed
    FROM actor_day
    WHERE label NOT LIKE 'archiver%'
"""


def _parts(entries: Sequence[Row]) -> list[list[Status]]:
    """Split a history where the photo was opened again."""
    parts: list[list[Status]] = []
    for entry in entries:
        if not parts or _is_reopening(entry):
            parts.append([])
        parts[-1].append(Status(entry["status"]))
    return parts


def _is_reopening(entry: Row) -> bool:
    return str(entry["message"]).endswith(REOPENED)


def _last_line(line: dict[str, Any]) -> str:
    trace = str(line.get("exception", "")).strip()
    return f" … {trace.splitlines()[-1]}" if trace else ""
