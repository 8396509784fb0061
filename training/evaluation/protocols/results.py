"""What the protocols share in their results: numbers that JSON can hold, groups, tables."""

import numpy as np

from training.evaluation import report


def numbers(scores):
    """Dict of floats with None for what is not a number."""
    return {
        name: None if not np.isfinite(value) else float(value) for name, value in scores.items()}


def by_group(groups, score, order=None):
    """Scores of each group of rows.

    Args:
        groups: Array `[rows]`, the group of each row.
        score: Function from a boolean array `[rows]` to scores.
        order: Sequence of groups; those without rows are left out. None sorts them.

    Returns:
        Dict from group to scores.
    """
    there = {*groups.tolist()}
    ordered = sorted(there) if order is None else [group for group in order if group in there]
    return {group: score(groups == group) for group in ordered}


def mean_over(scores):
    """Mean of each score over dicts of scores, without those that are None."""
    scores = list(scores)
    names = scores[0] if scores else ()
    return {name: _mean([row[name] for row in scores]) for name in names}


def check_groups(names, known, column, path):
    """Checks the values of a column.

    Raises:
        ValueError: If one is not known.
    """
    unknown = sorted({*np.asarray(names).tolist()} - {*known})
    if unknown:
        raise ValueError(
            f'`{column}` must be among {", ".join(map(str, known))}. Received: '
            f'{", ".join(map(repr, unknown))} in {path}')


def score_table(columns, rows, published=(), first_heading='method'):
    """Scores as a Markdown table, with published ones below.

    Args:
        columns: Dict from score to heading. Where it ends with %, shares become percent.
        rows: Dict from the name of a row to its scores.
        published: Sequence of `published.Published`, in the units of the table.
        first_heading: Heading of the names.
    """
    own = [
        [name, *(_in_table(scores.get(key), heading) for key, heading in columns.items())]
        for name, scores in rows.items()]
    if not published:
        return report.markdown_table([first_heading, *columns.values()], own)
    others = [
        [entry.method, *(entry.scores.get(key) for key in columns), entry.source]
        for entry in published if not columns.keys().isdisjoint(entry.scores)]
    return report.markdown_table(
        [first_heading, *columns.values(), 'source'], [[*row, 'here'] for row in own] + others)


def coverage_line(coverage, what):
    """A sentence about how much was scored."""
    unknown = f', {coverage["n_unknown"]} unknown ones ignored' if coverage['n_unknown'] else ''
    return (f'{coverage["n_scored"]} of {coverage["n_labelled"]} {what} scored '
            f'({coverage["share"]:.1%}){unknown}')


def _mean(values):
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None


def _in_table(value, heading):
    return 100 * value if heading.endswith('%') and value is not None else value
