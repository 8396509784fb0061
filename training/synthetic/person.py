"""People for rendering: parts of their surface joined to one mesh that a pose moves."""

import dataclasses

import numpy as np
from scipy import sparse

from metro_tf import skeleton
from training.synthetic import body as body_lib
from training.synthetic import meshes

# Where the rig has each joint of the skeleton: (bone, end); the others are surface vertices.
_JOINT_BONES = {
    'spin': ('spine03', 'head'), 'neck': ('neck01', 'head'), 'head': ('head', 'head'),
    'htop': ('head', 'tail'),
    **{f'{side.lower()}{joint}': (f'{bone}.{side}', end) for side in 'LR' for joint, bone, end in (
        ('eye', 'eye', 'head'), ('sho', 'upperarm01', 'head'), ('elb', 'lowerarm01', 'head'),
        ('wri', 'wrist', 'head'), ('hip', 'upperleg01', 'head'), ('kne', 'lowerleg01', 'head'),
        ('ank', 'foot', 'head'), ('toe', 'toe2-3', 'tail'))}}
_LANDMARK_VERTICES = {'nose': 5054, 'lear': 12038, 'rear': 5439}


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of a person's surface before joining.

    Args:
        positions, normals: float32 `[vertices, 3]`, rest pose, mesh units.
        weights: Sparse `[vertices, bones]`.
        triangles: int32 `[triangles, 3]`.
        uvs: float32 `[vertices, 2]`.
        cut: float32 `[vertices]`; the surface ends where it falls below 0.
        texture: uint8 RGBA array.
    """
    positions: np.ndarray
    normals: np.ndarray
    weights: sparse.csr_matrix
    triangles: np.ndarray
    uvs: np.ndarray
    cut: np.ndarray
    texture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Person:
    """One mesh of all parts; `layers` `[vertices]` tells each vertex's texture.

    `joint_points` are the rest positions `[24, 3]` of the skeleton's joints and `joint_weights`
    (sparse `[24, bones]`) make them move along. The pelvis is the mean of the hips, and its row
    is not meaningful.
    """
    positions: np.ndarray
    normals: np.ndarray
    weights: sparse.csr_matrix
    triangles: np.ndarray
    uvs: np.ndarray
    cut: np.ndarray
    layers: np.ndarray
    textures: np.ndarray
    heads: np.ndarray
    joint_points: np.ndarray
    joint_weights: sparse.csr_matrix

    def pose(self, transforms):
        """Posed positions and normals `[vertices, 3]` and joints `[24, 3]`, mesh units."""
        positions, normals = body_lib.skin(self.weights, transforms, self.positions, self.normals)
        joints, _ = body_lib.skin(
            self.joint_weights, transforms, self.joint_points, self.joint_points)
        index = skeleton.METRO_24.index
        joints[index('pelv')] = (joints[index('lhip')] + joints[index('rhip')]) / 2
        return positions, normals, joints


def make_part(positions, weights, mesh_triangles, texture, cut=None, thickness=0.0):
    """Builds a `Part` from a rest-pose surface.

    Args:
        positions: float array `[vertices, 3]`, rest pose of all vertices that are referred to.
        weights: Sparse `[vertices, bones]`.
        mesh_triangles: Triple of triangles, texture triangles and texture coordinates.
        texture: uint8 RGBA array.
        cut: float array `[vertices]` or None; the surface ends where it falls below 0.
        thickness: How far the surface is moved outwards, mesh units.
    """
    triangles, uv_triangles, uvs = mesh_triangles
    if cut is None:
        cut = np.ones(len(positions), np.float32)
    kept = (cut[triangles] > 0).any(axis=-1)
    triangles, uv_triangles = triangles[kept], uv_triangles[kept]
    normals = meshes.vertex_normals(positions, triangles)
    vertices, uv_vertices, new_triangles = meshes.split_corners(triangles, uv_triangles)
    return Part(
        positions=(positions + thickness * normals)[vertices].astype(np.float32),
        normals=normals[vertices], weights=weights[vertices], triangles=new_triangles,
        uvs=uvs[uv_vertices], cut=cut[vertices].astype(np.float32), texture=texture)


def join(parts, body, body_positions):
    """Joins parts to a `Person`.

    Args:
        parts: List of `Part`.
        body: `BodyModel`.
        body_positions: float32 array `[19158, 3]`, the unposed body.
    """
    counts = [len(part.positions) for part in parts]
    starts = np.cumsum([0, *counts[:-1]])
    heads, tails = body.joints(body_positions)
    joint_points, joint_weights = _skeleton_joints(body, body_positions, heads, tails)
    return Person(
        positions=np.concatenate([part.positions for part in parts]),
        normals=np.concatenate([part.normals for part in parts]),
        weights=sparse.vstack([part.weights for part in parts]).tocsr().astype(np.float32),
        triangles=np.concatenate([p.triangles + start for p, start in zip(parts, starts)]),
        uvs=np.concatenate([part.uvs for part in parts]),
        cut=np.concatenate([part.cut for part in parts]),
        layers=np.repeat(np.arange(len(parts)), counts).astype(np.float32),
        textures=np.stack([part.texture for part in parts]),
        heads=heads, joint_points=joint_points, joint_weights=joint_weights)


def _skeleton_joints(body, body_positions, heads, tails):
    """Rest positions `[24, 3]` and skin weights `[24, bones]` of the skeleton's joints."""
    points, rows = [], []
    for name in skeleton.METRO_24.joint_names:
        if name in _LANDMARK_VERTICES:
            vertex = _LANDMARK_VERTICES[name]
            points.append(body_positions[vertex])
            rows.append(body.weights[vertex])
        else:
            bone, end = _JOINT_BONES.get(name, ('root', 'head'))
            index = body.bone_index[bone]
            points.append((heads if end == 'head' else tails)[index])
            rows.append(sparse.csr_matrix(
                ([1.0], ([0], [index])), shape=(1, len(body.bone_names))))
    return np.array(points, np.float32), sparse.vstack(rows).tocsr().astype(np.float32)
