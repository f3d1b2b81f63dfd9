"""How long an order takes from the decision to the market: fixed, or drawn from what was measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Latency(NamedTuple):
    """Latencies in nanoseconds.

    Args:
        samples_ns: i64 ``(k,)``, measured latencies, each as likely as the other; one sample is a fixed latency.
        seed: of the draws.
    """

    samples_ns: npt.NDArray[np.int64]
    seed: int = 0

    @staticmethod
    def fixed(latency_ns: int) -> Latency:
        """The same latency for every order.

        Raises:
            ValueError: it is negative.
        """
        return Latency.measured([latency_ns])

    @staticmethod
    def measured(samples_ns: npt.ArrayLike, seed: int = 0) -> Latency:
        """Latencies drawn with replacement from measured ones.

        Raises:
            ValueError: there is none, or one is negative.
        """
        samples = np.ascontiguousarray(samples_ns, np.int64).reshape(-1)
        if not len(samples) or samples.min() < 0:
            actual = f"the smallest {samples.min()}" if len(samples) else "none"
            raise ValueError(f"samples_ns: expected at least one latency, none negative, got {actual}")
        return Latency(samples, seed)

    def draw(self, n: int) -> npt.NDArray[np.int64]:
        """Latencies of the first n bars, i64 ``(n,)``.

        The same for the same seed, and a longer draw begins with the shorter one, so that more bars never
        change the fills of those before.
        """
        if len(self.samples_ns) == 1:
            return np.full(n, self.samples_ns[0], np.int64)
        # One double per bar; whole numbers would come two to a word and depend on how many are asked for.
        picks = np.random.default_rng(self.seed).random(n) * len(self.samples_ns)
        return self.samples_ns[picks.astype(np.int64)]
