"""From the rounds' values to medians, a table with goals, and a file."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Goal:
    """What a figure should be: at least, or at most."""

    value: float
    is_most: bool = True

    def verdict(self, value: float) -> str:
        """Say whether the goal is reached."""
        met = value <= self.value if self.is_most else value >= self.value
        return f"goal {'<=' if self.is_most else '>='} {self.value:<6g} {'met' if met else 'MISSED'}"


class Results:
    """What was measured so far."""

    def __init__(self, goals: Mapping[tuple[str, str], Goal]) -> None:
        self._goals = goals
        self._values: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)

    def add(self, system: str, scenario: str, value: float, unit: str) -> None:
        """Take in one round's value."""
        self._values[system, scenario, unit].append(value)

    def median(self, system: str, scenario: str) -> float:
        """Return the median of what was measured so far."""
        return next(statistics.median(v) for (s, c, _), v in self._values.items() if (s, c) == (system, scenario))

    def set_goal(self, system: str, scenario: str, goal: Goal) -> None:
        """Set a goal that is only known from what was measured."""
        self._goals = {**self._goals, (system, scenario): goal}

    def write(self, path: Path) -> None:
        """Write the medians as JSON."""
        rows = [
            {"system": system, "scenario": scenario, "claim": None, "value": statistics.median(values), "unit": unit}
            for (system, scenario, unit), values in self._values.items()
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")

    def table(self) -> str:
        """Lay the medians out, one a line, with the spread of the rounds and the goal."""
        return "\n".join(
            f"{system:<9} {scenario:<28} {statistics.median(values):>10,.2f} {unit:<10}"
            f" {min(values):>10,.2f} … {max(values):<10,.2f}"
            f" {self._verdict(system, scenario, statistics.median(values))}".rstrip()
            for (system, scenario, unit), values in self._values.items()
        )

    def _verdict(self, system: str, scenario: str, median: float) -> str:
        goal = self._goals.get((system, scenario))
        return goal.verdict(median) if goal else ""
