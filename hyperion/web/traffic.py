"""What this process was asked and how long it took: counted in memory, for the flusher to write down."""

from collections import Counter
from dataclasses import dataclass, field

from hyperion import histogram

SLOT_S = 10.0
LOOK_BACK_S = 300.0

Key = tuple[str, str, int]


@dataclass(slots=True)
class Timing:
    """How often something was asked, how many seconds that took, and the counts of a histogram."""

    requests: int = 0
    duration_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(histogram.REQUEST_BOUNDS_S) + 1))


@dataclass(slots=True)
class Slot:
    """The requests that ended within one span of SLOT_S seconds."""

    requests: int = 0
    duration_s: float = 0.0


@dataclass(slots=True)
class Counted:
    """What has gathered: requests by (route, method, status) and by slot of the monotonic clock, and files."""

    timings: dict[Key, Timing] = field(default_factory=dict)
    slots: dict[int, Slot] = field(default_factory=dict)
    files: Counter[str] = field(default_factory=Counter)

    def is_empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return not self.timings and not self.files


class Traffic:
    """Counts requests and uploads. It grows with the number of routes and not with that of requests."""

    def __init__(self) -> None:
        self._counted = Counted()

    def count(self, key: Key, *, began_s: float, ended_s: float) -> None:
        """Count one request; times of the monotonic clock."""
        took_s = ended_s - began_s
        timings = self._counted.timings
        timing = timings.get(key)
        if timing is None:
            timing = timings[key] = Timing()
        timing.requests += 1
        timing.duration_s += took_s
        timing.buckets[histogram.bucket(histogram.REQUEST_BOUNDS_S, took_s)] += 1
        number = int(ended_s / SLOT_S)
        slot = self._counted.slots.get(number)
        if slot is None:
            self._drop_slots(before=number - int(LOOK_BACK_S / SLOT_S))
            slot = self._counted.slots[number] = Slot()
        slot.requests += 1
        slot.duration_s += took_s

    def count_files(self, **results: int) -> None:
        """Count uploaded files by what became of them."""
        self._counted.files.update({result: files for result, files in results.items() if files})

    def take(self) -> Counted:
        """Hand over what has gathered and begin anew."""
        counted, self._counted = self._counted, Counted()
        return counted

    def _drop_slots(self, *, before: int) -> None:
        """Forget slots that nobody looks back on any more; while the database is away they would pile up."""
        for number in [number for number in self._counted.slots if number < before]:
            del self._counted.slots[number]
