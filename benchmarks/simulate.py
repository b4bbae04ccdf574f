"""Claim: 10 subjects of 200 x 240 x 64 are simulated in at most 60 s on two cores: 12 s of one core each."""

from angioshare.simulator.parameters import flatten, unflatten
from angioshare.simulator.sites import SITES
from angioshare.simulator.subject import simulate_subject
from timing import arguments, interleaved, tell

if __name__ == "__main__":
    options = arguments(__doc__, rounds=3)
    values = flatten(SITES["site-1"])
    grid = {"acquisition.matrix_i": 200.0, "acquisition.matrix_j": 240.0, "acquisition.matrix_k": 64.0}
    large = unflatten({**values, **grid})
    work = {
        "one subject of 200 x 240 x 64": lambda: simulate_subject(large, seed=1),
        "one subject of the demo": lambda: simulate_subject(SITES["demo-1"], seed=1),
    }
    tell(__doc__, interleaved(work, options.rounds), "one subject of 200 x 240 x 64", options.json)
