"""Claim: `angioshare --help` takes at most 0.3 s, since it loads no heavy library."""

import subprocess
import sys

from timing import arguments, interleaved, tell

if __name__ == "__main__":
    options = arguments(__doc__, rounds=7)
    calls = {
        "python, nothing": [sys.executable, "-c", "pass"],
        "angioshare --help": [sys.executable, "-m", "angioshare", "--help"],
        "python, import numpy": [sys.executable, "-c", "import numpy"],
        "python, import torch": [sys.executable, "-c", "import torch"],
    }
    work = {
        name: (lambda call=call: subprocess.run(call, check=True, stdout=subprocess.DEVNULL))
        for name, call in calls.items()
    }
    tell(__doc__, interleaved(work, options.rounds), "angioshare --help", options.json)
