"""Become a command that is sent a signal when the process that started it dies, however that dies (Linux).

Run as a script: ``python -I -S tether.py SIGNAL PARENT USER COMMAND [ARGUMENT...]``, USER empty for the parent's own.
It is a program of its own because the alternative, code that runs between fork and exec, may hang for ever where the
parent has threads.
"""

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG = 1


def main(number: int, parent: int, user: str, command: list[str]) -> None:
    """Bind this process to its parent, then turn into the command."""
    if user:
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)  # before the request below, which a change of user would clear
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            sys.exit(1)  # it died before the request
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
