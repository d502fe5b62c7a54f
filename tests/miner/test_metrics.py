"""A miner's figures become samples of the metrics that it declares."""

from __future__ import annotations

from pathlib import Path

from hippy.miner.figures import Figures
from hippy.miner.metrics import METRICS, attached, figures_of
from hippy.miner.tables import Totals


async def values(figures: Figures) -> dict[tuple[str, ...], float]:
    samples = list(await figures_of(figures)())
    assert {sample.metric for sample in samples} <= set(METRICS)
    return {(sample.metric.name, *sample.labels): sample.value for sample in samples}


async def test_what_is_counted_is_told() -> None:
    figures = Figures(capacity_bytes=1000, totals=Totals(used_bytes=400, trash_bytes=100, pieces=4, obligations=5))
    figures.allocated_bytes, figures.free_bytes, figures.has_ballast = 4096, 77, True
    figures.uploads.update({"stored": 3, "no_space": 1})
    figures.leaves["lost"] = 2
    told = await values(figures)
    assert told["hippy_miner_capacity_bytes",] == 1000
    assert told["hippy_miner_used_bytes",] == 400
    assert told["hippy_miner_trash_bytes",] == 100
    assert told["hippy_miner_allocated_bytes",] == 4096
    assert told["hippy_miner_has_ballast",] == 1
    assert told["hippy_miner_uploads_total", "stored"] == 3
    assert told["hippy_miner_uploads_total", "no_space"] == 1
    assert told["hippy_miner_audit_leaves_total", "lost"] == 2


async def test_what_is_not_known_yet_is_left_out() -> None:
    told = await values(Figures(capacity_bytes=1000))
    assert ("hippy_miner_allocated_bytes",) not in told
    assert ("hippy_miner_free_bytes",) not in told
    assert told["hippy_miner_used_bytes",] == 0


async def test_a_miner_is_not_ready_when_its_disk_takes_nothing(tmp_path: Path) -> None:
    shown = attached(tmp_path, Figures(capacity_bytes=1000))
    assert await shown.checks["disk"]() is None
    assert "cannot be written" in (await attached(tmp_path / "gone", Figures(1)).checks["disk"]() or "")
