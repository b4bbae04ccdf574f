"""The process in which Snakemake runs: it ends when the controller that started it is gone.

A killed controller cannot stop its children. So it holds one end of a pipe and this process reads the other: when the
pipe closes, whoever held it is dead, and this process kills itself at once. Jobs live on and finish what they do.
"""

import os
import signal
import sys
from threading import Thread


def watch(pipe: int) -> None:
    """Kill this process when the other end of the pipe is closed."""
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run Snakemake with the arguments after the pipe's number."""
    from snakemake.cli import main as snakemake

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background commands inherit that it is ignored
    Thread(target=watch, args=(int(sys.argv[1]),), daemon=True).start()
    snakemake(sys.argv[2:])


if __name__ == "__main__":
    main()
