"""From the rounds' values to medians, a table with goals, and a file."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Goal:
    """What a figure should be at most, or at least."""

    value: float
    is_most: bool = True

    def verdict(self, value: float) -> str:
        """Say whether the goal is reached."""
        met = value <= self.value if self.is_most else value >= self.value
        return f"goal {'<=' if self.is_most else '>='} {self.value:<6g} {'met' if met else 'MISSED'}"


class Results:
    """What was measured so far, by system and scenario."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._units: dict[tuple[str, str], str] = {}

    def add(self, system: str, scenario: str, value: float, unit: str) -> None:
        """Take in one round's value."""
        self._values[system, scenario].append(value)
        self._units[system, scenario] = unit

    def add_stolen(self, share: float) -> None:
        """Take in how much of the processors' time, in 0..1, the hypervisor took during a measurement."""
        self.add("machine", "stolen", share * 100, "%")

    def median(self, system: str, scenario: str) -> float | None:
        """Return the median of what was measured; None where nothing was."""
        values = self._values.get((system, scenario))
        return statistics.median(values) if values else None

    def write(self, path: Path) -> None:
        """Write the medians as JSON."""
        rows = [
            {"system": system, "scenario": scenario, "claim": None, "value": statistics.median(values), "unit": unit}
            for (system, scenario), values in self._values.items()
            for unit in [self._units[system, scenario]]
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")

    def table(self, goals: Mapping[str, Goal]) -> str:
        """Lay the medians out, one a line, with least and greatest of the rounds and with our goals."""
        return "\n".join(
            self._line(system, scenario, goals.get(scenario) if system == "hyperion" else None)
            for system, scenario in self._values
        )

    def _line(self, system: str, scenario: str, goal: Goal | None) -> str:
        values = self._values[system, scenario]
        median = statistics.median(values)
        spread = f"{min(values):,.2f} … {max(values):,.2f}"
        verdict = goal.verdict(median) if goal else ""
        unit = self._units[system, scenario]
        return f"{system:<9} {scenario:<26} {median:>10,.2f} {unit:<11} {spread:<24} {verdict}".rstrip()
