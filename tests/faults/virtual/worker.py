"""A process that runs cases in virtual time: `python -m tests.faults.virtual.worker MODULE [MODULE:FUNCTION]`.

A case's name comes in as a line of JSON, its failure goes out as one, null if there is none. Each case begins with the
same seeds, and Python's hashes are fixed by whoever starts this, so that a name alone replays a case.
"""

import json
import logging
import os
import sys
from importlib import import_module

from tenantry.interpreter import prepare_interpreter
from tenantry.telemetry import configure_logging
from tests.faults.mutant import inject

__all__ = ["main"]


def main() -> None:
    """Run the cases that are asked for until there are no more."""
    os.nice(19)  # real parts are at work beside it, and those have deadlines
    prepare_interpreter()
    configure_logging(logging.ERROR)
    crashes = _Crashes()
    logging.getLogger().handlers[:] = [crashes]
    if len(sys.argv) > 2:
        inject(sys.argv[2])
    run = import_module(sys.argv[1]).run
    for line in sys.stdin:
        crashes.told.clear()
        failure = None
        try:
            run(json.loads(line))
        except AssertionError as error:
            failure = str(error) or repr(error)
        if failure is None and crashes.told:
            failure = f"our code failed unexpectedly: {crashes.told[0]}"
        print(json.dumps(failure), flush=True)


class _Crashes(logging.Handler):
    """What our outermost loops have caught, and logged with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, dict) and "exception" in record.msg:
            self.told.append(f"{record.msg.get('event')}: {json.dumps(record.msg['exception'], default=str)[:2000]}")


if __name__ == "__main__":
    main()
