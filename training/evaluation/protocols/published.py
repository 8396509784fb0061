"""Scores of the methods that this package follows, as published: errors in mm, others in percent.

Sources: the abstract page of MeTRAbs (T-BIOM 2021), which lists MeTRo as well; the table of models
in the MeTRAbs repository (five of its backbones, trained on several data sets of 3D poses, with
five augmentations at test time); tables 4 to 6 of MargiPose (WACV 2019); the project page of
coarse-to-fine prediction (CVPR 2017), and its scores per action and on HumanEva as later papers
quote them.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Published:
    """Scores of a method in a publication.

    Args:
        method: Name and variant.
        source: Where the numbers are.
        scores: Dict from the name of a score, as in the results of a protocol, to the number.
    """
    method: str
    source: str
    scores: dict


_ABSTRACT = 'abstract page'
_REPOSITORY = 'MeTRAbs repository'
# 3DPW PCK at 50 mm and MPJPE, MPJPE of Human3.6M, PCK of MPI-INF-3DHP and of MuPoTS, and absolute
# PCK of MuPoTS.
_SIX_DATA_SETS = {
    'EfficientNetV2-L': (53.3, 61.9, 41.1, 95.7, 90.6, 42.5),
    'EfficientNetV2-S': (50.8, 64.9, 47.4, 94.5, 90.0, 43.6),
    'ResNet-50': (49.4, 66.5, 48.7, 92.7, 88.6, 42.6),
    'MobileNetV3-L': (44.6, 73.1, 53.9, 89.7, 86.6, 36.3),
    'MobileNetV3-S': (36.5, 86.4, 68.3, 82.4, 81.8, 34.8)}


def _six_data_sets(*columns):
    """MeTRAbs models; arguments are names of scores or None, one per column of the table."""
    return tuple(
        Published(f'MeTRAbs, {backbone}', _REPOSITORY, {
            name: value for name, value in zip(columns, values) if name})
        for backbone, values in _SIX_DATA_SETS.items())


HUMAN36M = (
    Published('coordinate regression', 'coarse-to-fine, page', {'mpjpe_mm': 112.41}),
    Published('coarse-to-fine, decoupled', 'page', {'mpjpe_mm': 78.10}),
    Published('coarse-to-fine, two hourglasses', 'page', {'mpjpe_mm': 69.77}),
    Published('coarse-to-fine, four hourglasses', 'page', {'mpjpe_mm': 64.76}),
    Published('coarse-to-fine', 'MargiPose, table 4', {'mpjpe_mm': 71.9, 'pa_mpjpe_mm': 51.9}),
    Published('MargiPose', 'table 4', {'mpjpe_mm': 57.0, 'pa_mpjpe_mm': 40.4}),
    Published('MargiPose, multi-crop', 'table 4', {'mpjpe_mm': 55.4, 'pa_mpjpe_mm': 39.0}),
    Published('MeTRo', _ABSTRACT, {'mpjpe_mm': 49.3}),
    *_six_data_sets(None, None, 'mpjpe_mm', None, None, None))

HUMAN36M_ACTIONS = (
    Published('coarse-to-fine', 'as quoted later', {
        'Directions': 67.38, 'Discussion': 71.95, 'Eating': 66.70, 'Greeting': 69.07,
        'Phoning': 71.95, 'Posing': 65.03, 'Purchases': 68.30, 'Sitting': 83.66,
        'SittingDown': 96.51, 'Smoking': 71.74, 'Photo': 76.97, 'Waiting': 65.83,
        'Walking': 59.11, 'WalkDog': 74.89, 'WalkTogether': 63.24, 'mean_of_actions': 71.90}),)

MPI_INF_3DHP = (
    Published('MargiPose, first labels', 'table 5', {
        'pck_150': 84.7, 'mpjpe_mm': 93.7, 'auc_150': 46.3}),
    Published('MargiPose, first labels, multi-crop', 'table 5', {
        'pck_150': 85.4, 'mpjpe_mm': 91.3, 'auc_150': 47.0}),
    Published('MargiPose, corrected labels', 'table 6', {
        'pck_150': 87.6, 'mpjpe_mm': 87.6, 'auc_150': 48.8, 'pa_pck_150': 94.8,
        'pa_mpjpe_mm': 61.6, 'pa_auc_150': 61.4}),
    Published('MargiPose, corrected labels, multi-crop', 'table 6', {
        'pck_150': 88.3, 'mpjpe_mm': 85.2, 'auc_150': 49.6, 'pa_pck_150': 95.1,
        'pa_mpjpe_mm': 60.1, 'pa_auc_150': 62.2}),
    Published('MeTRo', _ABSTRACT, {'pck_150': 90.6, 'mpjpe_mm': 74.9, 'auc_150': 56.2}),
    *_six_data_sets(None, None, None, 'pck_150', None, None))

# The table does not say whether of all or of matched people.
MUPOTS_RELATIVE = _six_data_sets(None, None, None, None, 'pck_150_all', None)
MUPOTS_ABSOLUTE = _six_data_sets(None, None, None, None, None, 'pck_150_all')

THREEDPW = (
    Published('MeTRo, challenge', _ABSTRACT, {'mpjpe_mm': 68.83}),
    Published('MeTRAbs', _ABSTRACT, {'mpjpe_mm': 68.8, 'pa_mpjpe_mm': 49.7}),
    *_six_data_sets('pck_50', 'mpjpe_mm', None, None, None, None))

HUMANEVA = (
    Published('coarse-to-fine', 'as quoted later', {
        'S1 Walking': 22.3, 'S2 Walking': 19.5, 'S3 Walking': 29.7, 'S1 Jog': 28.9,
        'S2 Jog': 21.9, 'S3 Jog': 23.8, 'mean_of_sequences': 24.35}),)
