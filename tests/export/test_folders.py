import pytest

from metro_tf.export import folders


def test_folder_appears_whole(tmp_path):
    with folders.written_whole(tmp_path / 'a' / 'model', overwrite=False) as folder:
        (folder / 'file').write_text('new')
        assert not (tmp_path / 'a' / 'model').exists()
    assert (tmp_path / 'a' / 'model' / 'file').read_text() == 'new'
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['model']


def test_existing_folder_is_replaced_only_if_told(tmp_path):
    (tmp_path / 'old').write_text('mine')
    (tmp_path / 'model').mkdir()
    (tmp_path / 'model' / 'old').touch()
    with pytest.raises(ValueError, match='`path` must not exist unless `overwrite` is set'):
        with folders.written_whole(tmp_path / 'model', overwrite=False):
            raise AssertionError('must not be reached')
    with folders.written_whole(tmp_path / 'model', overwrite=True) as folder:
        (folder / 'new').touch()
        assert (tmp_path / 'model' / 'old').exists()
    assert [path.name for path in (tmp_path / 'model').iterdir()] == ['new']


def test_failure_leaves_what_was_there(tmp_path):
    (tmp_path / 'model').mkdir()
    (tmp_path / 'model' / 'old').touch()
    with pytest.raises(OSError, match='disk full'):
        with folders.written_whole(tmp_path / 'model', overwrite=True) as folder:
            (folder / 'new').touch()
            raise OSError('disk full')
    assert [path.name for path in tmp_path.iterdir()] == ['model']
    assert [path.name for path in (tmp_path / 'model').iterdir()] == ['old']
