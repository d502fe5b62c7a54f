"""Weight over time as a picture. The one module that imports matplotlib, when it is used; others draw on its figures.

Example::

    draw_weights(weights_over_time(run), Path("weights.png"), epochs_per_day=20)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hippy.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS: Final = 4
PANEL_INCHES: Final = (3.2, 2.1)


def check_plotting() -> None:
    """Raise ConfigError, with what to install, where nothing can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ConfigError(
            "matplotlib is not installed, which draws the plot", hint="pip install 'hippy-net[sim]'"
        ) from None


def empty_figure(width_inches: float, height_inches: float) -> Figure:
    """Return a figure that needs no screen; ``savefig`` writes it.

    Raises ConfigError without matplotlib.
    """
    check_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_weights(weights: Mapping[str, Sequence[float]], path: Path, *, epochs_per_day: float) -> None:
    """Write a PNG with a panel for each strategy: its weight per byte against honest miners', over days.

    Raises ConfigError without matplotlib, OSError where the file cannot be written.
    """
    rows = -(-len(weights) // COLUMNS)
    figure = empty_figure(COLUMNS * PANEL_INCHES[0], rows * PANEL_INCHES[1])
    grid = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True)
    panels = [panel for row in grid for panel in row]
    for panel, (name, values) in zip(panels, weights.items(), strict=False):
        _draw_panel(panel, name, values, epochs_per_day)
    for panel in panels[len(weights) :]:
        panel.set_axis_off()
    figure.supxlabel("days")
    figure.supylabel("weight per byte, honest miners = 1")
    figure.savefig(path, format="png", dpi=100)


def _draw_panel(panel: Axes, name: str, values: Sequence[float], epochs_per_day: float) -> None:
    days = [epoch / epochs_per_day for epoch in range(1, len(values) + 1)]
    panel.axhline(1.0, color="0.7", linewidth=0.8)
    panel.plot(days, values, linewidth=1.4)
    panel.set_title(name, fontsize=9)
    panel.set_ylim(0, 1.15)
