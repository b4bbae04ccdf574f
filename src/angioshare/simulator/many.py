"""Many simulated subjects, one process a core, in order and never more than a few in memory."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from os import cpu_count

from angioshare.errors import SettingsError
from angioshare.processes import allowed_here, end_with_parent
from angioshare.rng import seed_for, stream
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.simulator.prior import PRIORS, Known, prior_of
from angioshare.simulator.sites import SITES
from angioshare.simulator.subject import SimulatedSubject, simulate_subject


def simulate_subjects(
    site: str, count: int, seed: int, workers: int = 1, extent: float = 1.0, known: Known | None = None
) -> Iterator[SimulatedSubject]:
    """Simulate subjects of one site; subject `n` depends on (site, seed, n) alone.

    Args:
        site: Name in `SITES`, or in `PRIORS`: then each subject comes from a site of its own.
        count: How many, >= 1.
        seed: Seed of them all.
        workers: Processes; 1 stays in this one, 0 takes one for each core.
        extent: Share of its slices that is simulated of each subject, see `simulate_subject`.
        known: What narrows a prior, see `Prior.narrowed`.

    Yields:
        Subjects in order.

    Raises:
        SettingsError: There is no such site, or it cannot be narrowed so.
    """
    check_site(site, known)
    seeds = [seed_for(seed, "simulate", site, str(index)) for index in range(count)]
    yield from simulate_each([(_parameters(site, one, known), one) for one in seeds], workers, extent)


def check_site(site: str, known: Known | None = None) -> None:
    """Refuse the name of a site that does not exist, or what does not narrow it.

    Raises:
        SettingsError: There is no such site, it is a single one and something else is known, or that does not fit.
    """
    if site not in SITES and site not in PRIORS:
        raise SettingsError(f"site {site!r} does not exist; choose one of {', '.join(sorted([*SITES, *PRIORS]))}")
    if site in PRIORS:
        prior_of(site, known)
    elif known:
        raise SettingsError(f"known narrows a prior, and site {site!r} is a single site; choose {' or '.join(PRIORS)}")


def _parameters(site: str, seed: int, known: Known | None) -> SimulatorParameters:
    return prior_of(site, known).draw(stream(seed, "simulator", "site")) if site in PRIORS else SITES[site]


def simulate_each(
    wanted: Sequence[tuple[SimulatorParameters, int]], workers: int = 1, extent: float = 1.0
) -> Iterator[SimulatedSubject]:
    """Simulate one subject for each pair of parameters and seed, in order.

    Args:
        wanted: Parameters and seeds.
        workers: Processes; 1 stays in this one, 0 takes one for each core. A worker of `parallel` stays alone.
        extent: Share of its slices that is simulated of each subject, see `simulate_subject`.
    """
    workers = allowed_here(min(workers or cpu_count() or 1, len(wanted)))
    if workers <= 1:
        yield from (simulate_subject(parameters, one, extent) for parameters, one in wanted)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        waiting: deque[Future[SimulatedSubject]] = deque()
        for parameters, one in wanted:
            waiting.append(pool.submit(simulate_subject, parameters, one, extent))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
