"""Fixtures for tests that need the body data or an OpenGL context; skipped where there is none."""

import os
from pathlib import Path

import pytest

from training.synthetic import body, render, scene

_REPO_DIR = Path(__file__).resolve().parents[2]
_PARSED_TARGETS = (
    'macrodetails/caucasian-male-young', 'macrodetails/caucasian-female-young',
    'macrodetails/universal-male-young-averagemuscle-averageweight',
    'macrodetails/universal-female-young-averagemuscle-averageweight',
    'macrodetails/height/male-young-averagemuscle-averageweight-maxheight')


@pytest.fixture(scope='session')
def full_data_dir():
    """Folder with `makehuman/` and `motions/`."""
    data_dir = Path(os.environ.get('METRO_TF_DATA_DIR', _REPO_DIR.parent / 'shared/data'))
    try:
        scene.check_data_dir(data_dir)
    except ValueError as error:
        pytest.skip(f'Set METRO_TF_DATA_DIR to run this test. {error}')
    return data_dir


@pytest.fixture(scope='session')
def data_dir(full_data_dir, tmp_path_factory):
    """The same folder with few of the morph targets, whose parsing would take a minute."""
    data_dir = tmp_path_factory.mktemp('data')
    (data_dir / 'motions').symlink_to(full_data_dir / 'motions')
    (data_dir / 'makehuman').mkdir()
    for path in (full_data_dir / 'makehuman').iterdir():
        if path.name != 'targets':
            (data_dir / 'makehuman' / path.name).symlink_to(path)
    for name in _PARSED_TARGETS:
        link = data_dir / f'makehuman/targets/{name}.target.gz'
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(full_data_dir / f'makehuman/targets/{name}.target.gz')
    return data_dir


@pytest.fixture(scope='session')
def cache_dir(tmp_path_factory):
    """Folder for the parsed morph targets."""
    return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='session')
def body_model(data_dir, cache_dir):
    """The body model with few morph targets."""
    return body.BodyModel(data_dir / 'makehuman', cache_dir)


@pytest.fixture(scope='session')
def renderer():
    """The OpenGL renderer."""
    try:
        return render.Renderer()
    except RuntimeError as error:
        pytest.skip(f'No rendering here. {error}')
