"""A short run of the faults; `make chaos` makes long ones."""

from tests.chaos.run import run
from tests.chaos.schedule import KINDS, make_schedule
from tests.servers import server_binaries

# Those after which it is quiet again within seconds.
SHORT = [kind for kind in KINDS if kind not in ("strand", "kill_fork_server", "stop_supervisor")]
FORCED = ["kill_actor", "stop_actor", "storm", "restart_immediate", "cut", "refuse", "fill", "kill_supervisor"]


async def test_nothing_is_lost_doubled_or_left_behind_whatever_fails() -> None:
    report = await run(22, minutes=0.2, first=FORCED, kinds=SHORT, binaries=server_binaries())

    assert not report.violations, report.text()


def test_a_seed_always_means_the_same_faults() -> None:
    one, other = (make_schedule(7, duration_s=60, first=FORCED) for _ in range(2))

    assert one == other
    assert one != make_schedule(8, duration_s=60, first=FORCED)
    assert {step.kind for step in one[: len(FORCED)]} == set(FORCED)
