"""Turns a folder of labelled photos into records for training.train.

Example:
    python -m training.import_folder photos --out records/own
    python -m training.browse records/own/3d --out sheet.png

The folder holds the photos and one file, annotations.json (or annotations.parquet):
    {"skeleton": "lsp_14",
     "people": [{"image": "a.jpg", "box": [12, 30, 200, 410], "coords2d": [[95, 61], null, ...]}]}

docs/retraining.md explains all keys. All mistakes are listed, and nothing is written before all
are gone. People with 3D labels go to the folder 3d in DIR, people with 2D labels only to 2d.
"""

import argparse
import os
import pathlib
import shutil
import signal
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import tqdm  # noqa: E402

from metro_tf import checks  # noqa: E402
from training.datasets import folder as folder_lib  # noqa: E402
from training.datasets import records  # noqa: E402


def main(argv=None):
    """Runs the program and returns its exit code: 2 for wrong input."""
    args = parse_args(argv)
    # Makes a plain kill unwind the stack, which removes what is half written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        checks.positive(args.images_per_shard, 'images_per_shard')
        out = pathlib.Path(args.out) if not args.check_only else None
        if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ValueError(f'`out` must be a new or empty folder. Received: out={args.out}')
        people = folder_lib.read_people(
            args.folder, lambda rows: tqdm.tqdm(rows, desc='check', unit='row'),
            args.annotations)
        print(f'No mistakes in {len(people)} rows')
        if out:
            write(people, out, args.images_per_shard)
    except (ValueError, OSError) as error:
        print(f'{error}\nNothing was written.', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('Interrupted. Nothing was written.', file=sys.stderr)
        return 130
    return 0


def parse_args(argv):
    """Command line arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', help='folder of photos and annotations')
    parser.add_argument(
        '--annotations', metavar='FILE', help='the annotations, if they are not in the folder')
    parser.add_argument('--out', metavar='DIR', help='folder to write, new or empty')
    parser.add_argument('--images-per-shard', type=int, default=256, help='default: 256')
    parser.add_argument('--check-only', action='store_true', help='list mistakes, write nothing')
    args = parser.parse_args(argv)
    if not args.out and not args.check_only:
        parser.error('give --out DIR, or --check-only')
    return args


def write(people, out, images_per_shard):
    """Writes all shards into a folder beside `out`, which becomes `out` when it is complete."""
    partial = out.with_name(f'{out.name}.{os.getpid()}.partial')
    groups = {
        '3d': [person for person in people if person.coords3d_cam is not None],
        '2d': [person for person in people if person.coords3d_cam is None]}
    try:
        with tqdm.tqdm(total=len(people), desc='write', unit='img') as bar:
            for kind, group in groups.items():
                for start in range(0, len(group), images_per_shard):
                    name = f'people-{start // images_per_shard:05d}{records.SUFFIX}'
                    (partial / kind).mkdir(parents=True, exist_ok=True)
                    shard = group[start:start + images_per_shard]
                    records.write_shard(partial / kind / name, _examples(shard, bar))
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print('Wrote ' + ' and '.join(
        f'{len(group)} people to {out / kind}' for kind, group in groups.items() if group))


def _examples(people, bar):
    for person in people:
        yield folder_lib.to_example(person)
        bar.update()


if __name__ == '__main__':
    sys.exit(main())
