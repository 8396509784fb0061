"""Trains models of the family on exactly the same batches and compares them.

Example:
    python -m training.compare --synth-dir records/train --lspet-dir lspet \\
        --background-dir backgrounds/no_people --holdout-dir records/holdout \\
        --out-dir runs/comparison --plot comparison.png

What is compared is what the function `configs` of a file returns (--configs), by default that of
training/configs/comparison.py. First the augmented batches are written to OUT_DIR/batches (5.6 GB
by default, which may be deleted in the end), then one model after the other is trained on them,
then all are scored on the hold-out, whole and cut off. The program can be killed at any moment:
the same command goes on where it was.

The table goes to OUT_DIR/comparison.md, with all scores in comparison.json.
"""

import argparse
import dataclasses
import json
import pathlib

import keras

from metro_tf import models
from metro_tf.models import builder
from metro_tf.tools import writers
from training import cached_batches, crop_models, pipeline, run, train
from training.augment import background
from training.config import TrainConfig
from training.datasets import records
from training.evaluation import report, scores, truncation

# The share of joints that are cut off in the table; all shares are in the JSON file.
TABLE_SHARE = 0.3
_DEFAULT_CONFIGS = pathlib.Path(__file__).parent / 'configs/comparison.py'


def train_all(configs, synth_dir, lspet_dir, background_dirs, out_dir):
    """Trains models one after the other on the same batches.

    Args:
        configs: Sequence of `TrainConfig` that agree in what concerns the batches.
        synth_dir, lspet_dir, background_dirs: See `pipeline.training_dataset`.
        out_dir: Folder for the batches and for a folder per run.

    Raises:
        ValueError: If the configs need other batches.
    """
    settings = [cached_batches.data_settings(config) for config in configs]
    if any(other != settings[0] for other in settings):
        raise ValueError(f'`configs` must agree about the batches. Received: {settings}')
    batch_dir = pathlib.Path(out_dir) / 'batches'
    cached_batches.write(
        configs[0],
        lambda first_step: pipeline.training_dataset(
            configs[0], synth_dir, lspet_dir, background_dirs, first_step),
        batch_dir, [folder for folder in (synth_dir, lspet_dir, *background_dirs) if folder])
    for config in configs:
        keras.backend.clear_session()
        train_one(config, synth_dir, batch_dir, out_dir)


def train_one(config, synth_dir, batch_dir, out_dir):
    """Runs or resumes one training on written batches.

    Args:
        config: `TrainConfig`.
        synth_dir: Records whose bone lengths the 2.5D model takes.
        batch_dir: Folder of `cached_batches.write`.
        out_dir: Folder for the folder of the run.
    """
    out_dir = pathlib.Path(out_dir)
    run_dir = out_dir / config.name
    train.check_resumable(config, run_dir)
    config = with_own_files(crop_models.with_bone_lengths(config, [synth_dir]), out_dir)
    saved_model = run.in_float32(builder.build_crop_model, config.model)
    trainer = train.build_trainer(config)
    run.fit(
        trainer, trainer.crop_model, saved_model, config,
        lambda first_step: cached_batches.read(config, batch_dir, first_step), run_dir,
        'crop_model.keras')


def with_own_files(config, out_dir):
    """The config with the path of a `heatmap_network` that is relative to `out_dir`.

    So a model can be built upon another one of the same comparison, which must come before it.

    Args:
        config: `TrainConfig`.
        out_dir: See `train_all`.
    """
    path = config.model.heatmap_network
    if path is None:
        return config
    return dataclasses.replace(config, model=dataclasses.replace(
        config.model, heatmap_network=str(pathlib.Path(out_dir) / path)))


def score_all(configs, holdout_dir, background_dirs, out_dir, *, shares=truncation.SHARES):
    """Scores the trained models on the same people, whole and cut off.

    Args:
        configs: Sequence of `TrainConfig`.
        holdout_dir: Records of people that were not trained on.
        background_dirs: Folders of background photos.
        out_dir: See `train_all`.
        shares: Shares of the joints to cut off, `TABLE_SHARE` among them.

    Returns:
        Dict from the name of a row to its `whole` scores and its rows of `truncation`; models
        that can be told the depth of the root have a second row, and those of 2D heatmaps, which
        have no poses, none.
    """
    bank = background.load_bank(background_dirs)
    result = {}
    for config in configs:
        if not config.model.has_depth:
            continue
        keras.backend.clear_session()
        model = models.load_crop_model(
            pathlib.Path(out_dir) / config.name / 'crop_model.keras')
        source = records.read_dataset(holdout_dir, model.joint_names)
        whole = scores.evaluate_ways(
            model, pipeline.evaluation_dataset(config, source, bank), config.name)
        curves = truncation.evaluate(
            model, source, bank, config.seed, shares=shares, progress_label=config.name)
        for way in whole:
            result[f'{config.name}, {way}'.replace('_', ' ')] = {
                'whole': whole[way], 'truncation': curves[way]}
    return result


def table(result):
    """The main scores as a Markdown table.

    Args:
        result: What `score_all` returns.
    """
    cut = f'{TABLE_SHARE:.0%} cut off:'
    columns = {
        'MPJPE': 'mpjpe_mm', 'PA-MPJPE': 'pa_mpjpe_mm', 'absolute MPJPE': 'absolute_mpjpe_mm',
        'mean position': 'mean_position_mm'}
    cut_columns = {
        f'{cut} MPJPE inside': 'mpjpe_mm_inside', 'outside': 'mpjpe_mm_outside',
        'absolute inside': 'absolute_mpjpe_mm_inside',
        'absolute outside': 'absolute_mpjpe_mm_outside'}
    rows = []
    for name, row in result.items():
        [row_cut] = [part for part in row['truncation'] if part['share'] == TABLE_SHARE]
        rows.append([
            name, *(row['whole'].get(score) for score in columns.values()),
            *(row_cut.get(score) for score in cut_columns.values())])
    return report.markdown_table(['errors in mm', *columns, *cut_columns], rows)


def main():
    """Reads the arguments, trains, scores, prints and writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--synth-dir', required=True, help='records of training.synthetic.generate')
    parser.add_argument('--lspet-dir', help='folder of LSPET, if the batches have 2D examples')
    parser.add_argument(
        '--background-dir', required=True, action='append', help='folder of photos; repeatable')
    parser.add_argument(
        '--holdout-dir', required=True, help='records of people that are not trained on')
    parser.add_argument(
        '--configs', default=_DEFAULT_CONFIGS, help='a file with a function `configs`')
    parser.add_argument('--out-dir', default='runs/comparison', help='folder of the results')
    parser.add_argument('--plot', help='PNG file for the errors of people who are cut off')
    args = parser.parse_args()
    configs = run.load_configs(args.configs, TrainConfig)
    if args.plot:
        report.check_plots_available()
    train_all(configs, args.synth_dir, args.lspet_dir, args.background_dir, args.out_dir)
    result = score_all(configs, args.holdout_dir, args.background_dir, args.out_dir)
    out_dir = pathlib.Path(args.out_dir)
    writers.write_text(out_dir / 'comparison.json', json.dumps(result, indent=2) + '\n')
    writers.write_text(out_dir / 'comparison.md', table(result) + '\n')
    if args.plot:
        writers.write_bytes(args.plot, report.truncation_plot(
            {name: row['truncation'] for name, row in result.items()}))
    print(table(result))


if __name__ == '__main__':
    main()
