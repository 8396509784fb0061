"""`metro-tf export-onnx` and `export-tflite` tell what they wrote or what was wrong."""

import logging

import pytest

from metro_tf.export import onnx, tflite
from metro_tf.tools import cli


def fake_export(name_or_path, out_dir, *, overwrite=False):
    """Writes a file and advice that nobody wants to read."""
    logging.warning('consider this')
    out_dir.mkdir(exist_ok=overwrite)
    (out_dir / 'crop_model.onnx').write_bytes(b'x' * 20000)


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.setattr(onnx, 'export_onnx', fake_export)
    monkeypatch.setattr(tflite, 'convert', lambda name_or_path: name_or_path.encode())

    def call(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())
    return call


def test_onnx_files_are_listed(run, tmp_path, caplog):
    code, text, errors = run('export-onnx', '--out', tmp_path / 'out')
    assert code == 0 and errors == ''
    assert text == f'{tmp_path / "out" / "crop_model.onnx"}   0.02 MB\n'
    assert caplog.records == []
    assert logging.root.manager.disable == 0


def test_existing_folder_is_refused_before_the_model_is_loaded(run, tmp_path):
    code, text, errors = run('export-onnx', '--out', tmp_path)
    assert code == 2 and text == ''
    assert '`--out` must be a new folder unless there is `--overwrite`' in errors
    assert run('export-onnx', '--out', tmp_path, '--overwrite')[0] == 0


def test_unusable_model_is_told(run, tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise ValueError('no such model')

    monkeypatch.setattr(onnx, 'export_onnx', fail)
    code, _, errors = run('export-onnx', 'huge', '--out', tmp_path / 'out')
    assert code == 2 and "'huge' cannot be converted: no such model" in errors
    assert logging.root.manager.disable == 0


def test_tflite_file_is_written(run, tmp_path):
    path = tmp_path / 'crop.tflite'
    code, text, _ = run('export-tflite', 'some/model', '--out', path)
    assert code == 0 and text == f'{path}   0.00 MB\n'
    assert path.read_bytes() == b'some/model'


@pytest.mark.parametrize('name', ['crop.onnx', 'no_folder/crop.tflite'])
def test_wrong_names_of_tflite_files_are_refused(run, tmp_path, name):
    code, _, errors = run('export-tflite', '--out', tmp_path / name)
    assert code == 2 and '`--out` must be a file in an existing folder' in errors
