"""Three pictures in one: loss against churn, the health of segments over time, and what awaits repair.

Draws on a figure of hippy.sim.plot, which alone imports matplotlib.

Example::

    draw(run, profiles, repair_hours=24, path=Path("durability.png"))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hippy.erasure.geometry import Profile
from hippy.sim.durability.chain import Rates, fate_of
from hippy.sim.durability.churn import SOURCES
from hippy.sim.durability.report import summary_of
from hippy.sim.durability.settings import TERABYTE, Settings, Vanish
from hippy.sim.durability.simulation import Run
from hippy.sim.plot import empty_figure

WIDTH_INCHES: Final = 9.0
PANEL_INCHES: Final = 3.6
DOTS_PER_INCH: Final = 110

CURVE_POINTS: Final = 41
CHURN_RANGE: Final = (1e-4, 3e-2)
LOSS_RANGE: Final = (1e-25, 2.0)

COLOURS: Final = ("#1b6ca8", "#2a9d5c", "#d1802a", "#b23a48", "#6a4c93", "#4d4d4d")
GREY: Final = "0.45"


def draw(run: Run | None, settings: Settings, profiles: dict[str, Profile], repair_hours: float, path: Path) -> None:
    """Write a PNG: the curves, and with a run its health and backlog too.

    Raises ConfigError without matplotlib, OSError where the file cannot be written.
    """
    panels = 1 if run is None else 3
    figure = empty_figure(WIDTH_INCHES, PANEL_INCHES * panels)
    axes = [row[0] for row in figure.subplots(panels, 1, squeeze=False)]
    _draw_curves(axes[0], settings, profiles, repair_hours)
    if run is not None:
        _draw_health(axes[1], run)
        _draw_backlog(axes[2], run)
    figure.savefig(path, format="png", dpi=DOTS_PER_INCH)


def _draw_curves(panel: Any, settings: Settings, profiles: dict[str, Profile], repair_hours: float) -> None:
    low, high = CHURN_RANGE
    churns = [low * (high / low) ** (step / (CURVE_POINTS - 1)) for step in range(CURVE_POINTS)]
    for number, (name, profile) in enumerate(profiles.items()):
        rates = [Rates(churn / 24, settings.detection_hours, repair_hours) for churn in churns]
        losses = [fate_of(profile, each).annual_loss for each in rates]
        label = name if name == str(profile) else f"{name} {profile}"
        panel.plot(churns, losses, color=COLOURS[number % len(COLOURS)], linewidth=1.8, label=label)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlim(low, high)
    panel.set_ylim(*LOSS_RANGE)
    for source, text in zip(
        SOURCES, ("Storj's software", "Storj measured", "10 % a month", "three months"), strict=True
    ):
        panel.axvline(source.per_day, color=GREY, linewidth=0.8, linestyle=":")
        panel.text(source.per_day * 1.03, LOSS_RANGE[0] * 5, text, rotation=90, fontsize=7, color=GREY, va="bottom")
    panel.axhline(1e-11, color=GREY, linewidth=0.8, linestyle="--")
    panel.text(high * 0.97, 2e-11, "eleven nines", fontsize=7, color=GREY, va="bottom", ha="right")
    panel.grid(visible=True, alpha=0.2)
    panel.set_xlabel("share of miners that leaves in a day")
    panel.set_ylabel("a segment's loss within a year")
    panel.set_title(
        f"Independent losses: noticed after {settings.detection_hours:g} h, repaired {repair_hours:g} h later",
        fontsize=10,
    )
    panel.legend(fontsize=8, loc="upper left", framealpha=0.9)


def _draw_health(panel: Any, run: Run) -> None:
    settings, days = run.settings, range(len(run.health))
    profile = settings.profile
    lines = summary_of(run).percentiles
    full = [profile.n] * len(run.health)
    panel.fill_between(days, lines["tenth"], full, step="mid", color=COLOURS[0], alpha=0.25, linewidth=0)
    panel.fill_between(days, lines["hundredth"], lines["tenth"], step="mid", color=COLOURS[2], alpha=0.35, linewidth=0)
    panel.fill_between(days, lines["worst"], lines["hundredth"], step="mid", color=COLOURS[3], alpha=0.35, linewidth=0)
    panel.step(days, lines["median"], where="mid", color=COLOURS[0], linewidth=1.5, label="median")
    panel.step(days, lines["tenth"], where="mid", color=COLOURS[0], linewidth=0.8, label="worst tenth")
    panel.step(days, lines["hundredth"], where="mid", color=COLOURS[2], linewidth=1.0, label="worst hundredth")
    panel.step(days, lines["worst"], where="mid", color=COLOURS[3], linewidth=1.2, label="worst segment")
    for pieces, text in ((profile.repair_threshold, "repaired at"), (profile.k, "lost below")):
        panel.axhline(pieces, color=GREY, linewidth=0.8, linestyle="--")
        panel.text(
            1.005,
            pieces,
            f"{text}\n{pieces}",
            fontsize=7,
            color=GREY,
            va="center",
            transform=panel.get_yaxis_transform(),
        )
    _mark_vanishing(panel, run)
    panel.set_xlim(0, settings.days)
    panel.set_ylim(profile.k - 3, profile.n + 0.5)
    panel.set_ylabel("healthy pieces, of what is not lost")
    panel.set_title(
        f"{settings.segments:,} segments of {profile} on {settings.miners:,} miners, "
        f"{settings.churn.per_day:.2%} leave a day: {run.segments_lost} lost",
        fontsize=10,
    )
    panel.legend(fontsize=8, loc="lower left", ncols=4, framealpha=0.9)
    panel.grid(visible=True, alpha=0.2)


def _draw_backlog(panel: Any, run: Run) -> None:
    settings, days = run.settings, range(len(run.queued))
    backlog = [each / TERABYTE for each in run.backlog_bytes]
    panel.fill_between(days, backlog, color=COLOURS[0], alpha=0.3, linewidth=0)
    panel.plot(days, backlog, color=COLOURS[0], linewidth=1.3, label="awaits repair")
    moved = [0.0] + [
        (after - before) / TERABYTE for before, after in zip(run.rebuilt_bytes, run.rebuilt_bytes[1:], strict=False)
    ]
    panel.plot(days, moved, color=COLOURS[2], linewidth=1.0, label="moved by repair in a day")
    capacity = settings.repair_mbit * 1e6 * settings.miners / 8 * 86_400 / TERABYTE
    panel.axhline(capacity, color=GREY, linewidth=0.8, linestyle="--")
    text = "bandwidth\nof a day"
    panel.text(1.005, capacity, text, fontsize=7, color=GREY, va="center", transform=panel.get_yaxis_transform())
    _mark_vanishing(panel, run)
    panel.set_xlim(0, settings.days)
    panel.set_ylim(0, max(*backlog, *moved, capacity) * 1.12)
    panel.set_xlabel("days")
    panel.set_ylabel("TB")
    panel.set_title(
        f"Repair traffic for {settings.stored_tb:,g} TB stored, {settings.repair_mbit:g} Mbit/s a miner", fontsize=10
    )
    panel.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 0.86), framealpha=0.9)
    panel.grid(visible=True, alpha=0.2)


def _mark_vanishing(panel: Any, run: Run) -> None:
    if run.settings.vanish is Vanish.NONE:
        return
    day = run.settings.vanish_hour / 24
    panel.axvline(day, color="black", linewidth=0.8)
    text = f" {len(run.population.vanishing)} miners\n vanish ({run.settings.vanish.value})"
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    panel.text(day, 0.97, text, fontsize=7, va="top", transform=panel.get_xaxis_transform(), bbox=behind)
