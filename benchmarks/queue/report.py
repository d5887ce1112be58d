"""From the rounds' values to medians, a table, a file and the ratios that matter."""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.queue.scenarios import Measured
from benchmarks.queue.system import System

UNITS_WITH_DECIMALS = ("ms", "s", "us/task")


@dataclass(frozen=True)
class Row:
    """The median of one scenario of one system."""

    system: str
    scenario: str
    claim: int | None
    value: float
    unit: str

    @property
    def label(self) -> str:
        """The system with its claim size."""
        return self.system if self.claim is None else f"{self.system} {self.claim}"


@dataclass(frozen=True)
class Ratio:
    """A figure that matters, and what it should be at least (or below)."""

    what: str
    value: float
    goal: float
    is_below: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the goal is reached."""
        return self.value < self.goal if self.is_below else self.value >= self.goal

    def __str__(self) -> str:
        """Write it as one line."""
        sign, verdict = "<" if self.is_below else ">=", "met" if self.is_met else "MISSED"
        return f"{self.what:<62} {self.value:8.2f}   goal {sign} {self.goal:<5g} {verdict}"


class Results:
    """What was measured so far."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, int | None, str, str], list[float]] = defaultdict(list)

    def add(self, system: System, measured: list[Measured]) -> None:
        """Take in one round's values."""
        for one in measured:
            self._values[system.name, system.claim, one.scenario, one.unit].append(one.value)

    def rows(self) -> list[Row]:
        """Return the medians, in the order in which they were first measured."""
        return [
            Row(system, scenario, claim, statistics.median(values), unit)
            for (system, claim, scenario, unit), values in self._values.items()
        ]

    def write(self, path: Path) -> None:
        """Write the medians as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(row) for row in self.rows()], indent=1) + "\n", encoding="utf-8")

    def table(self) -> str:
        """Lay the medians out, a system a line and a scenario a column, in two blocks where it is wide."""
        rows = self.rows()
        scenarios = list(dict.fromkeys(row.scenario for row in rows))
        labels = list(dict.fromkeys(row.label for row in rows))
        cells = {(row.label, row.scenario): _shown(row) for row in rows}
        units = {row.scenario: row.unit for row in rows}
        blocks = [scenarios[start : start + 6] for start in range(0, len(scenarios), 6)]
        return "\n\n".join(_block(labels, block, cells, units) for block in blocks)

    def ratios(self) -> list[Ratio]:
        """Return the figures that matter, as far as their parts were measured."""
        found = {(row.label, row.scenario): row.value for row in self.rows()}
        ratios: list[Ratio] = []

        def compare(what: str, over: tuple[str, str], under: tuple[str, str], goal: float) -> None:
            if over in found and under in found:
                ratios.append(Ratio(what, found[over] / found[under], goal))

        def compare_pairs(what: str, claim: int, over: str, under: str, goal: float) -> None:
            """Compare values that were measured side by side: the machine's speed of that minute cancels out."""
            pairs = zip(self._of_hyperion(claim, over), self._of_hyperion(claim, under), strict=True)
            if each := [one / other for one, other in pairs]:
                ratios.append(Ratio(f"{what}, pair by pair", statistics.median(each), goal))

        def others(scenario: str, pick: Callable[[list[float]], float]) -> float | None:
            values = [v for (label, s), v in found.items() if s == scenario and not label.startswith("hyperion")]
            return pick(values) if values else None

        fastest = others("drain", max)
        if fastest and ("hyperion 200", "drain") in found:
            ratios.append(Ratio("hyperion 200 / fastest other", found["hyperion 200", "drain"] / fastest, 4))
        compare("hyperion 10 / pgqueuer 10", ("hyperion 10", "drain"), ("pgqueuer 10", "drain"), 3)
        compare("hyperion 1 / graphile-worker", ("hyperion 1", "drain"), ("graphile-worker", "drain"), 1.4)
        compare_pairs("hyperion 200: old snapshot held / not held", 200, "drain_held", "drain", 0.9)
        compare_pairs("hyperion 1: old snapshot held / not held", 1, "drain_held", "drain", 0.85)
        compare_pairs("hyperion 200: backlog of 1e6 / of 1e4", 200, "drain_backlog", "drain_backlog_1e4", 0.9)
        compare_pairs("hyperion 200: cost a task after 1e5 / after 1e6", 200, "cost_after_1e5", "cost_after_1e6", 0.9)
        ratios += [
            Ratio(f"hyperion 1: {scenario} / lowest other", found["hyperion 1", scenario] / lowest, 1, is_below=True)
            for scenario in ("pickup_p50", "pickup_p99")
            if ("hyperion 1", scenario) in found and (lowest := others(scenario, min))
        ]
        return ratios

    def _of_hyperion(self, claim: int, scenario: str) -> list[float]:
        keys = [key for key in self._values if key[:3] == ("hyperion", claim, scenario)]
        return [value for key in keys for value in self._values[key]]


def _shown(row: Row) -> str:
    return f"{row.value:,.3f}" if row.unit in UNITS_WITH_DECIMALS else f"{row.value:,.0f}"


def _block(labels: list[str], scenarios: list[str], cells: dict[tuple[str, str], str], units: dict[str, str]) -> str:
    heads = [f"{scenario} ({units[scenario]})" for scenario in scenarios]
    lines = [f"{'':<22} " + "  ".join(f"{head:>22}" for head in heads)]
    for label in labels:
        if any((label, scenario) in cells for scenario in scenarios):
            line = "  ".join(f"{cells.get((label, scenario), '-'):>22}" for scenario in scenarios)
            lines.append(f"{label:<22} {line}")
    return "\n".join(lines)
