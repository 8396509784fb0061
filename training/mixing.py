"""Which examples make up a batch: data sets with 3D labels and with 2D labels, by their names.

`TrainConfig` may name the data sets and weigh them. Then every batch holds the same number of
examples of each. If it names none, there are up to two of each kind: rendered people and own
records with 3D labels, LSPET and own records with 2D labels only, which take turns by `own_share`.
"""

import math

import tensorflow as tf

from training import proportions
from training.datasets import lspet, records

LSPET = 'lspet'
# The data sets that have an argument of their own, in the order in which those of a kind take
# turns.
_OWN_ARGUMENTS = {'3d': ('synth', 'records_3d'), '2d': (LSPET, 'records_2d')}


def name_folders(synth_dir=None, lspet_dir=None, records_3d_dir=None, records_2d_dir=None,
                 record_dirs=None):
    """Dict from the names of data sets to their folders.

    Args:
        synth_dir, lspet_dir, records_3d_dir, records_2d_dir: Folders of the data sets 'synth',
            'lspet' (photos, all others are records), 'records_3d' and 'records_2d', or None.
        record_dirs: Dict from the names of more data sets to their folders of records, or None.

    Raises:
        ValueError: If one of these has a name that is taken.
    """
    folders = {
        'synth': synth_dir, LSPET: lspet_dir, 'records_3d': records_3d_dir,
        'records_2d': records_2d_dir}
    taken = sorted(set(folders) & set(record_dirs or {}))
    if taken:
        raise ValueError(
            f'`record_dirs` must not have the names {sorted(folders)}, which have arguments of '
            f'their own. Received: {taken}')
    folders.update(record_dirs or {})
    return {name: folder for name, folder in folders.items() if folder}


def names_of_kinds(config, folders):
    """The data sets of a training.

    Args:
        config: `TrainConfig`.
        folders: Dict from names to folders, see `name_folders`.

    Returns:
        Dict from '3d' and '2d' to a list of names, in their order.

    Raises:
        ValueError: If the names are not those of the config, or LSPET shall give 3D labels.
    """
    if config.datasets_3d or config.datasets_2d:
        names = {
            kind: [name for name, _ in getattr(config, f'datasets_{kind}')]
            for kind in _OWN_ARGUMENTS}
    else:
        names = {
            kind: [name for name in own if name in folders]
            for kind, own in _OWN_ARGUMENTS.items()}
    wanted = {*names['3d'], *names['2d']}
    if set(folders) != wanted:
        raise ValueError(
            'There must be a folder for each data set that the config names, and for no other. '
            f'Received: none for {sorted(wanted - set(folders))}, and folders for '
            f'{sorted(set(folders) - wanted)}, which it does not name')
    if LSPET in names['3d']:
        raise ValueError(
            f'`datasets_3d` must not name {LSPET!r}, which has 2D labels only. '
            f'Received: datasets_3d={config.datasets_3d}')
    return names


def mix(config, folders, first_step=0):
    """Endless dataset of examples in the order of the batches, from step `first_step` on.

    First in a batch come the examples with 3D labels, then those with 2D labels only; if the
    config names data sets, one data set after the other. All have the joints of the model.

    Args:
        config: `TrainConfig`.
        folders: Dict from names to folders, see `name_folders`.
        first_step: Number of batches that are left out at the start.

    Raises:
        ValueError: If the data sets do not fit the config.
    """
    names = names_of_kinds(config, folders)
    streams, choices = [], []
    for kind in names:
        n_examples = getattr(config, f'batch_size_{kind}')
        if (n_examples > 0) != bool(names[kind]):
            raise ValueError(
                f'`batch_size_{kind}` must be 0 without a source of {kind.upper()} labels, and '
                f'positive with one. Received: batch_size_{kind}={n_examples}, '
                f'{len(names[kind])} sources')
        sources = [
            _make_source(name, folders[name], config.model.skeleton.joint_names)
            for name in names[kind]]
        i_kind = min(len(streams), 1)
        for stream, count in _streams(config, kind, sources, i_kind, first_step):
            choices += [len(streams)] * count
            streams.append(stream)
    choices = tf.data.Dataset.from_tensor_slices(tf.constant(choices, tf.int64)).repeat()
    return tf.data.Dataset.choose_from_datasets(streams, choices)


def _make_source(name, folder, joint_names):
    if name == LSPET:
        return lspet.make_source(folder, 'train', joint_names)
    return records.make_source(folder, joint_names)


def _streams(config, kind, sources, i_kind, first_step):
    """List of pairs: an endless dataset, and how many examples of it there are in a batch."""
    datasets, n_examples = [
        getattr(config, f'{name}_{kind}') for name in ('datasets', 'batch_size')]
    if not sources:
        return []
    if not datasets:
        return [(_take_turns(
            sources, config.own_share, (config.seed, i_kind), first_step * n_examples), n_examples)]
    counts = proportions.per_batch(datasets, n_examples, f'datasets_{kind}')
    return [
        (source.shuffled((config.seed, 2 * i + i_kind), first_step * count), count)
        for i, (source, count) in enumerate(zip(sources, counts))]


def _take_turns(sources, own_share, seed, first):
    """Endless dataset of the shuffled examples of one or two sources, from number `first` on.

    Of two, the second gives example n if `own_share * n` passes a whole number there.
    """
    run_seed, i_kind = seed
    own_share = own_share if len(sources) == 2 else 0.0
    n_own = math.floor(first * own_share)
    datasets = [
        source.shuffled((run_seed, 2 * i + i_kind), n_before)
        for i, (source, n_before) in enumerate(zip(sources, (first - n_own, n_own)))]

    def choose(number):
        number = tf.cast(number, tf.float64)
        passes = tf.floor((number + 1) * own_share) > tf.floor(number * own_share)
        return tf.cast(passes, tf.int64)
    return tf.data.Dataset.choose_from_datasets(
        datasets, tf.data.Dataset.range(first, tf.int64.max).map(choose))
