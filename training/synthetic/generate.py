"""Program: renders synthetic people into record shards.

    python -m training.synthetic.generate --data-dir DIR --out-dir DIR --n-images 10000 --seed 1

A shard's content depends on the seed, its number and its size only, not on the number of
processes. Shards that exist are kept, so an interrupted run continues where it stopped.
"""

import argparse
import multiprocessing
import os
from pathlib import Path
import signal
import sys
import time

# Each process draws on one core; read when the first OpenGL context is made.
os.environ.setdefault('LP_NUM_THREADS', '1')
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np  # noqa: E402
import tqdm  # noqa: E402

from metro_tf import checks  # noqa: E402
from training import folder_settings  # noqa: E402
from training.datasets import records  # noqa: E402
from training.synthetic import body, scene, view  # noqa: E402

_POLL_SECONDS = 0.5
_worker = {}


def main(argv=None):
    """Runs the program and returns its exit code: 2 for wrong input."""
    args = parse_args(argv)
    # Makes a plain kill unwind the stack, which ends the rendering processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        generate(
            args.data_dir, args.out_dir, args.n_images, args.seed, subject=args.subject,
            n_processes=args.n_processes, images_per_shard=args.images_per_shard,
            cache_dir=args.cache_dir)
    except (ValueError, RuntimeError) as error:
        print(f'Error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('Interrupted. The same command continues where it stopped.', file=sys.stderr)
        return 130
    return 0


def parse_args(argv):
    """Command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--data-dir', required=True, help='folder with makehuman/ and motions/')
    parser.add_argument('--out-dir', required=True, help='folder for the shards')
    parser.add_argument('--n-images', type=int, required=True)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--subject', choices=view.SUBJECTS, default='people',
        help='people at all distances, or busts only (default: %(default)s)')
    parser.add_argument('--n-processes', type=int, default=1)
    parser.add_argument('--images-per-shard', type=int, default=256)
    parser.add_argument('--cache-dir', help='parsed morph targets; default: OUT_DIR/cache')
    return parser.parse_args(argv)


def generate(data_dir, out_dir, n_images, seed, *, subject='people', n_processes=1,
             images_per_shard=256, cache_dir=None):
    """Renders the shards that `out_dir` still lacks.

    Args:
        data_dir: Folder with `makehuman/` and `motions/`.
        out_dir: Folder for the shards, made if missing.
        n_images: Number of images in all.
        seed: Non-negative int. The same seed gives the same images.
        subject: What photos show, one of `view.SUBJECTS`.
        n_processes: Number of rendering processes.
        images_per_shard: Images per file; the last file may have fewer.
        cache_dir: Folder for parsed morph targets, by default `cache` in `out_dir`.

    Raises:
        ValueError: If an argument is invalid or `out_dir` was made with other settings.
        RuntimeError: If rendering is not possible here.
    """
    for name, value in (('n_images', n_images), ('n_processes', n_processes),
                        ('images_per_shard', images_per_shard), ('seed', seed + 1)):
        if value < 1:
            raise ValueError(
                f'`{name}` must be positive (a seed may be 0). '
                f'Received: {name}={seed if name == "seed" else value}')
    checks.one_of(subject, view.SUBJECTS, 'subject')
    scene.check_data_dir(data_dir)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    cache_dir = Path(cache_dir or out_dir / 'cache')
    settings = {'n_images': n_images, 'seed': seed, 'images_per_shard': images_per_shard}
    if subject != 'people':  # older folders do not name it
        settings['subject'] = subject
    folder_settings.keep(out_dir, settings, 'out_dir')
    jobs = [
        (out_dir / f'people-{i_shard:05d}{records.SUFFIX}', seed, i_shard,
         min(images_per_shard, n_images - i_shard * images_per_shard))
        for i_shard in range(-(-n_images // images_per_shard))]
    missing = [job for job in jobs if not job[0].exists()]
    if missing:
        for leftover in out_dir.glob('*.partial'):
            leftover.unlink(missing_ok=True)
        # The cache is written once here, not by all processes at the same time.
        body.BodyModel(Path(data_dir) / 'makehuman', cache_dir)
        n_done = n_images - sum(job[-1] for job in missing)
        _run(missing, n_processes, (str(data_dir), str(cache_dir), subject), (n_done, n_images))


def render_shard(sampler, path, seed, i_shard, n_images, on_image=lambda: None):
    """Renders one shard.

    Args:
        sampler: `scene.SceneSampler`.
        path: File to write.
        seed, i_shard: Ints that fix the content.
        n_images: Number of images.
        on_image: Called after each image.
    """
    def examples():
        """The examples of the shard, one at a time."""
        rng = np.random.default_rng([seed, i_shard])
        for example in sampler.sample(rng, n_images, f'synthetic-{seed}-{i_shard:05d}'):
            yield example
            on_image()
    records.write_shard(str(path), examples())


def _run(jobs, n_processes, sampler_args, progress):
    """Runs the jobs in processes while showing the number of images drawn."""
    context = multiprocessing.get_context('spawn')
    counter = context.Value('q', 0)
    n_done, n_images = progress
    with context.Pool(n_processes, _start_worker, (counter, *sampler_args)) as pool, \
            tqdm.tqdm(total=n_images, initial=n_done, unit='img', smoothing=0.1) as bar:
        workers = multiprocessing.active_children()
        pending = [pool.apply_async(_work, (job,)) for job in jobs]
        while pending:
            time.sleep(_POLL_SECONDS)
            bar.update(n_done + counter.value - bar.n)
            if not all(worker.is_alive() for worker in workers):
                # The pool replaces such a process, but its shard would never be finished.
                raise RuntimeError('A rendering process was killed, perhaps for lack of memory.')
            for result in pending:
                if result.ready():
                    result.get()  # raises what the worker raised
            pending = [result for result in pending if not result.ready()]
        bar.update(n_done + counter.value - bar.n)


def _start_worker(counter, *sampler_args):
    """Initialises a process; the sampler is made on first use, where errors are reported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _worker.update(counter=counter, sampler_args=sampler_args, sampler=None)


def _work(job):
    """Renders one shard in a worker process."""
    if _worker['sampler'] is None:
        _worker['sampler'] = scene.SceneSampler(*_worker['sampler_args'])
    render_shard(_worker['sampler'], *job, on_image=_count_image)


def _count_image():
    """Adds one to the counter that all processes share; ends a process whose parent is gone."""
    if not multiprocessing.parent_process().is_alive():
        sys.exit('The parent process is gone.')
    with _worker['counter'].get_lock():
        _worker['counter'].value += 1


if __name__ == '__main__':
    sys.exit(main())
