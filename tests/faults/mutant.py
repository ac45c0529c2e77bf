"""Runs one of the services with a deliberate defect: `python -m tests.faults.mutant MODULE:FUNCTION COMMAND`."""

import sys
from importlib import import_module

__all__ = ["inject"]

_MAINS = {"tenantry-operator": "tenantry_operator.__main__", "tenantry-generator": "tenantry_generator.__main__"}


def inject(place: str) -> None:
    """Call the function `module:function`, which puts a mistake into our code."""
    module, _, function = place.partition(":")
    getattr(import_module(module), function)()


if __name__ == "__main__":
    inject(sys.argv[1])
    import_module(_MAINS[sys.argv[2]]).main()
