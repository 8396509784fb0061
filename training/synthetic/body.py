"""MakeHuman's parametric body: morphed shapes, the rig, joint positions and skinning.

Mesh frame: +Y up, the body faces +Z, +X is the body's own left; 1 unit = 100 mm. Rotations act
on column vectors from the left.
"""

import dataclasses
import gzip
import json
import os
from pathlib import Path

import numpy as np
from scipy import sparse

from training.synthetic import meshes

MM_PER_UNIT = 100.0
_RACES = ('african', 'asian', 'caucasian')
_TARGET_PATTERNS = (
    'macrodetails/*.target.gz', 'macrodetails/height/*.target.gz',
    'macrodetails/proportions/*.target.gz', 'breast/*male-*-*-*-*-*.target.gz')
# Names at the knots of each slider; an empty name adds nothing.
_SLIDER_KNOTS = {
    'gender': ((0, 'female'), (1, 'male')),
    'age': ((0.1875, 'child'), (0.5, 'young'), (1, 'old')),
    'muscle': ((0, 'minmuscle'), (0.5, 'averagemuscle'), (1, 'maxmuscle')),
    'weight': ((0, 'minweight'), (0.5, 'averageweight'), (1, 'maxweight')),
    'height': ((0, 'minheight'), (0.5, ''), (1, 'maxheight')),
    'proportions': ((0, 'uncommonproportions'), (0.5, ''), (1, 'idealproportions')),
    'cup': ((0, 'mincup'), (0.5, 'averagecup'), (1, 'maxcup')),
    'firmness': ((0, 'minfirmness'), (0.5, 'averagefirmness'), (1, 'maxfirmness'))}


@dataclasses.dataclass(frozen=True)
class BodyShape:
    """Sliders of the morph space, each in [0, 1]; `race` are three weights with sum 1."""
    gender: float = 0.5
    age: float = 0.5
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    cup: float = 0.5
    firmness: float = 0.5
    race: tuple = (1 / 3, 1 / 3, 1 / 3)

    def name_weights(self):
        """Dict from the names in target file names to their weights."""
        weights = dict(zip(_RACES, self.race))
        for slider, knots in _SLIDER_KNOTS.items():
            positions = [position for position, _ in knots]
            for i, (_, name) in enumerate(knots):
                unit = [float(i == k) for k in range(len(knots))]
                weights[name] = float(np.interp(getattr(self, slider), positions, unit))
        return weights


class BodyModel:
    """Base mesh, morph targets, rig and skin weights, read once.

    Args:
        makehuman_dir: Folder with `base.obj`, `targets/` and `rigs/`.
        cache_dir: Folder for the parsed morph targets, which take a minute to read as text.

    Attributes:
        mesh: `Mesh` with all 19,158 vertices, helper geometry included.
        bone_names, parents: Bones, parents first; index of each bone's parent, -1 for the root.
        weights: Sparse `[vertices, bones]`, rows sum to 1.
    """

    def __init__(self, makehuman_dir, cache_dir):
        makehuman_dir = Path(makehuman_dir)
        self.makehuman_dir = makehuman_dir
        self.mesh = meshes.load_obj(makehuman_dir / 'base.obj')
        self._targets = _load_targets(makehuman_dir / 'targets', Path(cache_dir))
        rig = json.loads((makehuman_dir / 'rigs/default.mhskel').read_text())
        self.bone_names = _parents_first(rig['bones'])
        self.bone_index = {name: i for i, name in enumerate(self.bone_names)}
        self.parents = [
            self.bone_index.get(rig['bones'][name]['parent'], -1) for name in self.bone_names]
        self._head_means, self._tail_means = (
            self._joint_means([rig['joints'][rig['bones'][b][end]] for b in self.bone_names])
            for end in ('head', 'tail'))
        self.weights = self._load_weights(makehuman_dir / 'rigs/default_weights.mhw')

    def morph(self, shape):
        """Vertices of the unposed body of a `BodyShape`: float32 `[19158, 3]`, mesh units."""
        positions = self.mesh.positions.copy()
        name_weights = shape.name_weights()
        for name, (indices, offsets) in self._targets.items():
            weight = np.prod([name_weights.get(part, 0.0) for part in name.split('-')
                              if part != 'universal'])
            if weight > 1e-4:
                positions[indices] += np.float32(weight) * offsets
        return positions

    def joints(self, positions):
        """Bone heads and tails `[bones, 3]` of an unposed body."""
        return self._head_means @ positions, self._tail_means @ positions

    def bone_transforms(self, heads, local_rotations):
        """Poses the rig.

        Args:
            heads: float array `[bones, 3]`, bone heads of the unposed body.
            local_rotations: Dict from bone name to its rotation `[3, 3]` relative to its parent,
                expressed in mesh axes. Bones that are not in it follow their parents.

        Returns:
            float32 array `[bones, 3, 4]`: rotation and translation from rest to pose.
        """
        transforms = np.zeros([len(heads), 3, 4])
        for i, (name, parent) in enumerate(zip(self.bone_names, self.parents)):
            local = local_rotations.get(name)
            if parent < 0:
                rotation = np.eye(3) if local is None else local
                transforms[i, :, :3] = rotation
                transforms[i, :, 3] = heads[i] - rotation @ heads[i]
            elif local is None:
                transforms[i] = transforms[parent]
            else:
                rotation = transforms[parent, :, :3] @ local
                posed_head = transforms[parent, :, :3] @ heads[i] + transforms[parent, :, 3]
                transforms[i, :, :3] = rotation
                transforms[i, :, 3] = posed_head - rotation @ heads[i]
        return transforms.astype(np.float32)

    def _joint_means(self, vertex_lists):
        """Sparse matrix that takes the means of lists of vertices."""
        rows = np.repeat(np.arange(len(vertex_lists)), [len(v) for v in vertex_lists])
        values = np.concatenate([np.full(len(v), 1 / len(v)) for v in vertex_lists])
        shape = len(vertex_lists), len(self.mesh.positions)
        return sparse.csr_matrix((values, (rows, np.concatenate(vertex_lists))), shape)

    def _load_weights(self, path):
        """Sparse skin weights with rows that sum to 1."""
        weights = sparse.lil_matrix((len(self.mesh.positions), len(self.bone_names)))
        for bone, pairs in json.loads(path.read_text())['weights'].items():
            for vertex, weight in pairs:
                weights[vertex, self.bone_index[bone]] += weight
        weights = sparse.csr_matrix(weights)
        sums = np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-9)
        return (sparse.diags(1 / sums) @ weights).tocsr().astype(np.float32)


def skin(weights, transforms, positions, normals):
    """Linear blend skinning.

    Args:
        weights: Sparse `[vertices, bones]`.
        transforms: float32 array `[bones, 3, 4]`.
        positions: float32 array `[vertices, 3]`, rest pose.
        normals: float32 array `[vertices, 3]`, rest pose.

    Returns:
        Tuple of posed positions and posed normals, float32 `[vertices, 3]`. Normals turn with
        the blended rotation and are not exactly of unit length.
    """
    blended = (weights @ transforms.reshape(len(transforms), 12)).reshape(-1, 3, 4)
    posed = np.einsum('vij,vj->vi', blended[..., :3], positions) + blended[..., 3]
    return posed, np.einsum('vij,vj->vi', blended[..., :3], normals)


def _parents_first(bones):
    """Bone names ordered such that each parent precedes its children."""
    ordered = []
    while len(ordered) < len(bones):
        ready = [name for name, bone in bones.items() if name not in ordered
                 and (not bone['parent'] or bone['parent'] in ordered)]
        if not ready:
            raise ValueError(f'`bones` must form a tree. Received: {sorted(bones)}')
        ordered += ready
    return ordered


def _load_targets(targets_dir, cache_dir):
    """Dict from target name to (vertex numbers, offsets), through an `.npz` cache file."""
    cache_path = cache_dir / 'morph_targets.npz'
    if not cache_path.exists():
        _write_cache(targets_dir, cache_path)
    with np.load(cache_path) as cache:
        names, stops = cache['names'], cache['stops']
        indices = np.split(cache['indices'], stops[:-1])
        offsets = np.split(cache['offsets'], stops[:-1])
    return {str(name): (i, o) for name, i, o in zip(names, indices, offsets)}


def _write_cache(targets_dir, cache_path):
    """Parses the text targets into one `.npz` file."""
    paths = [p for pattern in _TARGET_PATTERNS for p in sorted(targets_dir.glob(pattern))]
    if not paths:
        raise ValueError(f'`makehuman_dir` must hold morph targets. Received: {targets_dir}')
    parsed = [_parse_target(path) for path in paths]
    cache_path.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache_path.with_name(f'{cache_path.stem}.{os.getpid()}.partial.npz')
    np.savez(
        temporary, names=[path.name.split('.')[0] for path in paths],
        stops=np.cumsum([len(rows) for rows in parsed]),
        indices=np.concatenate([rows[:, 0] for rows in parsed]).astype(np.int32),
        offsets=np.concatenate([rows[:, 1:] for rows in parsed]).astype(np.float32))
    os.replace(temporary, cache_path)


def _parse_target(path):
    """Array `[n, 4]` of vertex number and offset."""
    with gzip.open(path, 'rt', encoding='utf-8') as file:
        rows = [line.split() for line in file if line.strip() and not line.startswith('#')]
    return np.array(rows, np.float64).reshape(-1, 4)
