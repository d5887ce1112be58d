"""How busy this container is: CPU and memory from cgroup v2, else v1, else the whole machine by psutil."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

NANOSECONDS = 1e9
MICROSECONDS = 1e6


@dataclass(frozen=True)
class Sample:
    """CPU and memory in percent 0..100 of what the container may use; CPU over the last `covered_s` seconds."""

    source: str
    covered_s: float
    cpu_percent: float
    memory_percent: float


@dataclass(frozen=True)
class Used:
    """What a group of processes has used, and the most it may: in CPU seconds and CPUs, or in bytes twice.

    Without a `limit` it may use all that the machine has.
    """

    group: str
    amount: float
    limit: float | None


@dataclass(frozen=True)
class Reading:
    """One look at the counters: our own group first, then those around it."""

    source: str
    cpu: Sequence[Used]
    memory: Sequence[Used]


class Machine:
    """Samples the container that this process is in. The files are read below `root`, for tests."""

    def __init__(
        self, root: Path = Path("/"), *, now_s: float, cpus: float | None = None, memory_bytes: float | None = None
    ) -> None:
        self._root = root
        self._cpus = cpus or len(os.sched_getaffinity(0))
        self._memory_bytes = memory_bytes or psutil.virtual_memory().total
        self._last = self._read()
        self._last_s = now_s

    def sample(self, now_s: float) -> Sample | None:
        """Measure since the last sample; None where the source has changed meanwhile or no time has passed."""
        last, last_s = self._last, self._last_s
        self._last, self._last_s = self._read(), now_s
        covered_s = now_s - last_s
        if self._last.source != last.source or covered_s <= 0:
            return None
        before = {used.group: used.amount for used in last.cpu}
        rates = [
            Used(used.group, (used.amount - before.get(used.group, used.amount)) / covered_s, used.limit)
            for used in self._last.cpu
        ]
        return Sample(
            source=last.source,
            covered_s=covered_s,
            cpu_percent=highest_percent(rates, whole=self._cpus),
            memory_percent=highest_percent(self._last.memory, whole=self._memory_bytes),
        )

    def _read(self) -> Reading:
        for read in (read_v2, read_v1):
            try:
                return read(self._root)
            except (OSError, ValueError, LookupError):
                continue
        return read_machine()


def highest_percent(used: Sequence[Used], *, whole: float) -> float:
    """Return how near we are to the limit that is nearest, in percent 0..100.

    A limit can lie on any group around ours, and then all that is in that group counts towards it.
    Groups around ours without a limit do not concern us.
    """
    shares = [
        one.amount / min(one.limit or whole, whole)
        for place, one in enumerate(used)
        if place == 0 or one.limit is not None
    ]
    return min(100.0, max(0.0, 100 * max(shares)))


def read_v2(root: Path) -> Reading:
    """Read the files of cgroup v2. Raises OSError, ValueError or LookupError where they are not there."""
    base = root / "sys/fs/cgroup"
    groups = list(_around(base, _own_path(root, controller="")))
    return Reading(
        "cgroup v2",
        cpu=_found(groups, _v2_cpu),
        memory=_found(groups, lambda group: _memory(group, "memory.current", "memory.max", "inactive_file")),
    )


def read_v1(root: Path) -> Reading:
    """Read the files of cgroup v1. Raises OSError, ValueError or LookupError where they are not there."""
    base = root / "sys/fs/cgroup"
    cpu = list(_around(base / "cpuacct", _own_path(root, controller="cpuacct")))
    memory = list(_around(base / "memory", _own_path(root, controller="memory")))
    return Reading(
        "cgroup v1",
        cpu=_found(cpu, lambda group: _v1_cpu(group, base / "cpu" / group.relative_to(base / "cpuacct"))),
        memory=_found(
            memory,
            lambda group: _memory(group, "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"),
        ),
    )


def read_machine() -> Reading:
    """Read what the whole machine uses."""
    times, memory = psutil.cpu_times(), psutil.virtual_memory()
    # Time in guests is in `user` already.
    busy_s = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return Reading(
        "psutil",
        cpu=[Used("", busy_s, psutil.cpu_count() or 1)],
        memory=[Used("", memory.total - memory.available, memory.total)],
    )


def _own_path(root: Path, *, controller: str) -> str:
    """Return our group as the kernel names it (v2: the line without controllers). Raises LookupError."""
    for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path.strip("/")
    raise LookupError(controller)


def _around(base: Path, path: str) -> Iterator[Path]:
    """Yield the folder of our group and those of the groups around it.

    A container often sees its own group as the base, while the kernel names it as the host does.
    """
    own = base / path
    if ".." in own.parts or not own.is_dir():
        own = base
    yield own
    while own != base:
        own = own.parent
        yield own


def _found(groups: Sequence[Path], read: Callable[[Path], Used]) -> list[Used]:
    """Read the groups that have the files; a controller need not be on in all of them. Raises LookupError."""
    found = []
    for group in groups:
        try:
            found.append(read(group))
        except FileNotFoundError:
            continue
    if not found:
        raise LookupError("no group has the files")
    return found


def _v2_cpu(group: Path) -> Used:
    used_s = _field(group / "cpu.stat", "usage_usec") / MICROSECONDS
    try:
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
    except FileNotFoundError:  # the outermost group has none
        quota, period = "max", "1"
    return Used(str(group), used_s, None if quota == "max" else int(quota) / int(period))


def _v1_cpu(group: Path, quota_group: Path) -> Used:
    used_s = _number(group / "cpuacct.usage") / NANOSECONDS
    try:
        quota, period = _number(quota_group / "cpu.cfs_quota_us"), _number(quota_group / "cpu.cfs_period_us")
    except FileNotFoundError:
        quota, period = -1, 1
    return Used(str(group), used_s, quota / period if quota > 0 else None)


def _memory(group: Path, current: str, limit: str, cache: str) -> Used:
    """Read what cannot be given back: files that nobody has read for a while go first under pressure."""
    amount = max(0, _number(group / current) - _field(group / "memory.stat", cache))
    try:
        most = (group / limit).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        most = "max"
    # v1 has no word for unlimited, only a number larger than any machine.
    return Used(str(group), amount, None if most == "max" or int(most) >= 1 << 60 else int(most))


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _field(file: Path, name: str) -> int:
    fields = dict(line.split() for line in file.read_text(encoding="ascii").splitlines())
    return int(fields[name])
