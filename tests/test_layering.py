"""Who may import whom: a module uses only what stands above it in this table."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
BASE = ['config', 'skeleton', 'checks', 'version']
GEOMETRY = ['geometry.' + name for name in (
    'masked', 'boxes', 'rotation', 'distortion', 'camera', 'alignment', 'reconstruction',
    'root_depth', 'cuboid', 'voxels')]

# In the order of the data: module or folder (of metro_tf) to what it may import besides itself.
LIBRARY = {
    'version': [], 'checks': [], 'config': ['checks'], 'skeleton': ['checks'],
    'skeleton_maps': ['skeleton'], 'releases': [], 'weights': [],
    **{name: ['checks', *GEOMETRY[:i]] for i, name in enumerate(GEOMETRY)},
    'geometry': ['checks', *GEOMETRY],
    'backbones': ['checks'],
    'detection': ['checks', 'releases', 'weights', 'geometry', 'backbones'],
    'cropping': ['checks', 'geometry'],
    'layers': ['checks', 'geometry'],
    'losses': ['checks', 'geometry'], 'metrics': ['checks', 'geometry'],
    'models': [*BASE, 'releases', 'weights', 'layers', 'backbones', 'geometry'],
    'plausibility': [*BASE, 'geometry'], 'tta': [*BASE, 'geometry'],
    'arguments': [], 'call_spec': ['arguments'],
    'calibration': [*BASE, 'geometry'], 'crop_network': BASE,
    'serving': ['arguments'], 'onnx': ['arguments'],
    'prediction': [*BASE, 'geometry', 'cropping', 'tta', 'crop_network'],
    'estimator': [
        *BASE, 'geometry', 'cropping', 'tta', 'plausibility', 'detection', 'arguments',
        'call_spec', 'calibration', 'crop_network', 'prediction']}
LIBRARY['export'] = list(LIBRARY)
LIBRARY['tools'] = list(LIBRARY)
LIBRARY['__init__'] = list(LIBRARY)

# Rows of `training`; files that are in none are programs, which may use all of them.
TRAINING = {
    'proportions': [], 'config': ['proportions'],
    'folder_settings': [], 'datasets': [], 'original_weights': ['datasets'],
    'synthetic': ['datasets', 'folder_settings'], 'augment': [],
    'mixing': ['config', 'datasets', 'proportions'], 'pipeline': ['config', 'mixing', 'augment'],
    'trainers': ['addons', 'config', 'randomness'],
    'crop_models': ['config', 'datasets'], 'schedules': [],
    'addons': [], 'optimizers': ['schedules'], 'backbone_changes': [], 'randomness': [],
    'layer_weights': [], 'worker_processes': [],
    'callbacks': ['addons', 'randomness'],
    'run': ['addons', 'callbacks', 'folder_settings', 'optimizers', 'schedules'],
    'detection': ['config', 'datasets', 'augment', 'schedules'],
    'evaluation': ['augment', 'config', 'datasets', 'pipeline'],
    'cached_batches': ['config', 'datasets', 'folder_settings'],
    'train': [
        'backbone_changes', 'callbacks', 'config', 'crop_models', 'mixing', 'pipeline',
        'randomness', 'run', 'trainers'],
    'configs': ['config', 'detection.config']}


def imported_modules(path, package):
    """Dotted names of the package's modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names |= {resolved(node.module, alias.name) for alias in node.names}
    return {name for name in names if name.split('.')[0] == package}


def resolved(module, name):
    """`module.name` where that is a module, else `module`."""
    target = ROOT.joinpath(*module.split('.'), name)
    return f'{module}.{name}' if target.is_dir() or target.with_suffix('.py').is_file() else module


def is_within(name, allowed):
    return any(name == entry or name.startswith(entry + '.') for entry in allowed)


def row_of(name, table):
    """The most specific row that a module belongs to."""
    return max((row for row in table if is_within(name, [row])), key=len, default=None)


def library_files():
    return sorted((ROOT / 'metro_tf').rglob('*.py'))


def dotted(path, package):
    parts = list(path.relative_to(ROOT / package).with_suffix('').parts)
    return '.'.join(parts[:-1] if parts[-1] == '__init__' and len(parts) > 1 else parts)


@pytest.mark.parametrize('path', library_files(), ids=lambda path: dotted(path, 'metro_tf'))
def test_library_module_imports_only_from_rows_above(path):
    name = dotted(path, 'metro_tf')
    row = row_of(name, LIBRARY)
    assert row is not None, f'{name} is not in the table'
    imported = {target.removeprefix('metro_tf').removeprefix('.') or '__init__'
                for target in imported_modules(path, 'metro_tf')}
    offenders = {
        target for target in imported
        if not is_within(target, [*LIBRARY[row], row]) and row_of(target, LIBRARY) != row}
    assert not offenders, f'{name} must not import {sorted(offenders)}'


@pytest.mark.parametrize('path', library_files(), ids=lambda path: dotted(path, 'metro_tf'))
def test_library_never_imports_training_or_tests(path):
    assert not imported_modules(path, 'training')
    assert not imported_modules(path, 'tests')


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'training').rglob('*.py')), ids=lambda path: dotted(path, 'training'))
def test_training_module_imports_only_from_rows_above(path):
    name = dotted(path, 'training')
    row = row_of(name, TRAINING)
    programs_use_everything = row is None
    allowed = list(TRAINING) if programs_use_everything else [*TRAINING[row], row]
    imported = {target.removeprefix('training').removeprefix('.') or '__init__'
                for target in imported_modules(path, 'training')}
    offenders = {target for target in imported if not is_within(target, [*allowed, '__init__'])}
    assert not offenders, f'training.{name} must not import {sorted(offenders)}'


@pytest.mark.parametrize('package', ['metro_tf', 'training'])
def test_no_module_is_called_utils(package):
    assert not list((ROOT / package).rglob('utils.py'))


def test_the_check_notices_a_wrong_import(tmp_path):
    path = tmp_path / 'module.py'
    path.write_text('def f():\n    from metro_tf.estimator import PoseEstimator\n')
    assert imported_modules(path, 'metro_tf') == {'metro_tf.estimator'}
    assert not is_within('estimator', LIBRARY['geometry'])
