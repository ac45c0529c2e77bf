"""Benchmarks, each beside its peers in the same run where it has some; docs/benchmarks.md has figures and conditions.

make bench                          all but the ten thousand Tenants, with their usual sizes
make bench ARGS="throughput --tenants 300 --rounds 6"
make bench ARGS=scale               ten thousand Tenants; some twenty minutes
make bench ARGS=push                from a change to its Application; --tenants: an ApplicationSet's Applications
"""

import argparse
import asyncio
from collections.abc import Coroutine
from typing import Any

from tests.bench import abuse, answers, drift, generator, push, scale, start, throughput

_LONG = ("scale", "push")
_SIZES: dict[str, tuple[int, ...]] = {
    "throughput": (300, 1000),
    "start": (5000,),
    "drift": (50,),
    "push": (50, 1000),
    "scale": (10_000,),
    "answers": (10, 1_000, 10_000, 100_000),
    "abuse": (1_000,),
    "change": (10_000, 100_000),
    "filters": (100_000,),
    "memory": (100_000,),
}


def _run(topic: str, tenants: int, rounds: int, quiet: float) -> Coroutine[Any, Any, None]:
    match topic:
        case "throughput":
            return throughput.measure(tenants, rounds)
        case "start":
            return start.measure(tenants, rounds)
        case "answers":
            return answers.measure(tenants, rounds)
        case "abuse":
            return abuse.measure(tenants)
        case "drift":
            return drift.measure(tenants, changes=400)
        case "push":
            return push.measure(tenants)
        case "change":
            return generator.measure_change(tenants)
        case "filters":
            return generator.measure_filters(tenants)
        case "memory":
            return generator.measure_memory(tenants)
        case _:
            return scale.measure(tenants, quiet)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="tests.bench", description=(__doc__ or "").splitlines()[0])
    usual = [topic for topic in _SIZES if topic not in _LONG]
    parser.add_argument("topics", nargs="*", choices=[*_SIZES, []], default=usual)
    parser.add_argument("--tenants", type=int, nargs="+", help="instead of the usual sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet", type=float, default=600, help="seconds in which scale looks for writes")
    arguments = parser.parse_args()
    for topic in arguments.topics:
        for tenants in arguments.tenants or _SIZES[topic]:
            asyncio.run(_run(topic, tenants, arguments.rounds, arguments.quiet))


if __name__ == "__main__":
    main()
