"""Measures a person detector on the LSPET hold-out and on photos without people.

With boxes of all people in some other photos, also on the fifth of these that was not trained on.

Example:
    python -m training.evaluate_detector runs/default_detector/detector.keras \\
        --lspet-dir lspet --backgrounds-dir backgrounds/no_people --out scores.json
"""

import argparse
import json

import tqdm

from metro_tf.detection import PersonDetector
from metro_tf.tools import writers
from training.detection import coco, evaluation, sources
from training.detection.config import CompositeConfig

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)


def summarize(scores, validation_scores):
    """Collects the numbers for the result file.

    Args:
        scores: `DetectionScores` on the hold-out and on all photos without people.
        validation_scores: `DetectionScores` whose empty photos were left out of the training; its
            people are those of other photos, if any.

    Returns:
        Dict of lists over the thresholds; `recall_in_scenes` only if there are such people.
    """
    in_scenes = {'recall_in_scenes': [validation_scores.recall(t) for t in THRESHOLDS]}
    return {
        'threshold': list(THRESHOLDS),
        'recall': [scores.recall(t) for t in THRESHOLDS],
        **(in_scenes if len(validation_scores.found) else {}),
        'false_per_photo': [scores.false_per_photo(t) for t in THRESHOLDS],
        'false_per_photo_not_trained_on': [
            validation_scores.false_per_photo(t) for t in THRESHOLDS],
        'n_people': len(scores.found), 'n_people_in_scenes': len(validation_scores.found),
        'n_empty_photos': scores.n_empty_photos,
        'n_empty_photos_not_trained_on': validation_scores.n_empty_photos}


def main():
    """Reads the arguments, evaluates, prints and writes the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('detector', help='release or file of a detector')
    parser.add_argument('--lspet-dir', required=True, help='folder of LSPET')
    parser.add_argument(
        '--backgrounds-dir', required=True, help='folder of photos without people')
    parser.add_argument(
        '--coco-annotations', help='boxes of all people in some photos, in the format of COCO')
    parser.add_argument('--coco-images', help='folder of these photos')
    parser.add_argument('--input-side-px', type=int, default=224, help='input of the network')
    parser.add_argument('--out', help='path of a JSON file for the result')
    args = parser.parse_args()
    detector = PersonDetector.load(args.detector, args.input_side_px)
    photos = sources.read_photos(
        args.lspet_dir, 'holdout', CompositeConfig().person_enlargement)
    scores = evaluation.evaluate(
        detector, photos.people(), sources.read_backgrounds(args.backgrounds_dir, 'all'),
        progress=tqdm.tqdm)
    scenes = (
        coco.read_scenes(args.coco_annotations, args.coco_images, 'validation').people()
        if args.coco_annotations else [])
    validation_scores = evaluation.evaluate(
        detector, scenes, sources.read_backgrounds(args.backgrounds_dir, 'validation'))
    result = summarize(scores, validation_scores)
    for i, threshold in enumerate(THRESHOLDS):
        print(f'threshold {threshold:.1f}: ' + ', '.join(
            f'{name} {values[i]:.3f}' for name, values in result.items()
            if isinstance(values, list) and name != 'threshold'))
    if args.out:
        writers.write_text(args.out, json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    main()
