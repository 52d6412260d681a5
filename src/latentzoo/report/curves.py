"""Curves as inline SVG: every chain a thin line, their mean a thick one."""

from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 480, 200, 58, 26, 10


def curves(values: np.ndarray, *, title: str, limits: tuple[float, float] | None = None) -> str:
    """Draws chains over steps.

    Arguments:
        values: The values, (steps, chains); NaN is left out.
        title: What is drawn, for readers of the picture's text.
        limits: The least and greatest value shown; None fits the data.

    Returns:
        An SVG element, or "" if nothing is finite.
    """
    if len(values) < 2 or not np.isfinite(values).any():
        return ""
    low, high = limits or (float(np.nanmin(values)), float(np.nanmax(values)))
    high = high if high > low else low + 1
    x = LEFT + np.arange(len(values)) / (len(values) - 1) * (WIDTH - LEFT - 8)
    y = lambda v: TOP + (high - v) / (high - low) * (HEIGHT - TOP - BOTTOM)
    thin = "".join(_line(x, y(chain), "chain") for chain in values.T)
    count = np.isfinite(values).sum(1)
    mean = np.where(count > 0, np.nansum(values, 1) / np.maximum(count, 1), np.nan)
    ticks = "".join(
        f'<line class="tick" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.3g}</text>'
        for v in np.linspace(low, high, 4)
    )
    steps = (
        f'<text x="{LEFT}" y="{HEIGHT - 6}">0</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">{len(values) - 1} steps</text>'
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{ticks}{thin}{_line(x, y(mean), 'mean')}{steps}</svg>"
    )


def _line(x: Sequence[float] | np.ndarray, y: np.ndarray, kind: str) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))
    return f'<polyline class="{kind}" points="{points}"/>'
