"""What the matrix came to: a table for people, a file for programs."""

import json
from collections.abc import Iterable
from pathlib import Path

from tests.faults.scenario import Scenario, Verdict


def rows(scenarios: Iterable[Scenario]) -> str:
    """The matrix itself, as its page shows it."""
    heads = ["| # | Fault | What must hold besides | `make test` | `make soak` |", "|---|---|---|---|---|"]
    marks = {True: "yes", False: ""}
    return "\n".join(
        [
            *heads,
            *(f"| {s.number} | {s.title} | {s.criterion} | {marks[s.fast]} | {marks[s.soak]} |" for s in scenarios),
        ]
    )


def line(verdict: Verdict) -> str:
    """One verdict, with the first of its problems."""
    mark = "ok  " if verdict.passed else "FAIL"
    counts = f"{verdict.requests:5} requests {verdict.accepted:5} accepted {verdict.charges:5} charges"
    told = f"{mark} {verdict.number:5} seed {verdict.seed:<4} {counts} {verdict.seconds:6.1f} s  {verdict.title}"
    return "\n".join(
        [told + (f" · {verdict.note}" if verdict.note else ""), *(f"       {p}" for p in verdict.problems)]
    )


def table(verdicts: Iterable[Verdict]) -> str:
    """One row per scenario, its seeds together."""
    rows = ["| # | fault | seeds | verdict | requests | accepted | charges |", "|---|---|---|---|---|---|---|"]
    for number, same in _by_number(verdicts).items():
        failed = [str(each.seed) for each in same if not each.passed]
        verdict = "pass" if not failed else f"FAIL with {', '.join(failed)}"
        seeds = ", ".join(str(each.seed) for each in same)
        sums = (sum(e.requests for e in same), sum(e.accepted for e in same), sum(e.charges for e in same))
        title = same[0].title + (f" ({same[0].note})" if same[0].note else "")
        rows.append(f"| {number} | {title} | {seeds} | {verdict} | {sums[0]} | {sums[1]} | {sums[2]} |")
    return "\n".join(rows)


def write(verdicts: Iterable[Verdict], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**verdict._asdict(), "passed": verdict.passed} for verdict in verdicts]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _by_number(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.number, []).append(verdict)
    return found
