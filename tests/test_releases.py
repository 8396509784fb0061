import pathlib

import pytest

import metro_tf
from metro_tf import releases


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Folder of the models of a checkout."""
    monkeypatch.setattr(releases, '_PACKAGE_DIR', tmp_path / 'metro_tf')
    return tmp_path / 'saved_models'


def fake_models(root, *names, file='saved_model.pb'):
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / file).touch()


def fake_weights(root, *names, network='crop_model'):
    fake_models(root, *names, file=f'{network}.npz')


def test_names_mean_the_highest_version(root):
    fake_models(root, 'default/2', 'default/10', 'default/9', 'small/1.9', 'small/1.10')
    (root / 'default' / '11').mkdir()  # without a model
    assert releases.find('default').name == '10'
    assert releases.find('default/9').name == '9'
    assert releases.find('small').name == '1.10'


def test_installed_models_go_before_those_of_a_checkout(root, tmp_path):
    fake_models(tmp_path, 'saved_models/default/1', 'metro_tf/saved_models/default/1')
    fake_weights(tmp_path, 'saved_models/default_keras/1', 'metro_tf/saved_models/default_keras/1')
    installed = tmp_path / 'metro_tf' / 'saved_models'
    assert releases.find() == installed / 'default' / '1'
    assert releases.find_weights('default', releases.CROP_MODEL) == (
        installed / 'default_keras' / '1' / 'crop_model.npz')


def test_wrong_names_and_folders_are_refused(root, tmp_path):
    fake_models(root, 'default/1')
    with pytest.raises(ValueError, match="(?s)one of .*'default'.*Received: 'huge'"):
        metro_tf.load('huge')
    with pytest.raises(ValueError, match='`name_or_path` must be the folder of a SavedModel'):
        metro_tf.load(pathlib.Path(tmp_path))


def test_weights_by_name_and_version(root):
    fake_models(root, 'default/2', 'default/10')
    fake_weights(root, 'default_keras/2', 'default_keras/10')
    fake_weights(root, 'default_keras/2', network='detector')
    assert releases.find_weights('default', releases.CROP_MODEL) == (
        root / 'default_keras' / '10' / 'crop_model.npz')
    assert releases.find_weights('default/2', releases.DETECTOR) == (
        root / 'default_keras' / '2' / 'detector.npz')


def test_weights_without_an_export_have_a_name_too(root):
    fake_models(root, 'default/5')
    fake_weights(root, 'default_keras/6')
    assert releases.find_weights('default', releases.CROP_MODEL).parent.name == '6'
    with pytest.raises(ValueError, match="one of .'default', 'default/5'.. Received: 'default/6'"):
        releases.find('default/6')


def test_weights_by_path(tmp_path):
    fake_models(tmp_path, 'own/1')
    fake_weights(tmp_path, 'own_keras/1')
    file = tmp_path / 'own_keras' / '1' / 'crop_model.npz'
    for path in (file, file.parent, tmp_path / 'own' / '1', str(tmp_path / 'own' / '1')):
        assert releases.find_weights(path, releases.CROP_MODEL) == file


def test_paths_of_exports_may_be_relative(tmp_path, monkeypatch):
    fake_models(tmp_path, 'own/1')
    fake_weights(tmp_path, 'own_keras/1')
    monkeypatch.chdir(tmp_path / 'own')
    assert releases.find_weights('1', releases.CROP_MODEL) == (
        tmp_path / 'own_keras' / '1' / 'crop_model.npz')


def test_a_release_without_weights_says_how_to_get_them(root):
    fake_models(root, 'default/6', 'default/5')
    fake_weights(root, 'default_keras/5')
    message = 'comes with the weights of its {}, which training.export writes.*default_keras/{}'
    for name, network in (('default', 'crop_model'), ('default/6', 'crop_model'),
                          (root / 'default' / '6', 'crop_model')):
        with pytest.raises(ValueError, match=message.format(network, 6)):
            releases.find_weights(name, network)
    with pytest.raises(ValueError, match=message.format('detector', 5)):
        releases.find_weights('default/5', releases.DETECTOR)


def test_unknown_names_list_what_there_is(root):
    fake_models(root, 'default/5')
    fake_weights(root, 'small_keras/2')
    with pytest.raises(ValueError, match="one of .'default', 'default/5', 'small', 'small/2'.. "
                                         "Received: 'huge'"):
        releases.find_weights('huge', releases.CROP_MODEL)
