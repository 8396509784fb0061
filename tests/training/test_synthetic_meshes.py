"""Mesh and garment files: tiny files in the true formats, fitted and split by hand."""

import numpy as np
import pytest
from scipy import sparse

from training.synthetic import meshes

OBJ = """# a comment
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 0 0 1
vt 0.25 0.5
vt 1 0
vt 1 1
vt 0 1
g front
f 1/1 2/2 3/3 4/4

g side
f 1/1 5/2 2/3
"""
GARMENT_OBJ = 'v 9 9 9\nv 9 9 9\nv 9 9 9\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n'
MHCLO = """# This is a clothes file
basemesh hm08
name hat
obj_file hat.obj
x_scale 0 1 2.0
z_scale 0 4 4.0
y_scale 1 2 0.5
z_depth 50
verts 0
material hat.mhmat
    3
 0 1 2 0.5 0.25 0.25 0.1 0.2 0.4
 1 2 4 1.5 -0.5 0.0 0 0 0
delete_verts
0 2 - 4
"""


@pytest.fixture
def garment_path(tmp_path):
    (tmp_path / 'hat.obj').write_text(GARMENT_OBJ)
    (tmp_path / 'hat.mhclo').write_text(MHCLO)
    return tmp_path / 'hat.mhclo'


@pytest.fixture
def base_mesh(tmp_path):
    (tmp_path / 'base.obj').write_text(OBJ)
    return meshes.load_obj(tmp_path / 'base.obj')


def test_obj_quads_are_split_and_grouped(base_mesh):
    np.testing.assert_array_equal(base_mesh.triangles, [[0, 1, 2], [0, 2, 3], [0, 4, 1]])
    np.testing.assert_array_equal(base_mesh.uv_triangles, [[0, 1, 2], [0, 2, 3], [0, 1, 2]])
    np.testing.assert_array_equal(base_mesh.positions[2], [1, 1, 0])
    np.testing.assert_array_equal(base_mesh.uvs[0], [0.25, 0.5])
    assert set(base_mesh.groups) == {'front', 'side'}
    np.testing.assert_array_equal(base_mesh.groups['front'], [0, 1])
    np.testing.assert_array_equal(base_mesh.groups['side'], [2])


def test_obj_without_texture_coordinates_or_with_normals(tmp_path):
    (tmp_path / 'a.obj').write_text('v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n')
    (tmp_path / 'b.obj').write_text(
        'v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/3/1 2/2/1 3/1/1\n')
    np.testing.assert_array_equal(meshes.load_obj(tmp_path / 'a.obj').uv_triangles, [[0, 0, 0]])
    np.testing.assert_array_equal(meshes.load_obj(tmp_path / 'b.obj').uv_triangles, [[2, 1, 0]])


def test_obj_errors_name_the_file(tmp_path):
    with pytest.raises(ValueError, match='`path` must be a readable file.*missing.obj'):
        meshes.load_obj(tmp_path / 'missing.obj')
    (tmp_path / 'points.obj').write_text('v 0 0 0\n')
    with pytest.raises(ValueError, match='`path` must be a mesh file with faces.*points.obj'):
        meshes.load_obj(tmp_path / 'points.obj')


def test_garment_is_fitted_by_hand(garment_path, base_mesh):
    garment = meshes.load_garment(garment_path, 5)
    fitted = garment.fit(base_mesh.positions)
    # Scales: x |0 - 1| / 2, y |0 - 1| / 0.5, z |0 - 1| / 4.
    np.testing.assert_allclose(fitted, [
        [0, 1, 0],
        [0.5 + 0.1 * 0.5, 0.25 + 0.2 * 2, 0.4 * 0.25],
        [1.5 - 0.5, -0.5, 0]], atol=1e-6)


def test_garment_follows_size_and_place_of_the_body(garment_path, base_mesh):
    garment = meshes.load_garment(garment_path, 5)
    moved = garment.fit(3 * base_mesh.positions + np.float32([1, 2, 3]))
    np.testing.assert_allclose(
        moved, 3 * garment.fit(base_mesh.positions) + [1, 2, 3], atol=1e-5)


def test_garment_hides_listed_and_ranged_vertices(garment_path):
    garment = meshes.load_garment(garment_path, 6)
    np.testing.assert_array_equal(np.flatnonzero(garment.hidden_vertices), [0, 2, 3, 4])


def test_garment_mixes_skin_weights(garment_path):
    garment = meshes.load_garment(garment_path, 5)
    body_weights = sparse.csr_matrix(np.array([[1, 0], [0, 1], [0, 1], [0.5, 0.5], [1, 0]]))
    np.testing.assert_allclose(
        garment.skin_weights(body_weights).toarray(), [[0.5, 0.5], [0.5, 0.5], [0, 1]], atol=1e-6)


def test_garment_texture_is_the_image_beside_it(garment_path):
    assert meshes.load_garment(garment_path, 5).texture_path is None
    (garment_path.parent / 'hat_diffuse.PNG').write_bytes(b'')
    assert meshes.load_garment(garment_path, 5).texture_path.name == 'hat_diffuse.PNG'


def test_garment_must_bind_every_vertex(garment_path):
    garment_path.write_text(MHCLO.replace('    3\n', ''))
    with pytest.raises(ValueError, match='must bind every vertex.*2 bindings for 3 vertices'):
        meshes.load_garment(garment_path, 5)


def test_normals_are_weighted_by_area():
    # A triangle of area 2 across z and one of area 1/2 across x share vertices 0 and 2.
    positions = np.float32([[0, 0, 0], [4, 0, 0], [0, 1, 0], [0, 0, 1], [5, 5, 5]])
    normals = meshes.vertex_normals(positions, np.array([[0, 1, 2], [0, 2, 3]]))
    shared = np.array([1, 0, 4]) / np.sqrt(17)
    np.testing.assert_allclose(
        normals, [shared, [0, 0, 1], shared, [1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_corners_with_other_texture_vertices_are_split():
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    uv_triangles = np.array([[0, 1, 2], [4, 2, 3]])
    vertices, uv_vertices, corners = meshes.split_corners(triangles, uv_triangles)
    assert len(vertices) == 5  # vertex 0 twice
    np.testing.assert_array_equal(vertices[corners], triangles)
    np.testing.assert_array_equal(uv_vertices[corners], uv_triangles)
