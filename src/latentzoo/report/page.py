"""One self-contained HTML page on one run or several: nothing is loaded from elsewhere."""

import base64
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from latentzoo.files import write_atomic
from latentzoo.record.saved import SavedRun
from latentzoo.report.curves import curves


def write(paths: list[Path], out: Path) -> Path:
    """Writes the page on finished runs.

    Arguments:
        paths: The run folders; the page compares them if there are several.
        out: The page's file.

    Raises:
        SpecError: If a folder holds no finished run.
    """
    page = render([SavedRun(path) for path in paths])
    write_atomic(out, lambda path: path.write_text(page, encoding="utf-8"))
    return out


def render(runs: list[SavedRun]) -> str:
    """Makes the page's HTML."""
    return (
        environment()
        .get_template("page.html")
        .render(runs=[_section(run, i) for i, run in enumerate(runs)])
    )


@cache
def environment(package: str = "latentzoo.report") -> Environment:
    """The templates beside a package's modules, which escape what they are given."""
    return Environment(
        loader=PackageLoader(package, ""),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _section(run: SavedRun, number: int) -> dict[str, Any]:
    phi, accept = run.column("phi"), run.column("accept")
    drawings = {"energy φ": curves(phi, title="energy φ of every chain")}
    if np.isfinite(accept).any():
        drawings["acceptance"] = curves(
            accept, title="acceptance probability of every chain", limits=(0, 1)
        )
    drawings["|z|²"] = curves(run.column("norm2"), title="squared norm of every chain's latent")
    return {
        "name": run.name,
        "number": number,
        "record": run.record,
        "yaml": run.record_text,
        "title": ", ".join(f"{t.target} ({t.weight or 0:g})" for t in run.record.energies)
        or "the prior",
        "diagnosis": run.diagnosis,
        "curves": {name: Markup(svg) for name, svg in drawings.items() if svg},
        "chains": _chains(run),
        "numbers": _numbers(run),
    }


def _chains(run: SavedRun) -> list[dict[str, Any]]:
    starts = run.pictures("start")
    last = {name: run.column(name)[-1] for name in run.terms} if len(run.column("phi")) else {}
    return [
        {
            "number": run.numbers[i],
            "picture": _embedded(path),
            "start": _embedded(starts[i]) if i < len(starts) else None,
            "energies": {name: f"{values[i]:.3g}" for name, values in last.items()},
        }
        for i, path in enumerate(run.pictures())
    ]


def _numbers(run: SavedRun) -> dict[str, str]:
    """The row of the comparison table."""
    row = {
        "generator": run.record.generator,
        "kernel": run.record.kernel.name if run.record.energies else "-",
    }
    row |= {
        "chains": str(run.chains),
        "gradients": str(run.record.steps if run.record.energies else 0),
    }
    for name in run.terms:
        values = run.column(name)[-1]
        alive = values[np.isfinite(values)]
        if len(alive):
            row[name] = f"{alive.mean():.4g} ± {alive.std() / max(len(alive) - 1, 1) ** 0.5:.2g}"
    for name, found in (run.evaluation or {}).get("numbers", {}).items():
        if name not in run.terms and found["value"] is not None:
            interval = (
                "" if found["low"] is None else f" ({found['low']:.4g} to {found['high']:.4g})"
            )
            row[name] = f"{found['value']:.4g}{interval}"
    row["verdict"] = "-" if run.diagnosis is None else run.diagnosis.get("verdict", "-")
    return row


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
