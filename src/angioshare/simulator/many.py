"""Many simulated subjects, one process a core, in order and never more than a few in memory."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from os import cpu_count

from angioshare.errors import SettingsError
from angioshare.rng import seed_for
from angioshare.simulator.sites import SITES
from angioshare.simulator.subject import SimulatedSubject, simulate_subject


def simulate_subjects(site: str, count: int, seed: int, workers: int = 1) -> Iterator[SimulatedSubject]:
    """Simulate subjects of one site; subject `n` depends on (site, seed, n) alone.

    Args:
        site: Name in `SITES`.
        count: How many, >= 1.
        seed: Seed of them all.
        workers: Processes; 1 stays in this one, 0 takes one for each core.

    Yields:
        Subjects in order.

    Raises:
        SettingsError: There is no such site.
    """
    if site not in SITES:
        raise SettingsError(f"site {site!r} does not exist; choose one of {', '.join(sorted(SITES))}")
    parameters = SITES[site]
    seeds = [seed_for(seed, "simulate", site, str(index)) for index in range(count)]
    workers = min(workers or cpu_count() or 1, count)
    if workers == 1:
        yield from (simulate_subject(parameters, one) for one in seeds)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[SimulatedSubject]] = deque()
        for one in seeds:
            waiting.append(pool.submit(simulate_subject, parameters, one))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
