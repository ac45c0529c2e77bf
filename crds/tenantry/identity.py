"""Who a process is to the others that want the same Lease.

A name made up anew at each start would make every restart after a crash wait until the Lease of the dead predecessor
expires. Listening on an address is what two living processes can't both do, so the name is made from that.
"""

import hashlib
import os
import socket
import uuid
from pathlib import Path

__all__ = ["process_identity"]


def process_identity(address: tuple[str, int]) -> str:
    """Return an identity for a process that listens on `address`.

    Only one process can do so in one network namespace of one running machine; so no other living process has this
    identity, and the next one to listen there, a restarted container, knows that its predecessor is gone.
    """
    try:
        place = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/net")
    except OSError:
        place = uuid.uuid4().hex  # no Linux: unique is enough, only a restart then waits for the Lease to expire
    return f"{socket.gethostname()}_{hashlib.sha256(f'{place} {address}'.encode()).hexdigest()[:12]}"
