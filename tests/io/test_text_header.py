"""Headers of MetaImage and NRRD files, checked before ITK acts on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import DataError
from fednnunet.io.text_header import check_text_header

META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "ElementSpacing": "1 1 2",
    "Offset": "0 0 0",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "DimSize": "2 3 4",
    "ElementType": "MET_SHORT",
}
NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "2 3 4",
    "space directions": "(1,0,0) (0,1,0) (0,0,2)",
    "space origin": "(0,0,0)",
    "encoding": "raw",
}
BYTES = 2 * 2 * 3 * 4


def meta(folder: Path, *, room: int = BYTES, **changes: str | None) -> Path:
    fields = {name: text for name, text in {**META, **changes}.items() if text is not None}
    lines = [f"{name} = {text}" for name, text in fields.items()]
    path = folder / "a.mha"
    path.write_bytes("\n".join([*lines, "ElementDataFile = LOCAL\n"]).encode() + bytes(room))
    return path


def nrrd(folder: Path, *, room: int = BYTES, **changes: str | None) -> Path:
    own = {name.replace("_", " "): text for name, text in changes.items()}
    fields = {name: text for name, text in {**NRRD, **own}.items() if text is not None}
    lines = ["NRRD0004", "# a comment", "key:=value"]
    lines += [f"{name}: {text}" for name, text in fields.items()]
    path = folder / "a.nrrd"
    path.write_bytes("\n".join([*lines, "", ""]).encode() + bytes(room))
    return path


@pytest.mark.parametrize("write", [meta, nrrd])
def test_voxels_must_be_as_many_as_promised(tmp_path, write):
    check_text_header(write(tmp_path))
    with pytest.raises(DataError, match="too short for the 48 bytes"):
        check_text_header(write(tmp_path, room=BYTES - 1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"NDims": "7"}, "NDims 7"),
        ({"NDims": "three"}, "no whole number"),
        ({"NDims": None}, "NDims"),
        ({"DimSize": "2 3"}, "the size '2 3' of 3 axes"),
        ({"DimSize": "2 0 4"}, "the size '2 0 4'"),
        ({"ElementType": "MET_OTHER"}, "voxels of the type 'MET_OTHER'"),
        ({"ObjectType": "Tube"}, "an object of type 'Tube'"),
        ({"ElementSpacing": "1 nan 1"}, "not finite"),
        ({"Offset": "0 0"}, "which is not 3 numbers"),
        ({"TransformMatrix": "1 0 0 x 1 0 0 0 1"}, "which is no number"),
        ({"BinaryData": "perhaps"}, "BinaryData = 'perhaps'"),
    ],
)
def test_a_meta_image_that_states_what_cannot_be_is_refused(tmp_path, changes, words):
    with pytest.raises(DataError, match=words):
        check_text_header(meta(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dimension": "9"}, "dimension 9"),
        ({"sizes": "2 3"}, "the size '2 3' of 3 axes"),
        ({"type": "block"}, "voxels of the type 'block'"),
        ({"encoding": "zip"}, "the encoding 'zip'"),
        ({"space_directions": "(1,0,0) (0,1,0)"}, "space directions"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0,0)"}, "space directions"),
        ({"space_origin": "(0,0,inf)"}, "not finite"),
        ({"byte_skip": "999"}, "byte skip 999"),
    ],
)
def test_an_nrrd_file_that_states_what_cannot_be_is_refused(tmp_path, changes, words):
    with pytest.raises(DataError, match=words):
        check_text_header(nrrd(tmp_path, **changes))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.mha", b"NDims = 3\n", "its header has no end"),
        ("a.mha", b"NDims = 3\nNDims = 3\n", "'NDims' twice"),
        ("a.mha", b"\xff\xfe = 3\n", "its header is not text"),
        ("a.nrrd", b"NRRD0009\n", "does not begin as NRRD files do"),
        ("a.nrrd", b"NRRD0004\ntype: short\ntype: short\n\n", "'type' twice"),
        ("a.nrrd", b"NRRD0004\ntype: short\n", "its header has no end"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        check_text_header(tmp_path / name)


def test_voxels_as_text_need_a_byte_each(tmp_path):
    check_text_header(meta(tmp_path, room=24, BinaryData="False"))
    check_text_header(nrrd(tmp_path, room=24, encoding="ascii"))
    with pytest.raises(DataError, match="too short"):
        check_text_header(nrrd(tmp_path, room=23, encoding="ascii"))
