"""Runs one of the services with a deliberate defect: `python -m tests.faults.mutant MODULE:FUNCTION[,…] COMMAND`."""

import sys
from importlib import import_module

__all__ = ["inject"]

_MAINS = {"tenantry-operator": "tenantry_operator.__main__", "tenantry-generator": "tenantry_generator.__main__"}


def inject(places: str) -> None:
    """Call the functions `module:function`, separated by commas, each of which puts a mistake into our code."""
    for place in places.split(","):
        module, _, function = place.partition(":")
        getattr(import_module(module), function)()


if __name__ == "__main__":
    _, places, command = sys.argv
    sys.argv = [command]
    inject(places)
    import_module(_MAINS[command]).main()
