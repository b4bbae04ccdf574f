"""Noticing a training that finds nothing, so that it can begin anew with other weights.

Soft Dice over a sigmoid has a trap: an early step may push the outputs so far to 0 or 1 that no gradient is left. The
network then calls a few pixels vessel, or nearly all, whatever it is shown, and stays there. Other initial weights or
another order of patches can avoid it; pairs that cannot be learnt from may end there every time.
"""

from collections import deque

from angioshare.progress import Progress

WINDOW = 50
"""Steps whose mean is judged."""

MARGIN = 0.1
"""How much better than calling every pixel vessel a training must be, as a share of what that leaves to be told apart:
weights that call all but a few pixels vessel are a hair better."""

DEAD = 0.5
"""Soft Dice, as a share of that of calling every pixel vessel, up to which a training counts as dead early on: whoever
calls all pixels vessel a little has more, so it is not a slow one."""

ATTEMPTS = 5
"""How often a training may begin. At a learning rate of 0.001 six of 24 initial weights died within 80 steps."""


class Watch:
    """Judges one attempt after a twentieth and a quarter of its steps, and again at the end.

    After a twentieth, whoever is dead begins anew, which costs little; after a quarter, whoever found nothing. At the
    end this is left only to one who had found something after a quarter: pairs that cannot be learnt from then cost one
    training more, not four.
    """

    def __init__(self, steps: int) -> None:
        """Watch a training of so many steps; one of fewer than `2 * WINDOW` is never judged."""
        self._early = max(WINDOW, steps // 20)
        self._judged = (max(WINDOW, steps // 4), steps) if steps >= 2 * WINDOW else ()
        self._step = 0
        self._found: deque[float] = deque(maxlen=WINDOW)
        self._blind: deque[float] = deque(maxlen=WINDOW)

    def failed(self, loss: float, share: float) -> bool:
        """Take a step's soft-Dice loss and labelled share of pixels, and return whether the attempt is to be given up.

        It found nothing where the mean soft Dice of the last `WINDOW` steps is not clearly above that of calling every
        pixel vessel, which is b = 2 q / (1 + q) at a labelled share q: b + MARGIN b (1 - b) is asked for. It is dead
        where that mean is at most DEAD b. Batches without a label do not count.

        Example:
            >>> watch = Watch(100)
            >>> [step for step in range(1, 101) if watch.failed(loss=0.99, share=0.02)]
            [50, 100]
            >>> watch = Watch(100)
            >>> any(watch.failed(loss=0.5, share=0.02) for _ in range(100))
            False
            >>> watch = Watch(100)
            >>> any(watch.failed(loss=1 - 2 * 0.02 / (0.999 + 0.02), share=0.02) for _ in range(100))
            True
        """
        self._step += 1
        if share > 0:
            self._found.append(1 - loss)
            self._blind.append(2 * share / (1 + share))
        if self._step in self._judged:
            wanted = sum(blind + MARGIN * blind * (1 - blind) for blind in self._blind)
        elif self._step == self._early and self._judged:
            wanted = DEAD * sum(self._blind)
        else:
            return False
        return bool(self._found) and sum(self._found) <= wanted


class Furthest:
    """Tells of the steps of several attempts as of one training: no step twice."""

    def __init__(self, progress: Progress) -> None:
        """Tell `progress`."""
        self._progress, self._seen = progress, 0

    def at(self, step: int, attempt: int) -> None:
        """Attempt number `attempt`, from 1, has finished step number `step`."""
        if step > self._seen:
            self._seen = step
            self._progress.advance(f"attempt {attempt}" if attempt > 1 else "")
