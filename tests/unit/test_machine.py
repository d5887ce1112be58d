"""What the machine's load is read from: control groups of both versions, or the machine itself."""

from pathlib import Path

import pytest

from hyperion.actors.machine import Machine, Sample

GIB = 1 << 30
UNLIMITED_V1 = 9223372036854771712


def write(folder: Path, **files: object) -> None:
    """Write files whose names have `__` for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def own_group(root: Path, *lines: str) -> None:
    write(root / "proc" / "self", cgroup="\n".join(lines))


def v2_group(
    root: Path, path: str = "", *, used_s: float = 0, quota: str = "max 100000", memory: int = 0, limit: object = "max"
) -> None:
    write(
        root / "sys/fs/cgroup" / path,
        cpu__stat=f"usage_usec {int(used_s * 1e6)}\nuser_usec 0\nsystem_usec 0",
        cpu__max=quota,
        memory__current=memory,
        memory__max=limit,
        memory__stat="anon 1\ninactive_file 0",
    )


def v1_group(
    root: Path, path: str = "", *, used_s: float = 0, quota_us: int = -1, memory: int = 0, limit: int = UNLIMITED_V1
) -> None:
    base = root / "sys/fs/cgroup"
    write(base / "cpuacct" / path, cpuacct__usage=int(used_s * 1e9))
    write(base / "cpu" / path, cpu__cfs_quota_us=quota_us, cpu__cfs_period_us=100000)
    write(
        base / "memory" / path,
        memory__usage_in_bytes=memory,
        memory__limit_in_bytes=limit,
        memory__stat="cache 5\ntotal_inactive_file 0",
    )


def machine(root: Path) -> Machine:
    return Machine(root, now_s=0.0, cpus=4, memory_bytes=8 * GIB)


def test_cpu_is_in_percent_of_the_quota_and_memory_of_the_limit(tmp_path: Path) -> None:
    own_group(tmp_path, "0::/")
    v2_group(tmp_path, used_s=100, quota="50000 100000", memory=GIB, limit=2 * GIB)
    watched = machine(tmp_path)
    v2_group(tmp_path, used_s=102.5, quota="50000 100000", memory=GIB, limit=2 * GIB)

    sample = watched.sample(10.0)

    assert sample == Sample("cgroup v2", covered_s=10.0, cpu_percent=50, memory_percent=50)


def test_without_limits_the_whole_machine_is_the_measure(tmp_path: Path) -> None:
    own_group(tmp_path, "0::/")
    v2_group(tmp_path, memory=2 * GIB)
    watched = machine(tmp_path)
    v2_group(tmp_path, used_s=10, memory=2 * GIB)

    sample = watched.sample(10.0)

    assert sample == Sample("cgroup v2", covered_s=10.0, cpu_percent=25, memory_percent=25)


def test_a_limit_beyond_the_machine_is_none(tmp_path: Path) -> None:
    own_group(tmp_path, "0::/")
    v2_group(tmp_path, quota="800000 100000", memory=2 * GIB, limit=64 * GIB)
    watched = machine(tmp_path)
    v2_group(tmp_path, used_s=40, quota="800000 100000", memory=2 * GIB, limit=64 * GIB)

    sample = watched.sample(10.0)

    assert sample == Sample("cgroup v2", covered_s=10.0, cpu_percent=100, memory_percent=25)


def test_a_limit_on_a_group_around_ours_counts_with_all_that_is_in_it(tmp_path: Path) -> None:
    own_group(tmp_path, "0::/pod/container")
    for used_s in (0, 8):
        v2_group(tmp_path, used_s=100 * used_s, memory=8 * GIB)  # not limited, so not our concern
        v2_group(tmp_path, "pod", used_s=used_s, quota="100000 100000", memory=3 * GIB, limit=4 * GIB)
        v2_group(tmp_path, "pod/container", used_s=used_s / 4, memory=GIB)
        if not used_s:
            watched = machine(tmp_path)

    sample = watched.sample(10.0)

    assert sample == Sample("cgroup v2", covered_s=10.0, cpu_percent=80, memory_percent=75)


def test_files_that_nobody_reads_any_more_are_no_used_memory(tmp_path: Path) -> None:
    own_group(tmp_path, "0::/")
    v2_group(tmp_path, memory=3 * GIB, limit=4 * GIB)
    write(tmp_path / "sys/fs/cgroup", memory__stat=f"anon 5\ninactive_file {2 * GIB}")

    sample = machine(tmp_path).sample(10.0)

    assert sample is not None
    assert sample.memory_percent == 25


def test_a_group_that_only_the_host_can_see_is_the_one_at_the_base(tmp_path: Path) -> None:
    own_group(tmp_path, "0::/docker/0123abc")
    v2_group(tmp_path, memory=GIB, limit=2 * GIB)

    sample = machine(tmp_path).sample(10.0)

    assert sample is not None
    assert sample.memory_percent == 50


def test_the_first_version_is_read_where_the_second_is_not(tmp_path: Path) -> None:
    own_group(tmp_path, "4:memory:/docker/a", "2:cpu,cpuacct:/docker/a", "0::/")
    v1_group(tmp_path, "docker/a", quota_us=200000, memory=GIB, limit=4 * GIB)
    v1_group(tmp_path, memory=8 * GIB)
    watched = machine(tmp_path)
    v1_group(tmp_path, "docker/a", used_s=5, quota_us=200000, memory=GIB, limit=4 * GIB)

    sample = watched.sample(10.0)

    assert sample == Sample("cgroup v1", covered_s=10.0, cpu_percent=25, memory_percent=25)


def test_the_first_version_has_no_word_for_unlimited(tmp_path: Path) -> None:
    own_group(tmp_path, "4:memory:/", "2:cpu:/", "3:cpuacct:/")
    v1_group(tmp_path, memory=2 * GIB)
    watched = machine(tmp_path)
    v1_group(tmp_path, used_s=20, memory=2 * GIB)

    sample = watched.sample(10.0)

    assert sample == Sample("cgroup v1", covered_s=10.0, cpu_percent=50, memory_percent=25)


@pytest.mark.parametrize("broken", ["nothing", "no memory", "nonsense"])
def test_without_usable_files_the_machine_itself_is_asked(tmp_path: Path, broken: str) -> None:
    if broken != "nothing":
        own_group(tmp_path, "0::/")
        v2_group(tmp_path)
    if broken == "no memory":  # the outermost group of a host
        (tmp_path / "sys/fs/cgroup/memory.current").unlink()
    if broken == "nonsense":
        write(tmp_path / "sys/fs/cgroup", cpu__stat="???")

    sample = Machine(tmp_path, now_s=0.0).sample(10.0)

    assert sample is not None
    assert sample.source == "psutil"
    assert 0 <= sample.cpu_percent <= 100
    assert 0 < sample.memory_percent <= 100


def test_percentages_never_leave_their_scale(tmp_path: Path) -> None:
    own_group(tmp_path, "0::/")
    v2_group(tmp_path, used_s=100, memory=5 * GIB, limit=4 * GIB)
    watched = machine(tmp_path)
    v2_group(tmp_path, used_s=1000, memory=5 * GIB, limit=4 * GIB)
    above = watched.sample(10.0)
    v2_group(tmp_path, used_s=0, memory=0, limit=4 * GIB)
    below = watched.sample(20.0)

    assert above is not None
    assert below is not None
    assert (above.cpu_percent, above.memory_percent) == (100, 100)
    assert (below.cpu_percent, below.memory_percent) == (0, 0)


def test_no_sample_spans_a_change_of_source(tmp_path: Path) -> None:
    own_group(tmp_path, "0::/")
    v2_group(tmp_path)
    watched = machine(tmp_path)
    (tmp_path / "sys/fs/cgroup/cpu.stat").unlink()

    changed, next_one = watched.sample(10.0), watched.sample(20.0)

    assert changed is None
    assert next_one is not None
    assert next_one.source == "psutil"
