"""What requests for parameters are counted by, in plain numbers that are only made into metrics at a scrape.

Argo CD has no metric for its calls to plugins; `tenantry_getparams_requests_total` is the only place where they count.
The library's own instruments take a lock for each of six numbers, which was a tenth of what a short answer costs.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Literal

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

__all__ = ["AnswerMetrics", "Outcome"]

Outcome = Literal["fresh", "last_good", "recorded", "refused"]

_OUTCOMES: tuple[Outcome, ...] = ("fresh", "last_good", "recorded", "refused")
_MOST_APPLICATIONSETS = 1000


class _Distribution:
    """A histogram: `bounds` are the buckets' upper ends, the last one's infinite."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._about = (name, text)
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def metric(self) -> Metric:
        bounds = (*self._bounds, float("inf"))
        ends = [floatToGoString(bound) for bound in bounds]  # type: ignore[no-untyped-call]
        metric = HistogramMetricFamily(*self._about)
        metric.add_metric([], list(zip(ends, accumulate(self._counts), strict=True)), self._sum)
        return metric


class AnswerMetrics(Collector):
    """Requests by ApplicationSet and status, what their answers were made of, how long they took, and their sizes."""

    def __init__(self) -> None:
        self._requests = Counter[tuple[str, int]]()
        self._outcomes: dict[Outcome, int] = dict.fromkeys(_OUTCOMES, 0)
        self._applicationsets: set[str] = set()
        self._duration = _Distribution(
            "tenantry_getparams_request_duration_seconds",
            "Time from a request's header to its answer.",
            (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 10),
        )
        self._bytes = _Distribution(
            "tenantry_getparams_response_bytes",
            "Size of an answer with status 200.",
            tuple(10.0**exponent for exponent in range(3, 9)),
        )

    def count_answer(self, outcome: Outcome, size: int | None) -> None:
        """Count what a request got; `size` in bytes, None unless it is a 200."""
        self._outcomes[outcome] += 1
        if size is not None:
            self._bytes.observe(size)

    def count_request(self, applicationset: str, code: int, seconds: float) -> None:
        """Count one request."""
        self._requests[self.label(applicationset), code] += 1
        self._duration.observe(seconds)

    def label(self, applicationset: str) -> str:
        """Return the label of an ApplicationSet: beyond a thousand names `other`, so that it can't fill the memory."""
        if applicationset and applicationset not in self._applicationsets:
            if len(self._applicationsets) >= _MOST_APPLICATIONSETS:
                return "other"
            self._applicationsets.add(applicationset)
        return applicationset

    def describe(self) -> Iterable[Metric]:
        """Return the metrics, for the registry."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        requests = CounterMetricFamily(
            "tenantry_getparams_requests_total",
            "Requests for parameters, by ApplicationSet (of authenticated requests) and HTTP status.",
            labels=("applicationset", "code"),
        )
        for (applicationset, code), count in self._requests.items():
            requests.add_metric((applicationset, str(code)), count)
        results = CounterMetricFamily(
            "tenantry_getparams_answers_total",
            "Requests for parameters, by what the answer was made of: fresh, every source being read; last_good, one "
            "can't be read and is served as last read; recorded, one has not been read since the start; or refused.",
            labels=("result",),
        )
        for outcome, count in self._outcomes.items():
            results.add_metric((outcome,), count)
        return [requests, results, self._duration.metric(), self._bytes.metric()]
