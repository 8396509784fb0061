"""Converts a published data set into records for training.train.

Example:
    python -m training.convert mpi_inf_3dhp --source DIR --out records/3dhp --n-processes 4
    python -m training.browse records/3dhp --out sheet.png

Every video (or some hundred photos) becomes one record file. A killed conversion goes on where it
was; items with damaged or missing files are then tried again. What is missing, damaged or left out
is listed in report.json. The exit code is 0 if all is there, 1 if something is missing, 2 for wrong
arguments. docs/datasets.md tells what to obtain.
"""

import argparse
import contextlib
import dataclasses
import functools
import inspect
import os
import pathlib
import re
import signal
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import cv2  # noqa: E402
import tqdm  # noqa: E402

from metro_tf import checks  # noqa: E402
from metro_tf.tools import writers  # noqa: E402
from training import folder_settings, worker_processes  # noqa: E402
from training.datasets import conversion  # noqa: E402
from training.datasets import reader as reader_lib  # noqa: E402
from training.datasets.readers import READERS  # noqa: E402

REPORT_NAME = 'report.json'
_N_SHOWN_PROBLEMS = 20
_OPTION_TYPES = (bool, int, float, str, tuple)


def main(argv=None):
    """Runs the program and returns its exit code, see above."""
    args = parse_args(argv)
    # Makes a plain kill unwind the stack, which ends the other processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        report = convert(make_reader(args), args.out, args.n_processes)
    except (ValueError, OSError) as error:
        print(f'Error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('Interrupted. The same command continues where it stopped.', file=sys.stderr)
        return 130
    print_report(report, pathlib.Path(args.out) / REPORT_NAME)
    return 0 if report['is_complete'] else 1


def parse_args(argv, readers=None):
    """Command line arguments, with one subcommand for each data set.

    Args:
        argv: Sequence of texts, or None for those of the program.
        readers: Dict from names to reader classes, by default `READERS`.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='dataset', metavar='DATASET', required=True)
    for name, reader_class in (READERS if readers is None else readers).items():
        summary = inspect.getdoc(reader_class).split('\n\n')[0]
        command = commands.add_parser(
            name, help=' '.join(summary.split()).replace('%', '%%'),
            description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        command.set_defaults(reader_class=reader_class)
        command.add_argument(
            '--source', required=True, help=argument_texts(reader_class)['source_dir'])
        command.add_argument('--out', required=True, help='folder for the records')
        command.add_argument('--n-processes', type=int, default=1, help='how many read at once')
        add_options(command, reader_class)
    return parser.parse_args(argv)


def add_options(parser, reader_class):
    """Adds an option for each field of a reader; its docstring tells what they mean."""
    texts = argument_texts(reader_class)
    for field in dataclasses.fields(reader_class)[1:]:
        if field.type not in _OPTION_TYPES:
            raise ValueError(
                f'`{field.name}` of {reader_class.__name__} must be of one of the types '
                f'{[option_type.__name__ for option_type in _OPTION_TYPES]}. '
                f'Received: {field.type}')
        kind = {'type': field.type}
        if field.type is bool:
            kind = {'action': argparse.BooleanOptionalAction}
        elif field.type is tuple:
            kind = {'nargs': '+', 'type': type(field.default[0]) if field.default else str}
        parser.add_argument(
            '--' + field.name.replace('_', '-'), default=field.default,
            help=texts[field.name].replace('%', '%%'), **kind)


def argument_texts(documented_class):
    """Dict from the names below 'Args:' in the docstrings of a class and its bases to their texts.
    """
    texts = {}
    for base in reversed(documented_class.__mro__):
        args = re.search(
            r'^Args:\n((?: {4}.*\n?|\n)*)', inspect.cleandoc(base.__doc__ or ''), re.MULTILINE)
        entries = re.findall(
            r'^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)', args[1] if args else '', re.MULTILINE)
        texts.update({
            name: ' '.join(text.split()) for names, text in entries for name in names.split(', ')})
    return texts


def make_reader(args):
    """The reader that the arguments describe.

    Raises:
        ValueError: If a setting is wrong.
    """
    settings = {
        field.name: getattr(args, field.name)
        for field in dataclasses.fields(args.reader_class)[1:]}
    lists = {name: tuple(value) for name, value in settings.items() if isinstance(value, list)}
    return args.reader_class(args.source, **{**settings, **lists})


def convert(reader, out_dir, n_processes=1):
    """Converts what `out_dir` still lacks, and writes the report.

    Args:
        reader: `reader.DatasetReader`.
        out_dir: Folder for the records, made if missing.
        n_processes: Number of processes.

    Returns:
        Dict of JSON types: `dataset`, `counts` and `expected_counts`, `problems`, and whether it
        `is_complete`: all counts as expected, and no problems but expected ones.

    Raises:
        ValueError: If the source holds no such data set, or `out_dir` was made with other settings.
        OSError: If something cannot be written.
    """
    checks.positive(n_processes, 'n_processes')
    problems, out_dir = [], pathlib.Path(out_dir)
    items = reader.items(problems.append)
    stems = conversion.file_stems(items)
    (out_dir / conversion.RESULTS_DIR).mkdir(parents=True, exist_ok=True)
    settings = {**dataclasses.asdict(reader), 'source_dir': str(pathlib.Path(
        reader.source_dir).resolve())}
    folder_settings.keep(out_dir, {'dataset': reader.NAME, **settings}, 'out')
    for leftover in out_dir.glob('*.partial'):
        leftover.unlink(missing_ok=True)
    _convert_missing(reader, items, stems, out_dir, n_processes)
    problems += [
        reader_lib.Problem(str(out_dir / name), '', 'belongs to no item of the source any more')
        for name in conversion.unknown_record_files(out_dir, stems.values())]
    report = make_report(reader, items, stems, out_dir, problems)
    writers.write_json(out_dir / REPORT_NAME, report)
    return report


def _convert_missing(reader, items, stems, out_dir, n_processes):
    """Converts the items without a complete result, while showing the number of frames read."""
    missing = [item for item in items if not _is_done(out_dir, stems[item.name])]
    n_frames = sum(item.n_frames for item in items)
    n_done = n_frames - sum(item.n_frames for item in missing)
    function = functools.partial(_work, reader, out_dir, stems)
    events = worker_processes.run_tasks(function, missing, n_processes)
    n_shown = {}
    with contextlib.closing(events), tqdm.tqdm(
            total=n_frames, initial=n_done, unit='frame', smoothing=0.1) as bar:
        for event in events:
            item = event.task
            n_now = event.value if event.kind == 'progress' else item.n_frames
            bar.update(n_now - n_shown.pop(item.name, 0))
            if event.kind == 'progress':
                n_shown[item.name] = n_now
            elif event.kind == 'died':
                conversion.write_result(out_dir, stems[item.name], _died(reader, event))


def _is_done(out_dir, stem):
    result = conversion.read_result(out_dir, stem)
    return result is not None and result.is_complete


def _work(reader, out_dir, stems, item, tell):
    """Converts an item in a process of its own. The result goes through the file only."""
    cv2.setNumThreads(1)
    conversion.convert_item(reader, out_dir, stems[item.name], item, tell)


def _died(reader, event):
    """The result of an item whose process was killed or crashed outside of Python."""
    text = (
        f'the process ended with exit code {event.value}, perhaps for lack of memory; '
        'the whole item is left out')
    problem = reader_lib.Problem(str(reader.source_dir), event.task.name, text)
    return conversion.ItemResult(event.task.name, 0, (problem,))


def make_report(reader, items, stems, out_dir, problems):
    """The report as a dict, see `convert`, from the result files of all items."""
    results = [conversion.read_result(out_dir, stems[item.name]) for item in items]
    problems = problems + [problem for result in results for problem in result.problems]
    counts = {
        'items': sum(result.n_examples > 0 for result in results),
        'examples': sum(result.n_examples for result in results)}
    expected = reader.expected_counts()
    is_complete = all(problem.is_expected for problem in problems) and all(
        counts[name] == expected.get(name, counts[name]) for name in counts)
    return {
        'dataset': reader.NAME, 'is_complete': is_complete, 'counts': counts,
        'expected_counts': expected,
        'problems': [conversion.problem_fields(problem) for problem in problems]}


def print_report(report, path):
    """Prints counts and the first problems; all are in the file."""
    for name in {**report['counts'], **report['expected_counts']}:
        found = report['counts'].get(name, 'not counted')
        wanted = report['expected_counts'].get(name)
        print(f'{name}: {found}' + ('' if wanted is None else f', expected: {wanted}'))
    problems = [reader_lib.Problem(**problem) for problem in report['problems']]
    problems.sort(key=lambda problem: problem.is_expected)
    for problem in problems[:_N_SHOWN_PROBLEMS]:
        print(problem)
    print(f'{len(problems)} problems are listed in {path}')


if __name__ == '__main__':
    sys.exit(main())
