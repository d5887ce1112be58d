"""The documents say what the code says: events, settings, links."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hyperion.settings import documented

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SOURCES = sorted([ROOT / "supervisor.py", *(ROOT / "hyperion").rglob("*.py")])

LEVELS = {name: name for name in ("debug", "info", "warning", "error")} | {"exception": "error"}
EVENT_FORM = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")
LINK = re.compile(r"(?<!!)\[[^]]*\]\((?!\w+:)(?P<path>[^)#\s]*)(#(?P<anchor>[^)\s]+))?\)")


@dataclass
class Event:
    """What is known of an event: its levels, its fields, and whether it has fields that vary."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    has_more: bool = False


@cache
def logged_events() -> dict[str, Event]:
    """Read off the source which events are logged."""
    events: defaultdict[str, Event] = defaultdict(Event)
    for path in SOURCES:
        for name, levels, call in _calls(ast.parse(path.read_text(encoding="utf-8"))):
            event = events[name]
            event.levels |= {LEVELS[level] for level in levels}
            for keyword in call.keywords:
                if keyword.arg is None:
                    event.has_more = True
                else:
                    event.fields.add("exception" if keyword.arg == "exc_info" else keyword.arg)
            if "exception" in levels:
                event.fields.add("exception")
    return dict(events)


def _calls(tree: ast.Module) -> Iterator[tuple[str, set[str], ast.Call]]:
    """Yield (event, names of the methods that may be called, call) of `log.info("…")` and the like."""
    aliases = {
        target.id: _methods(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        called = node.func
        methods = aliases.get(called.id, set()) if isinstance(called, ast.Name) else _methods(called)
        if methods:
            yield str(node.args[0].value), methods, node


def _methods(expression: ast.expr) -> set[str]:
    """Return the methods of a logger that an expression may stand for: `log.debug if quiet else log.info`."""
    if isinstance(expression, ast.IfExp):
        return _methods(expression.body) | _methods(expression.orelse)
    if isinstance(expression, ast.Attribute) and expression.attr in LEVELS and _is_logger(expression.value):
        return {expression.attr}
    return set()


def _is_logger(expression: ast.expr) -> bool:
    if isinstance(expression, ast.Name):
        return expression.id == "log"
    called = expression.func if isinstance(expression, ast.Call) else None
    return isinstance(called, ast.Attribute) and called.attr == "get_logger"


def documented_events() -> dict[str, Event]:
    """Read the table of docs/events.md."""
    events = {}
    for cells in _rows(ROOT / "docs" / "events.md"):
        name = cells[0].strip("`")
        assert name not in events, f"docs/events.md lists {name} twice"
        assert cells[3], f"docs/events.md does not say what {name} means"
        events[name] = Event(set(cells[1].split(", ")), set(re.findall(r"`(\w+)`", cells[2])), cells[2].endswith("…"))
    return events


def _rows(path: Path) -> list[list[str]]:
    """Return the cells of every row of a document's tables that begins with a name in backticks."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]


def test_every_event_that_is_logged_is_documented_and_no_other() -> None:
    logged = set(logged_events())

    listed = set(documented_events()) - {"library.logged"}

    assert sorted(logged - listed) == [], "logged, but not in docs/events.md"
    assert sorted(listed - logged) == [], "in docs/events.md, but logged nowhere"


def test_events_are_documented_with_the_levels_and_fields_they_have() -> None:
    logged, listed = logged_events(), documented_events()

    faults = [
        f"{name}: logged as {sorted(event.levels)} with {sorted(event.fields)}"
        for name, event in logged.items()
        if name in listed and event != listed[name] and not (event.has_more and _is_covered(event, listed[name]))
    ]

    assert faults == []


def _is_covered(event: Event, listed: Event) -> bool:
    return event.levels == listed.levels and event.fields <= listed.fields


def test_events_are_named_noun_dot_verb() -> None:
    odd = [name for name in logged_events() if not EVENT_FORM.fullmatch(name)]

    assert odd == []


def test_the_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    listed = [tuple(cells[:3]) for cells in _rows(ROOT / "README.md") if cells[0].strip("`").isupper()]

    expected = [(f"`{name}`", f"`{default}`" if default else "", meaning) for name, default, meaning in documented()]

    assert listed == expected


def test_relative_links_lead_to_files_and_headings_that_exist() -> None:
    broken = [
        f"{document.name}: {link[0]}"
        for document in DOCUMENTS
        for link in LINK.finditer(document.read_text(encoding="utf-8"))
        if not _leads_somewhere(document, link["path"], link["anchor"])
    ]

    assert broken == []


def _leads_somewhere(document: Path, path: str, anchor: str | None) -> bool:
    target = document.parent / path if path else document
    if not target.exists():
        return False
    return anchor is None or anchor in {_slug(line) for line in target.read_text(encoding="utf-8").splitlines()}


def _slug(line: str) -> str | None:
    """Return the anchor of a heading as GitHub makes it; None for other lines."""
    if not line.startswith("#"):
        return None
    return re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
