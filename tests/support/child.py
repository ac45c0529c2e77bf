"""Becomes the program that it is given, after arranging that the program dies with the process that asked for it.

A test run or a demo that gets SIGKILL can't clean up, so Linux does: PR_SET_PDEATHSIG. It is set here, in a program of
its own, because it is cleared when a process changes its user (so it comes after that), and because code between fork
and exec of a process with threads may deadlock. Elsewhere than on Linux a killed parent leaves its children behind.

    python -IS child.py PARENT_PID SIGNAL USER|- PROGRAM [ARGUMENT...]
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, signal: int, user: str, command: list[str]) -> None:
    """Change to `user` (`-`: stay), ask for `signal` on the parent's death, and become `command`."""
    if user != "-":
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
    if os.getppid() != parent:
        sys.exit("the parent is gone already")
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
