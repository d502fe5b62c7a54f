"""What a node measures of itself, as values: no library of metrics is needed to say them.

A role declares its metrics once (name, kind, meaning, labels) and gives samples of them when asked; how they are
written down for a monitor is hippy.transport.metrics's. Names follow Prometheus: ``hippy_``, then role and thing, then
the unit (``_bytes``, ``_seconds``), and counters end in ``_total``.

Invariant: a sample carries exactly the labels that its metric declares, and no label takes its values from strangers.

Example::

    USED = Metric("hippy_miner_used_bytes", "gauge", "Bytes of pieces held.")
    yield USED.sample(12_345)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

MetricKind = Literal["gauge", "counter"]

_NAME: Final = re.compile(r"hippy(_[a-z0-9]+)+")


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured. ``meaning`` is a sentence; ``labels`` names what its samples differ in."""

    name: str
    kind: MetricKind
    meaning: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert _NAME.fullmatch(self.name), self.name
        assert (self.kind == "counter") == self.name.endswith("_total"), self.name

    def sample(self, value: float, *labels: str) -> Sample:
        """Return a value of this metric, under one value for every label."""
        assert len(labels) == len(self.labels), self.name
        return Sample(self, labels, float(value))


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a metric now."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


def by_metric(metrics: Iterable[Metric], samples: Iterable[Sample]) -> dict[Metric, list[Sample]]:
    """Return the samples of every metric, in the order in which metrics were declared; none is fine."""
    found: dict[Metric, list[Sample]] = {metric: [] for metric in metrics}
    for sample in samples:
        found[sample.metric].append(sample)
    return found
