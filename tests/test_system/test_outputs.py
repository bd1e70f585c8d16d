"""What may be written, and what never is."""

import os

import pytest

from m2h_mm.system import outputs
from m2h_mm.system.outputs import require_free


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photos' / 'a.png'
    path.parent.mkdir()
    path.write_text('a photo')
    return path


def test_what_is_there_is_replaced_only_if_that_is_asked_for(photo, tmp_path):
    new = tmp_path / 'not' / 'there' / 'b.png'
    require_free([new], [photo])
    with pytest.raises(FileExistsError, match=r'a\.png is there already.*--overwrite'):
        require_free([new, photo])
    require_free([new, photo], overwrite=True)
    (tmp_path / 'nowhere').symlink_to(tmp_path / 'gone')
    with pytest.raises(FileExistsError, match='nowhere'):
        require_free([tmp_path / 'nowhere'])


@pytest.mark.parametrize('link', [None, os.symlink, os.link])
@pytest.mark.parametrize('overwrite', [False, True])
def test_an_input_is_never_replaced(photo, tmp_path, link, overwrite):
    output = photo.parent / '..' / 'photos' / 'a.png'
    if link:
        output = tmp_path / 'link.png'
        link(photo, output)
    with pytest.raises(ValueError, match='is read by this command'):
        require_free([output], [photo, 'name_of_a_config'], overwrite)


def test_nothing_is_written_into_a_folder_of_inputs(photo, tmp_path):
    (tmp_path / 'link').symlink_to(photo.parent)
    for output in (photo.parent / 'b.png', tmp_path / 'link' / 'new' / 'b.png'):
        with pytest.raises(
            ValueError, match='Nothing is written into .*photos is read by this command'
        ):
            require_free([output], [photo.parent], overwrite=True)
    require_free([tmp_path / 'photos2' / 'b.png'], [photo.parent])


def test_folders_and_devices_are_no_files_to_write(photo):
    with pytest.raises(ValueError, match='is a folder'):
        require_free([photo.parent], overwrite=True)
    with pytest.raises(ValueError, match='/dev/null is no ordinary file'):
        require_free(['/dev/null'], overwrite=True)


def test_every_output_is_a_file_of_its_own(tmp_path, monkeypatch):
    require_free([tmp_path / 'a.png', tmp_path / 'A.png'])
    with pytest.raises(ValueError, match='are one file'):
        require_free([tmp_path / 'a.png', tmp_path / 'a.png'])
    monkeypatch.setattr(outputs, '_ignores_case', lambda folder: True)  # as on other systems
    with pytest.raises(ValueError, match=r'a\.png and .*A\.png .*are one file'):
        require_free([tmp_path / 'a.png', tmp_path / 'A.png'])


def test_a_folder_that_cannot_be_written_to_is_said_before_the_work(photo, tmp_path, monkeypatch):
    with pytest.raises(NotADirectoryError, match=r'a\.png is a file'):
        require_free([photo / 'new' / 'b.png'])
    require_free([tmp_path / 'new' / 'er' / 'b.png', 'b.png'])
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match='may not be written to. Choose another folder'):
        require_free([tmp_path / 'new' / 'er' / 'b.png'])
