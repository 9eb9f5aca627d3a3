"""Binds a program to the life of who starts it, and becomes that program.

Run as a file, so that it imports nothing but what it needs.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys


def main(parent: int, command: list[str]) -> None:
    """Ask to be killed with the parent, leave no core file, and execute the command."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
