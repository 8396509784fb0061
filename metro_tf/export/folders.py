"""Writing of whole folders that are never seen half-written."""

import contextlib
import pathlib
import shutil
import tempfile


@contextlib.contextmanager
def written_whole(path, overwrite):
    """Context in which a folder is filled that appears under its name when all went well.

    Args:
        path: Path of the folder. Its parents are made.
        overwrite: Whether to replace an existing folder.

    Yields:
        `pathlib.Path` of an empty folder to write into.

    Raises:
        ValueError: If the folder exists and `overwrite` is False.
    """
    path = pathlib.Path(path)
    if path.exists() and not overwrite:
        raise ValueError(f'`path` must not exist unless `overwrite` is set. Received: {path}')
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename is atomic only within a file system.
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
    try:
        (temporary / 'new').mkdir()
        yield temporary / 'new'
        if path.exists():
            path.rename(temporary / 'old')
        (temporary / 'new').rename(path)
    finally:
        shutil.rmtree(temporary)
