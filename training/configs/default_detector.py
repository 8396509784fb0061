"""The person detector in the default models: 1.6 million weights, 224 px.

Fourth stage after `default_detector_third.py`: busts among the rendered people. The finished
weights are a mean of those before and after it, since those after it alone find fewer whole people.

The busts, in a folder beside that of the other people:
    python -m training.synthetic.generate --subject busts --data-dir data \\
        --out-dir records/train_busts --n-images 5120 --seed 3

Command:
    python -m training.train_detector training/configs/default_detector.py \\
        --synth-dir 'records/train*/*.tfrecord' --lspet-dir lspet \\
        --backgrounds-dir backgrounds/no_people \\
        --coco-annotations training/annotations/imagenet_samples.json \\
        --coco-images backgrounds/with_people \\
        --start-from runs/default_detector_third/detector.keras
"""

import dataclasses

from training.configs import default_detector_third


def config():
    """Returns the settings."""
    base = default_detector_third.config()
    return dataclasses.replace(
        base, name='default_detector', n_steps=4000, learning_rate=1e-3, first_weights_share=0.3,
        max_false_boxes=0.3)
