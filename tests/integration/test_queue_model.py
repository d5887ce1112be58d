"""The queue's protocol against a model: claims, finishes, deaths, rescues, late writes, in every order."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from hyperion import queue
from hyperion.db import Database
from hyperion.errors import LeaseLost
from hyperion.queue import Claimer, Lease, NewTask

LANE = "model"
MAX_ATTEMPTS = 3
MAX_CRASHES = 2
BOOTS = st.integers(1, 3)
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "25"))


class ModelTask:
    """What the model knows of a task: its state, who holds it, and what it has cost so far."""

    def __init__(self) -> None:
        self.state = "ready"
        self.holder: tuple[int, int] | None = None  # boot and epoch
        self.attempts = 0
        self.crashes = 0
        self.finishes = 0


class QueueMachine(RuleBasedStateMachine):
    """Drives the real queue and the model side by side; a lease, once given, may be used for ever."""

    url: str
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.db = Database(self.url, name="model")
        self.tasks: dict[int, ModelTask] = {}
        self.order: list[int] = []  # ready tasks, first in line first
        self.places: dict[int, float] = {}
        self.claimers = {boot: Claimer(self.db, lane=LANE, boot=boot, lease_s=3600) for boot in range(1, 4)}
        self.run(self.db.execute("TRUNCATE task, task_ready, task_scheduled, task_lease, task_dead"))

    def teardown(self) -> None:
        self.run(self.db.close())
        self.runner.close()

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def transact(self, act: Callable[[Any], Any]) -> Any:
        async def run() -> Any:
            async with self.db.transaction() as connection:
                return await act(connection)

        return self.run(run())

    def holds(self, lease: Lease) -> bool:
        return self.tasks[lease.task_id].holder == (lease.boot, lease.epoch)

    def line_up(self, task_id: int, place: float) -> None:
        self.tasks[task_id].state, self.tasks[task_id].holder = "ready", None
        self.places[task_id] = place
        self.order = sorted({*self.order, task_id}, key=lambda i: self.places[i])

    def next_place(self) -> float:
        return max(self.places.values(), default=0) + 1

    @rule(count=st.integers(1, 3))
    def enqueue(self, count: int) -> None:
        new = [NewTask(lane=LANE, kind="noop") for _ in range(count)]
        for task_id in self.transact(lambda c: queue.enqueue(c, new)):
            self.tasks[task_id] = ModelTask()
            self.line_up(task_id, self.next_place())

    @rule(target=leases, boot=BOOTS, limit=st.integers(1, 3))
    def claim(self, boot: int, limit: int) -> Any:
        self.claimers[boot]._mark.drop()  # a lower number that came back is seen before long
        claimed: list[Lease] = self.run(self.claimers[boot].claim(limit))

        assert [lease.task_id for lease in claimed] == self.order[:limit]
        for lease in claimed:
            task = self.tasks[lease.task_id]
            assert (lease.attempt, lease.crashes) == (task.attempts + 1, task.crashes)
            task.state, task.holder = "leased", (lease.boot, lease.epoch)
        self.order = self.order[limit:]
        return multiple(*claimed)

    @rule(lease=leases)
    def finish(self, lease: Lease) -> None:
        if self.holds(lease):
            self.transact(lambda c: queue.finish(c, [lease]))
            task = self.tasks[lease.task_id]
            task.state, task.holder, task.finishes = "finished", None, task.finishes + 1
        else:
            with pytest.raises(LeaseLost):
                self.transact(lambda c: queue.finish(c, [lease]))

    @rule(lease=leases)
    def fail(self, lease: Lease) -> None:
        async def act(connection: Any) -> queue.Retry:
            return await queue.fail(connection, lease, error="x", max_attempts=MAX_ATTEMPTS, delay_s=0)

        if not self.holds(lease):
            with pytest.raises(LeaseLost):
                self.transact(act)
            return
        task = self.tasks[lease.task_id]
        task.attempts += 1
        assert self.transact(act).is_dead == (task.attempts >= MAX_ATTEMPTS)
        task.state, task.holder = ("dead" if task.attempts >= MAX_ATTEMPTS else "scheduled"), None

    @rule(lease=leases)
    def hand_back(self, lease: Lease) -> None:
        held = self.holds(lease)

        returned = self.transact(lambda c: queue.hand_back(c, [lease]))

        assert returned == ({lease.task_id} if held else set())
        if held:
            self.line_up(lease.task_id, self.places[lease.task_id])

    @rule(lease=consumes(leases))
    def hold(self, lease: Lease) -> None:
        if self.holds(lease):
            self.transact(lambda c: queue.hold(c, lease))
        else:
            with pytest.raises(LeaseLost):
                self.transact(lambda c: queue.hold(c, lease))

    @rule(boot=BOOTS)
    def die(self, boot: int) -> None:
        mine = {i for i, task in self.tasks.items() if task.holder and task.holder[0] == boot}

        rescued = self.transact(lambda c: queue.rescue_boots(c, [boot], max_crashes=MAX_CRASHES, reason="died"))

        assert {task.task_id for task in rescued} == mine
        self._crashed(rescued)

    @rule()
    def everybody_falls_silent(self) -> None:
        rescued = self.transact(lambda c: queue.rescue_lost(c, silent_s=60, max_crashes=MAX_CRASHES, reason="silent"))

        assert {task.task_id for task in rescued} == {i for i, task in self.tasks.items() if task.holder}
        self._crashed(rescued)

    def _crashed(self, rescued: list[queue.Rescued]) -> None:
        for one in rescued:
            task = self.tasks[one.task_id]
            task.crashes += 1
            assert (one.crashes, one.is_dead) == (task.crashes, task.crashes >= MAX_CRASHES)
            if one.is_dead:
                task.state, task.holder = "dead", None
            else:
                self.line_up(one.task_id, self.places[one.task_id])

    @rule()
    def promote(self) -> None:
        self.run(queue.promote_due(self.db))

        rows = self.run(self.db.fetch("SELECT task_id FROM task_ready ORDER BY seq"))
        for row in rows:
            if self.tasks[row["task_id"]].state == "scheduled":
                self.line_up(row["task_id"], self.next_place())

    @rule()
    def revive(self) -> None:
        dead = sorted(i for i, task in self.tasks.items() if task.state == "dead")

        revived = self.transact(lambda c: queue.revive(c, dead))

        assert [task.task_id for task in revived] == dead
        for task_id in dead:
            self.tasks[task_id].attempts = self.tasks[task_id].crashes = 0
            self.line_up(task_id, self.next_place())

    @rule()
    def purge(self) -> None:
        self.run(queue.purge_finished(self.db, older_than_s=0, batch=2))

    @invariant()
    def every_task_is_in_one_place(self) -> None:
        query = """
            SELECT task_id, 'ready' AS state FROM task_ready
            UNION ALL SELECT task_id, 'scheduled' FROM task_scheduled
            UNION ALL SELECT task_id, 'leased' FROM task_lease
            UNION ALL SELECT task_id, 'dead' FROM task_dead
        """
        found = sorted((row["task_id"], row["state"]) for row in self.run(self.db.fetch(query)))
        assert found == sorted((i, task.state) for i, task in self.tasks.items() if task.state != "finished")
        assert all(task.finishes == (task.state == "finished") for task in self.tasks.values())


def test_the_queue_behaves_like_its_model(database_url: str) -> None:
    machine = type("Machine", (QueueMachine,), {"url": database_url})
    machine.TestCase.settings = settings(  # type: ignore[attr-defined]
        max_examples=EXAMPLES,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    machine.TestCase().runTest()  # type: ignore[attr-defined]
