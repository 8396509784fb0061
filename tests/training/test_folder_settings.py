import json
import os

import pytest

from training import folder_settings

SETTINGS = {'seed': 3, 'sources': ['a', 'b'], 'augment': {'shift': 0.1, 'view': {'zoom': 2}}}


def test_settings_are_written_once(tmp_path):
    folder_settings.keep(tmp_path, SETTINGS, 'out_dir')
    path = tmp_path / 'settings.json'
    assert json.loads(path.read_text()) == SETTINGS
    before = path.stat().st_mtime_ns
    folder_settings.keep(str(tmp_path), {**SETTINGS, 'sources': ('a', 'b')}, 'out_dir')
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize('change, message', [
    ({'seed': 4}, 'seed was 3 and is 4'),
    ({'sources': ['b']}, r"sources was \['a', 'b'\] and is \['b'\]"),
    ({'augment': {'shift': 0.1, 'view': {'zoom': 3}}}, r'augment\.view\.zoom was 2 and is 3'),
    ({'more': 1}, 'more was None and is 1')])
def test_each_difference_is_named(tmp_path, change, message):
    folder_settings.keep(tmp_path, SETTINGS, 'out_dir')
    text = (tmp_path / 'settings.json').read_text()
    with pytest.raises(
            ValueError, match='^`out_dir` must be new or made with the same settings. Received: '
            f'{tmp_path}, where {message}$'):
        folder_settings.keep(tmp_path, {**SETTINGS, **change}, 'out_dir')
    assert (tmp_path / 'settings.json').read_text() == text


def test_a_setting_that_is_gone_is_a_difference(tmp_path):
    folder_settings.keep(tmp_path, SETTINGS, 'folder')
    with pytest.raises(ValueError, match='`folder` must be new .* where seed was 3 and is None'):
        folder_settings.keep(
            tmp_path, {name: SETTINGS[name] for name in ('sources', 'augment')}, 'folder')


@pytest.mark.parametrize('text', ['', '{"seed": 3', '[3]'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / 'settings.json').write_text(text)
    with pytest.raises(ValueError, match='`folder` must be new .* whose settings.json is damaged'):
        folder_settings.keep(tmp_path, SETTINGS, 'folder')


def test_a_kill_while_writing_leaves_no_settings(tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt
    with monkeypatch.context() as patches, pytest.raises(KeyboardInterrupt):
        patches.setattr(os, 'replace', killed)
        folder_settings.keep(tmp_path, SETTINGS, 'folder')
    assert not list(tmp_path.iterdir())
    folder_settings.keep(tmp_path, SETTINGS, 'folder')
