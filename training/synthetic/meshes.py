"""Mesh files: Wavefront `.obj` and MakeHuman's `.mhclo` garments bound to the base mesh."""

import dataclasses
from pathlib import Path
from typing import Optional

import numpy as np
from scipy import sparse

IMAGE_SUFFIXES = ('.jpg', '.png')


@dataclasses.dataclass(frozen=True)
class Mesh:
    """Triangles with texture coordinates. Quads of the file are split along one diagonal.

    Args:
        positions: float32 array `[vertices, 3]`, units of the file.
        uvs: float32 array `[texture vertices, 2]`, origin at the lower left.
        triangles: int32 array `[triangles, 3]` of vertex numbers.
        uv_triangles: int32 array `[triangles, 3]` of texture vertex numbers.
        groups: Dict from group name to an int array of its triangles' numbers.
    """
    positions: np.ndarray
    uvs: np.ndarray
    triangles: np.ndarray
    uv_triangles: np.ndarray
    groups: dict


@dataclasses.dataclass(frozen=True)
class Garment:
    """A mesh whose vertices follow the base mesh.

    A vertex lies at the weighted mean of three base vertices plus an offset that is scaled with
    the body, separately along x, y and z.

    Args:
        mesh: The garment's `Mesh`; its own positions are not used.
        sources: int32 array `[vertices, 3]`, base vertex numbers.
        source_weights: float32 array `[vertices, 3]`, may be negative, sum 1.
        offsets: float32 array `[vertices, 3]`.
        scale_references: Triple of (base vertex, base vertex, length) for x, y and z.
        hidden_vertices: Bool array over the base vertices: skin that the garment hides.
        texture_path: Image file or None.
    """
    mesh: Mesh
    sources: np.ndarray
    source_weights: np.ndarray
    offsets: np.ndarray
    scale_references: tuple
    hidden_vertices: np.ndarray
    texture_path: Optional[Path]

    def fit(self, body_positions):
        """Vertex positions on a morphed, unposed body: float32 array `[vertices, 3]`."""
        scales = [
            abs(body_positions[first, axis] - body_positions[second, axis]) / length
            for axis, (first, second, length) in enumerate(self.scale_references)]
        anchors = np.einsum('vkc,vk->vc', body_positions[self.sources], self.source_weights)
        return anchors + self.offsets * np.array(scales, np.float32)

    def skin_weights(self, body_weights):
        """Skin weights mixed from those of the base mesh: sparse `[vertices, bones]`."""
        return sparse.csr_matrix(sum(
            sparse.diags(self.source_weights[:, k]) @ body_weights[self.sources[:, k]]
            for k in range(3))).astype(np.float32)


def load_obj(path):
    """Reads triangles and quads with texture coordinates from an `.obj` file.

    Raises:
        ValueError: If the file is missing or has no faces.
    """
    positions, uvs, corners, owners = [], [], [], []
    group = ''
    for line in _read_lines(path):
        words = line.split()
        if not words:
            continue
        if words[0] == 'v':
            positions.append(words[1:4])
        elif words[0] == 'vt':
            uvs.append(words[1:3])
        elif words[0] == 'g':
            group = words[1]
        elif words[0] == 'f':
            face = [(word.split('/') + ['1'])[:2] for word in words[1:]]
            corners += [[face[0], face[i], face[i + 1]] for i in range(1, len(face) - 1)]
            owners += [group] * (len(face) - 2)
    if not corners:
        raise ValueError(f'`path` must be a mesh file with faces. Received: path={str(path)!r}')
    corners = np.array(corners, np.int32) - 1
    owners = np.array(owners)
    groups = {name: np.flatnonzero(owners == name) for name in np.unique(owners)}
    return Mesh(
        np.array(positions, np.float32), np.array(uvs or [[0, 0]], np.float32).reshape(-1, 2),
        corners[..., 0], corners[..., 1], groups)


def load_garment(path, n_body_vertices):
    """Reads an `.mhclo` file, its mesh, and finds its texture.

    Args:
        path: The `.mhclo` file. The mesh it names must lie beside it.
        n_body_vertices: Number of vertices of the base mesh.

    Raises:
        ValueError: If a file is missing or the mesh does not fit the binding.
    """
    path = Path(path)
    headers, bindings, hidden = {}, [], np.zeros(n_body_vertices, bool)
    section = 'header'
    for words in (line.split() for line in _read_lines(path)):
        if not words or words[0].startswith('#'):
            continue
        if words[0] in ('verts', 'delete_verts'):
            section = words[0]
        elif not words[0][0].isdigit():
            headers[words[0]] = words[1:]
        elif section == 'delete_verts':
            hidden[_parse_ranges(words)] = True
        else:
            bindings.append([float(word) for word in words])
    mesh = load_obj(path.parent / headers['obj_file'][0])
    if len(bindings) != len(mesh.positions):
        raise ValueError(
            '`path` must bind every vertex of its mesh. '
            f'Received: {len(bindings)} bindings for {len(mesh.positions)} vertices in {path}')
    full = np.array([
        b if len(b) > 1 else [b[0], b[0], b[0], 1, 0, 0, 0, 0, 0] for b in bindings])
    textures = sorted(p for p in path.parent.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    return Garment(
        mesh, full[:, :3].astype(np.int32), full[:, 3:6].astype(np.float32),
        full[:, 6:9].astype(np.float32), tuple(_scale_reference(headers, a) for a in 'xyz'),
        hidden, textures[0] if textures else None)


def vertex_normals(positions, triangles):
    """Unit normals of vertices, the area-weighted mean over the triangles that share them.

    Args:
        positions: float array `[vertices, 3]`.
        triangles: int array `[triangles, 3]`.

    Returns:
        float32 array `[vertices, 3]`; zeros where a vertex belongs to no triangle.
    """
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.stack([
        sum(np.bincount(triangles[:, k], face_normals[:, axis], len(positions)) for k in range(3))
        for axis in range(3)], axis=-1)
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    return (normals / np.maximum(lengths, 1e-12)).astype(np.float32)


def split_corners(triangles, uv_triangles):
    """Gives each pair of vertex and texture vertex its own number, as graphics hardware wants.

    Returns:
        Tuple of int32 arrays: vertex numbers `[n]`, texture vertex numbers `[n]`, and triangles
        `[triangles, 3]` of the new numbers.
    """
    n_uvs = int(uv_triangles.max()) + 1
    keys = triangles.astype(np.int64) * n_uvs + uv_triangles
    unique, inverse = np.unique(keys, return_inverse=True)
    return ((unique // n_uvs).astype(np.int32), (unique % n_uvs).astype(np.int32),
            inverse.reshape(triangles.shape).astype(np.int32))


def _scale_reference(headers, axis):
    """(vertex, vertex, length) of one axis."""
    first, second, length = headers[f'{axis}_scale'][:3]
    return int(first), int(second), float(length)


def _parse_ranges(words):
    """Vertex numbers of a line such as `3 7 - 9 12`."""
    numbers, i = [], 0
    while i < len(words):
        if i + 2 < len(words) and words[i + 1] == '-':
            numbers += range(int(words[i]), int(words[i + 2]) + 1)
            i += 3
        else:
            numbers.append(int(words[i]))
            i += 1
    return numbers


def _read_lines(path):
    """Lines of a text file.

    Raises:
        ValueError: If the file is missing.
    """
    try:
        return Path(path).read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError as error:
        raise ValueError(f'`path` must be a readable file. Received: {path}: {error}') from error
