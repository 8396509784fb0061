"""Conversion of one item of a data set into a record file, with a small result file beside it.

The result file, `items/<stem>.json`, is written last: an item that has one is done.
"""

import collections
import dataclasses
import json
import pathlib
import re
import time
import traceback
import zlib

from metro_tf.tools import writers
from training.datasets import reader as reader_lib
from training.datasets import records

RESULTS_DIR = 'items'
_SECONDS_BETWEEN_NEWS = 1.0


@dataclasses.dataclass(frozen=True)
class ItemResult:
    """What became of an item.

    Args:
        name: The item's name.
        n_examples: Number of examples in its record file; there is no file for none.
        problems: Tuple of `reader.Problem`s.
    """
    name: str
    n_examples: int
    problems: tuple

    @property
    def is_complete(self):
        """Whether reading the item once more cannot give more examples."""
        return all(problem.is_expected for problem in self.problems)


def file_stems(items):
    """Dict from the items' names to distinct file names without suffix.

    Raises:
        ValueError: If two items have the same name.
    """
    plain = {item.name: re.sub(r'[^\w.-]+', '_', item.name) for item in items}
    if len(plain) != len(items):
        names = [item.name for item in items]
        doubles = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f'`items` must have distinct names. Received: {doubles} more than once')
    counts = collections.Counter(plain.values())
    return {
        name: stem if counts[stem] == 1 else f'{stem}-{zlib.crc32(name.encode()):08x}'
        for name, stem in plain.items()}


def convert_item(reader, out_dir, stem, item, tell=lambda n_examples: None):
    """Writes the record file and the result file of an item. Whatever goes wrong is a problem.

    Args:
        reader: `reader.DatasetReader`.
        out_dir: Path of the folder, which holds `RESULTS_DIR`.
        stem: File name without suffix.
        item: `reader.Item`.
        tell: Called about every second with the number of examples made so far.

    Returns:
        `ItemResult`.

    Raises:
        OSError: If the result file cannot be written.
    """
    problems, counts = [], []
    path = _record_path(out_dir, stem)
    try:
        examples = reader.examples(item, problems.append)
        records.write_shard(path, _counted(examples, counts, tell))
    except Exception as error:  # of any library, about any damaged file
        counts.clear()
        text = traceback.format_exception_only(type(error), error)[-1].strip()
        problems.append(reader_lib.Problem(
            str(reader.source_dir), item.name, f'{text}; the whole item is left out'))
    result = ItemResult(item.name, sum(counts), tuple(problems))
    write_result(out_dir, stem, result)
    return result


def write_result(out_dir, stem, result):
    """Writes the result file of an item; removes its record file if that holds nothing."""
    if not result.n_examples:
        _record_path(out_dir, stem).unlink(missing_ok=True)
    writers.write_json(_result_path(out_dir, stem), {
        'name': result.name, 'n_examples': result.n_examples,
        'problems': [problem_fields(problem) for problem in result.problems]})


def read_result(out_dir, stem):
    """`ItemResult` of an earlier conversion, or None if the item was not finished.

    Raises:
        ValueError: If the result file is damaged.
    """
    path = _result_path(out_dir, stem)
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text(encoding='utf-8'))
        problems = tuple(reader_lib.Problem(**problem) for problem in fields.pop('problems'))
        result = ItemResult(problems=problems, **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f'{path} is damaged; delete it to convert its item again') from error
    is_gone = result.n_examples and not _record_path(out_dir, stem).is_file()
    return None if is_gone else result


def problem_fields(problem):
    """A `reader.Problem` as a dict of JSON types."""
    return {**dataclasses.asdict(problem), 'path': str(problem.path)}


def unknown_record_files(out_dir, stems):
    """Names of record files that belong to none of the stems, sorted."""
    known = {_record_path(out_dir, stem).name for stem in stems}
    found = {path.name for path in pathlib.Path(out_dir).glob(f'*{records.SUFFIX}')}
    return sorted(found - known)


def _record_path(out_dir, stem):
    return pathlib.Path(out_dir) / f'{stem}{records.SUFFIX}'


def _result_path(out_dir, stem):
    return pathlib.Path(out_dir) / RESULTS_DIR / f'{stem}.json'


def _counted(examples, counts, tell):
    """The same examples; `counts` grows by a 1 for each, and `tell` learns of it now and then."""
    last_news = time.monotonic()
    for example in examples:
        yield example
        counts.append(1)
        if time.monotonic() - last_news > _SECONDS_BETWEEN_NEWS:
            tell(len(counts))
            last_news = time.monotonic()
