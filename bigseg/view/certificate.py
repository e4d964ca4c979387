"""How good the solution of the graph is: what is proven, and how far the rest can be off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bigseg.types import Facts
from bigseg.view import page, text
from bigseg.view.slices import Table

WORST = 5


@dataclass(frozen=True)
class Certificate:
    """What is known of how the graph was solved."""

    solver: str
    joined: Facts
    """What `components` counted."""
    rows: Table
    """A row per component that a solver saw; see `core.solvers.Solution`."""
    title: str = "Certificate"


def certificate(found: Certificate) -> str:
    """Part of the page about the solver."""
    joined, rows = found.joined, found.rows
    facts = [
        ("Graph", f"{joined['nodes']:,} objects of blocks, {joined['edges']:,} pairs"),
        ("Components with contradictions", f"{joined['conflicts']:,}"),
        (
            "Left to a solver",
            f"{joined['components']:,} of {joined['undecided_nodes']:,} nodes and "
            f"{joined['undecided_edges']:,} edges, after what is certain was joined",
        ),
    ]
    if len(rows["nodes"]) == 0:
        note = "No contradiction was left to a solver: no partition of the graph is better."
        return page.heading(found.title, note) + page.facts(facts)
    energy, bound = rows["energy"].sum(), rows["lower_bound"].sum()
    largest = int(rows["edges"].argmax())
    best, exact = int(rows["optimal"].sum()), int(rows["exact"].sum())
    facts += [
        ("Solver", f"{found.solver}; {exact:,} components by an integer program"),
        ("Proven optimal", f"{best:,} components, {text.share(best, len(rows['nodes']))}"),
        ("Energy", f"{energy:,.4f}; no partition has less than {bound:,.4f}"),
        ("Relative gap", _percent(_gap(energy, bound))),
        (
            "Largest component",
            f"{rows['nodes'][largest]:,} nodes and {rows['edges'][largest]:,} edges",
        ),
    ]
    return page.heading(found.title, _sentence(best, rows, energy, bound)) + (
        page.facts(facts) + _open(rows)
    )


def _sentence(best: int, rows: Table, energy: float, bound: float) -> str:
    every = len(rows["nodes"])
    if best == every:
        return "The solution is proven optimal: no partition of the graph is better."
    return (
        f"{best:,} of {every:,} components are proven optimal. With the others the energy is at "
        f"most {_percent(_gap(energy, bound))} above that of the best partition."
    )


def _gap(energy: float, bound: float) -> float:
    """By how much of the bound the energy can be too high."""
    return max(energy - bound, 0.0) / max(abs(bound), 1e-12)


def _percent(share: float) -> str:
    return "0 %" if share < 1e-9 else f"{100 * share:.2g} %"


def _open(rows: Table) -> str:
    """Components of which it is not known that no partition is better."""
    missing = np.where(rows["optimal"], 0, rows["energy"] - rows["lower_bound"])
    order = np.argsort(-missing, kind="stable")[:WORST]
    order = order[missing[order] > 0]
    if len(order) == 0:
        return ""
    table = [
        (
            f"{rows['nodes'][row]:,} nodes, {rows['edges'][row]:,} edges",
            f"{rows['energy'][row]:,.4f}",
            f"{rows['lower_bound'][row]:,.4f}",
            _percent(_gap(rows["energy"][row], rows["lower_bound"][row])),
        )
        for row in order.tolist()
    ]
    head = ("Component", "energy", "lower bound", "gap")
    return "<h3>Components that may have a better partition</h3>" + page.table(head, table)
