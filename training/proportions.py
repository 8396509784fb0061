"""How many examples of each data set a batch holds."""

from metro_tf import checks


def per_batch(datasets, batch_size, name):
    """Splits a batch among data sets in the proportions of their weights.

    Each gets its share of the batch, rounded down; what is left goes one by one to those that lost
    most by rounding, and among equals to the first.

    Args:
        datasets: Sequence of pairs of a name and a weight.
        batch_size: Number of examples to split.
        name: What the caller calls the data sets, for the errors.

    Returns:
        Tuple of ints that add up to `batch_size`, each at least 1. Empty without data sets.

    Raises:
        ValueError: If a weight is not positive, a data set would get no example, or there are
            examples but no data sets.
    """
    weights = [checks.positive(weight, f'{name}[{dataset!r}]') for dataset, weight in datasets]
    shares = [batch_size * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in shares]
    # Python's sort keeps the order of equals. Rounding hides the noise of floats from it.
    losers = sorted(range(len(shares)), key=lambda i: round(counts[i] - shares[i], 9))
    for i in losers[:batch_size - sum(counts)]:
        counts[i] += 1
    if sum(counts) != batch_size or 0 in counts:
        raise ValueError(
            f'`{name}` must give every data set an example in each batch, and every example of a '
            f'batch a data set. Received: {name}={datasets} for {batch_size} examples, '
            f'which gives {counts}')
    return tuple(counts)


def check(config):
    """Checks what a `TrainConfig` says about its data sets.

    Raises:
        ValueError: If they are not pairs of a name and a weight, a name is there twice, a batch
            cannot be split among them, or `own_share` is set besides.
    """
    pairs = (*config.datasets_3d, *config.datasets_2d)
    if not pairs:
        return
    is_pair = [isinstance(pair, tuple) and len(pair) == 2 for pair in pairs]
    if not all(is_pair) or len({name for name, _ in pairs}) != len(pairs):
        raise ValueError(
            '`datasets_3d` and `datasets_2d` must be tuples of pairs (name, weight) with different '
            f'names. Received: datasets_3d={config.datasets_3d}, datasets_2d={config.datasets_2d}')
    if config.own_share != type(config).own_share:
        raise ValueError(
            '`own_share` must be left alone with `datasets_3d` or `datasets_2d`, whose weights '
            f'take its place. Received: own_share={config.own_share}')
    for kind in ('3d', '2d'):
        per_batch(
            getattr(config, f'datasets_{kind}'), getattr(config, f'batch_size_{kind}'),
            f'datasets_{kind}')
