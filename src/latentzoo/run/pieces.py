r"""How a run of B chains is cut into pieces.

.. math:: K = \lceil B / m \rceil, \qquad \text{piece } i \text{ of } n \text{ has the micro-batches }
    \lfloor i K / n \rfloor \le k < \lfloor (i + 1) K / n \rfloor

A piece is whole micro-batches of m chains, so that every chain goes through the networks among the same others as in
the whole run: what it computes is then the same, bit for bit, however many pieces there are.
"""

PER_WORKER = 4
"""How many pieces each worker makes, so that all end at about the same time."""
LARGEST = 1024
"""How many chains a piece has for a worker, at most."""


def micro_batch(chains: int) -> int:
    """How many chains of a run that is cut go through the networks at once, where nothing says so: 1 to 8."""
    return min(max(chains // 8, 1), 8)


def blocks(chains: int, size: int) -> int:
    """How many micro-batches there are, K."""
    return -(-chains // size)


def piece(chains: int, size: int, index: int, count: int) -> range:
    """The chains of piece `index` of `count`; there are no more pieces than micro-batches of `size`."""
    first, end = (size * (i * blocks(chains, size) // count) for i in (index, index + 1))
    return range(first, min(end, chains))


def count(chains: int, size: int, workers: int) -> int:
    """Into how many pieces a run is cut for so many workers."""
    return min(blocks(chains, size), max(PER_WORKER * workers, blocks(chains, LARGEST)))


def pilot_chains(chains: int) -> int:
    """How many chains the pilot of a run has, 4 to 64."""
    return min(64, max(4, chains // 16))


def pilot_seed(seed: int) -> int:
    """The seed of the pilot of a run, from the other end of the seeds: they share no chain."""
    return 2**31 - 1 - seed
