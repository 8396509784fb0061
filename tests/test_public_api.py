"""The names that users may rely on."""

import configparser
import inspect
import pathlib
import subprocess
import sys

import pytest

import metro_tf
from metro_tf import version

ROOT = pathlib.Path(__file__).parent.parent
PUBLIC_NAMES = [
    '__version__', 'load', 'PoseEstimator', 'EstimatorConfig', 'HeatmapConfig', 'Metrabs', 'Metro',
    'Pose25D', 'LatentMetrabs', 'MargiPose', 'AbsoluteMargiPose', 'PersonDetector', 'Skeleton',
    'crop_people', 'uncrop_poses', 'export', 'geometry', 'losses', 'metrics', 'serving',
    'skeleton']


def test_all_lists_exactly_the_public_names():
    assert metro_tf.__all__ == PUBLIC_NAMES
    assert set(PUBLIC_NAMES) <= set(dir(metro_tf))


@pytest.mark.parametrize('name', PUBLIC_NAMES)
def test_every_name_is_there_and_documented(name):
    value = getattr(metro_tf, name)
    assert inspect.ismodule(value) or isinstance(value, str) or inspect.getdoc(value)


def test_unknown_names_raise_an_attribute_error():
    with pytest.raises(AttributeError, match='no_such_name'):
        metro_tf.no_such_name


def test_export_has_save_and_load():
    assert metro_tf.export.__all__ == ['load', 'save']
    assert metro_tf.export.load is metro_tf.load


def test_importing_the_package_does_not_import_tensorflow():
    script = 'import sys, metro_tf; print("tensorflow" in sys.modules, "keras" in sys.modules)'
    output = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.split() == ['False', 'False']


def test_version_is_that_of_the_package_metadata():
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / 'setup.cfg')
    assert config['metadata']['version'] == 'attr: metro_tf.version.VERSION'
    assert metro_tf.__version__ == version.VERSION


def test_setup_lists_every_package():
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / 'setup.cfg')
    listed = set(config['options']['packages'].split())
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / 'metro_tf').rglob('__init__.py')}
    assert listed == {'.'.join(folder.parts) for folder in folders} | {'metro_tf.saved_models'}
