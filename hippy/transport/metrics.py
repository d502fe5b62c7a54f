"""Figures as Prometheus reads them: the one module that imports prometheus-client.

Every node has a registry of its own, never the library's global one, so that two nodes of one process (in tests) do not
mix. Beside the node's own figures it has the library's of the process: resident memory, open files, CPU, start.

Example::

    page = MetricsPage()
    page.render(METRICS, samples)     # bytes, as CONTENT_TYPE
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from hippy.transport.figures import Metric, Sample, by_metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus's text format, which every version of it and of OpenMetrics's readers takes."""


class MetricsPage:
    """The text of ``/metrics``."""

    def __init__(self) -> None:
        self._now = _Now()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self._now)
        ProcessCollector(registry=self._registry)

    def render(self, metrics: Sequence[Metric], samples: Iterable[Sample]) -> bytes:
        """Return all metrics in Prometheus's text format, each with its samples and its meaning."""
        self._now.families = [_family(metric, found) for metric, found in by_metric(metrics, samples).items()]
        return generate_latest(self._registry)


class _Now(Collector):
    """What the registry is told: the figures gathered last."""

    def __init__(self) -> None:
        self.families: list[Family] = []

    def collect(self) -> Iterator[Family]:
        """Yield every family."""
        yield from self.families


def _family(metric: Metric, samples: Sequence[Sample]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=metric.labels)
    for sample in samples:
        family.add_metric(sample.labels, sample.value)
    return family
