"""A queue in Postgres: at least once, fenced, first in first out within a lane.

Put work in, inside a transaction of yours, and wake somebody who has the time for it:

    async with wakeup.transaction(db) as (connection, rings):
        await enqueue(connection, [NewTask(lane="analyse", kind="analyse", item=media_id)])
        rings.lane("analyse")

Take it out as an actor with a boot id, write the result and finish in one transaction:

    claimer = Claimer(db, lane="analyse", boot=boot, lease_s=60)
    for lease in await claimer.claim(limit=10):
        async with db.transaction() as connection:
            await write_result(connection, lease.item)
            await finish(connection, [lease])        # raises LeaseLost: then nothing was written
        claimer.forget([lease])

Who has nothing to claim waits by an `Idler`. Tasks without a result of their own are finished by a
`Finisher`, many in one commit.

A task is *ready*, *scheduled* (waits for a time), *leased* (somebody works on it), *dead* (gave up)
or finished, and each state but the last is a row in a table of its own. A lease belongs to one boot
(one life of one process) and has an epoch (one claim): what comes from another boot or an older
epoch is refused. Whoever dies is rescued: `rescue_boots` at once, `rescue_lost` when nobody saw it.
"""

from hyperion.queue.finisher import Finisher
from hyperion.queue.idler import Idler
from hyperion.queue.tasks import (
    Claimer,
    Lease,
    NewTask,
    Retry,
    enqueue,
    fail,
    finish,
    hand_back,
    hold,
    postpone,
    retry_delay_s,
    settled,
)
from hyperion.queue.upkeep import (
    DeadTask,
    Rescued,
    count_ready,
    depths,
    is_alive,
    list_dead,
    oldest_s,
    promote_due,
    purge_finished,
    rescue_boots,
    rescue_lost,
    revive,
)
from hyperion.queue.wakeup import Bell, Rings, Wakeup

__all__ = [
    "Bell",
    "Claimer",
    "DeadTask",
    "Finisher",
    "Idler",
    "Lease",
    "NewTask",
    "Rescued",
    "Retry",
    "Rings",
    "Wakeup",
    "count_ready",
    "depths",
    "enqueue",
    "fail",
    "finish",
    "hand_back",
    "hold",
    "is_alive",
    "list_dead",
    "oldest_s",
    "postpone",
    "promote_due",
    "purge_finished",
    "rescue_boots",
    "rescue_lost",
    "retry_delay_s",
    "revive",
    "settled",
]
