"""Random people out of the MakeHuman folder: shape, skin, clothes, shoes, hair."""

import functools

import numpy as np

from training.synthetic import body as body_lib
from training.synthetic import meshes, person, textures

# Distances in the unmorphed base mesh, 1 unit = 100 mm; the waist is at y = 0.9.
_SLEEVE_ENDS = (1.9, 2.6, 3.0, 4.2)
_SLEEVE_PROBABILITIES = (0.2, 0.25, 0.3, 0.25)
_HEMS = (-7.1, -6.0, -3.4, -2.0, -0.9)
_HEM_PROBABILITIES = (0.42, 0.1, 0.26, 0.14, 0.08)
_WAIST, _NECKLINE, _MIDRIFF = 0.9, 6.0, 2.6
_HELPER_OUTFIT_PROBABILITY = 0.45
_BALD_PROBABILITY, _HAT_PROBABILITY, _GLASSES_PROBABILITY = 0.06, 0.07, 0.1
_BAREFOOT_PROBABILITY = 0.12
_SHOES = tuple(f'shoes0{i}' for i in range(1, 7))
_HATS = ('fedora', 'fedora_cocked', 'knitted_hat_01', 'patrol_cap')
_HAT_HAIR = ('short02', 'short04')
_LONG_HAIR = ('long01', 'ponytail01', 'braid01', 'bob01', 'bob02', 'short01', 'short03', 'afro01')
_SHORT_HAIR = ('short01', 'short02', 'short03', 'short04', 'afro01')
_LENSES = ('glasses',)
# Skin darkness (0 light, 1 dark) that goes with each race slider.
_RACE_DARKNESS = {'african': 0.78, 'asian': 0.32, 'caucasian': 0.22}


class Wardrobe:
    """Draws people at random.

    Args:
        body: `BodyModel`.

    Raises:
        ValueError: If the MakeHuman folder lacks a kind of garment.
    """

    def __init__(self, body):
        self._body = body
        self._dir = body.makehuman_dir
        patterns = (
            'clothes/*/*.mhclo', 'clothes_cc_by/*/*.mhclo', 'hair/*/*.mhclo',
            'eyebrows/*/*.mhclo', 'eyes/low-poly/*.mhclo')
        self._paths = {}
        for pattern in patterns:
            found = {path.stem: path for path in sorted(self._dir.glob(pattern))}
            if not found:
                raise ValueError(f'`makehuman_dir` must hold {pattern}. Received: {self._dir}')
            self._paths.update(found)
        self._garments = {}

    def sample(self, rng):
        """A random `Person`."""
        shape = sample_shape(rng)
        is_male = shape.gender > 0.5
        positions = self._body.morph(shape)
        hidden = np.zeros(len(positions), bool)
        names, cloth_cuts = self._sample_outfit(rng, is_male)
        parts = []
        hair_seed = rng.integers(1 << 32)
        for name in names:
            garment, weights = self._garment(name)
            hidden |= garment.hidden_vertices
            parts.append(person.make_part(
                garment.fit(positions), weights, _mesh_triangles(garment.mesh),
                self._texture(name, garment, rng, np.random.default_rng(hair_seed))))
        for group, cut, thickness in cloth_cuts:
            hidden |= self._body_cut(cut) > 0.35
            parts.append(self._helper_part(group, cut, thickness, positions, rng))
        parts.append(self._skin_part(positions, hidden, shape.race, rng))
        return person.join(parts, self._body, positions)

    def _sample_outfit(self, rng, is_male):
        """Names of garments, and helper garments as (group, cut function, thickness)."""
        names = ['low-poly', f'eyebrow{rng.integers(1, 13):03d}']
        cuts = []
        if rng.random() < _HELPER_OUTFIT_PROBABILITY:
            cuts = _sample_helper_clothes(rng, is_male)
            if is_male and rng.random() < 0.25:
                cuts = [cut for cut in cuts if cut[0] == 'helper-tights' and cut[2] > 0.08]
                names.append('m_trousers_01')
        else:
            prefix = 'male' if is_male else 'female'
            names.append(rng.choice([
                name for name in self._paths if name.startswith(prefix) and 'suit' in name]))
        if rng.random() > _BAREFOOT_PROBABILITY:
            names.append('shoes_biker_boots_male' if rng.random() < 0.04 else rng.choice(_SHOES))
        if rng.random() < _HAT_PROBABILITY:
            names += [rng.choice(_HATS), rng.choice(_HAT_HAIR)]
        elif rng.random() > (_BALD_PROBABILITY if is_male else 0):
            names.append(rng.choice(_SHORT_HAIR if is_male and rng.random() < 0.9 else _LONG_HAIR))
        if rng.random() < _GLASSES_PROBABILITY:
            names.append('glasses')
        return [str(name) for name in names], cuts

    def _garment(self, name):
        """The garment of a name and its skin weights, read on first use."""
        if name not in self._garments:
            garment = meshes.load_garment(self._paths[name], len(self._body.mesh.positions))
            self._garments[name] = garment, garment.skin_weights(self._body.weights)
        return self._garments[name]

    def _texture(self, name, garment, rng, hair_rng):
        """Texture of a garment; hair and eyebrows share `hair_rng` and so their colour."""
        source = None if garment.texture_path is None else textures.load(garment.texture_path)
        if name == 'low-poly':
            eyes = sorted((self._dir / 'eyes/materials').glob('*.png'))
            return textures.load(eyes[rng.integers(len(eyes))])
        if 'hair' in self._paths[name].parts or name.startswith('eyebrow'):
            return textures.hair(source, hair_rng)
        if source is None:
            return textures.cloth(rng)
        return textures.shift_colors(source, rng) if name not in _LENSES else source

    def _helper_part(self, group, cut, thickness, positions, rng):
        """A `Part` of cloth made of helper geometry, projected texture from front and back."""
        triangles = self._body.mesh.triangles[self._body.mesh.groups[group]]
        uvs = (self._body.mesh.positions[:, :2] / 4).astype(np.float32)
        return person.make_part(
            positions, self._body.weights, (triangles, triangles, uvs), textures.cloth(rng),
            cut=self._body_cut(cut), thickness=thickness)

    def _skin_part(self, positions, hidden, race, rng):
        """The visible skin."""
        mesh = self._body.mesh
        darkness = float(np.dot(race, list(_RACE_DARKNESS.values())))
        texture = textures.skin(self._dir / 'skin_masks', darkness, rng)
        body_slice = mesh.groups['body']
        triangles = mesh.triangles[body_slice]
        shown = ~hidden[triangles].all(axis=-1)
        return person.make_part(
            positions, self._body.weights,
            (triangles[shown], mesh.uv_triangles[body_slice][shown], mesh.uvs), texture)

    def _body_cut(self, cut):
        """Values of a cut function at the vertices of the unmorphed base mesh."""
        return cut(self._body.mesh.positions).astype(np.float32)


def sample_shape(rng):
    """A random `BodyShape`: mostly ordinary adults, some children and old people."""
    is_male = rng.random() < 0.55
    race = rng.dirichlet([0.35] * 3)
    age = rng.choice([rng.uniform(0.4, 0.6), rng.uniform(0.6, 1.0), rng.uniform(0.19, 0.4)],
                     p=[0.75, 0.19, 0.06])
    height = rng.uniform(0.35, 0.62) if rng.random() < 0.9 else rng.uniform(0.28, 0.68)
    return body_lib.BodyShape(
        gender=float(np.clip(is_male + rng.normal(0, 0.12) * (-1 if is_male else 1), 0, 1)),
        age=float(age), muscle=float(rng.beta(2.2, 2)), weight=float(rng.beta(2.2, 2.4)),
        height=float(height), proportions=float(rng.uniform(0.2, 1)), cup=float(rng.beta(2, 2)),
        firmness=float(rng.uniform(0.3, 1)), race=tuple(map(float, race)))


def _sample_helper_clothes(rng, is_male):
    """Helper garments as (group, cut function, thickness); thickness also tells the layer."""
    cuts = []
    hem = rng.choice(_HEMS, p=_HEM_PROBABILITIES) + rng.uniform(-0.3, 0.2)
    if not is_male and rng.random() < 0.15:
        cuts.append(('helper-skirt', functools.partial(_bottom_cut, hem=min(hem, -1.5)), 0.04))
        hem = -0.8
    cuts.append(('helper-tights', functools.partial(_bottom_cut, hem=hem), 0.05))
    if is_male and rng.random() < 0.25:
        return cuts
    is_short = not is_male and rng.random() < 0.2
    sleeve_end = rng.choice(_SLEEVE_ENDS, p=_SLEEVE_PROBABILITIES) + rng.uniform(-0.2, 0.2)
    top = functools.partial(
        _top_cut, low=_MIDRIFF if is_short else _WAIST - rng.uniform(0.2, 0.9),
        high=_NECKLINE - rng.uniform(0, 0.5), sleeve_end=sleeve_end)
    return cuts + [('helper-tights', top, 0.1)]


def _bottom_cut(positions, hem):
    """Positive between hem and waist, zero at both."""
    return np.minimum(_WAIST - positions[:, 1], positions[:, 1] - hem)


def _top_cut(positions, low, high, sleeve_end):
    """Positive on the trunk and down to the end of the sleeves; the arms slope downwards."""
    return np.minimum.reduce([
        positions[:, 1] - low, high - positions[:, 1], sleeve_end - np.abs(positions[:, 0])])


def _mesh_triangles(mesh):
    """The triple that `person.make_part` takes."""
    return mesh.triangles, mesh.uv_triangles, mesh.uvs
