import json
import stat

import numpy as np
import pytest

pytest.importorskip("highdicom")
pytest.importorskip("rt_utils")

import pydicom

from fednnunet import io
from fednnunet.dataset import list_images, read_dataset
from fednnunet.dataset_header import task_of
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.preprocess.check import check_site
from fednnunet.preprocess.dicom import Channel, convert_dicom
from tests.preprocess.dicom_files import (
    AXES,
    IDENTITY,
    NAME,
    ORIGIN,
    SHAPE,
    SPACING,
    write_rtstruct,
    write_seg,
    write_series,
)
from tests.preprocess.programs import load_program

CT = (Channel(name="CT"),)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


@pytest.fixture
def voxels():
    return np.random.default_rng(2).integers(-1000, 1200, SHAPE).astype(float)


@pytest.fixture
def masks():
    liver, tumour = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    liver[1:5, 4:15, 5:18] = True
    tumour[2:4, 7:10, 8:12] = True
    return {"Liver": liver, "tumour": tumour}


def convert(folder, out, **options):
    options = {"mapping_path": out.with_name("who.json"), "channels": CT} | options
    return convert_dicom(folder, out, **options)


@pytest.mark.parametrize("axes", [AXES, SAGITTAL])
def test_a_series_with_a_seg_becomes_a_case_on_its_own_grid(tmp_path, voxels, masks, axes):
    slices = write_series(tmp_path / "in" / "a", voxels, axes=axes)
    write_seg(tmp_path / "in" / "s" / "seg.dcm", slices, masks)
    done = convert(tmp_path / "in", tmp_path / "out", labels=("liver", "tumour"))
    assert not done.faults
    site = read_dataset(tmp_path / "out", task_of(tmp_path / "out"))
    (case,) = site.cases
    image, label = io.read_volume(case.images), io.read_label(case.label)
    assert np.array_equal(image.array[0], voxels)
    assert image.geometry.agrees_with(label.geometry)
    assert image.spacing_mm == pytest.approx(SPACING)
    assert image.geometry.origin_mm == pytest.approx(ORIGIN)
    expected = masks["Liver"].astype(int)
    expected[masks["tumour"]] = 2
    assert np.array_equal(label.array[0], expected)
    assert any("tumour overwrites 24 voxels" in note for note in done.notes)
    assert check_site(tmp_path / "out").verdict == "fit"


def test_slices_with_slopes_of_their_own_are_rescaled(tmp_path, voxels, masks):
    slices = write_series(tmp_path / "in" / "a", voxels, modality="PT")
    write_seg(tmp_path / "in" / "seg.dcm", slices, masks)
    done = convert(tmp_path / "in", tmp_path / "out", channels=(Channel(name="PET"),))
    image = io.read_volume([tmp_path / "out" / "imagesTr" / f"{done.cases[0]}_0000.nii.gz"])
    assert np.abs(image.array[0] - voxels).max() <= 4


def test_contours_give_back_the_masks_they_were_made_from(tmp_path, voxels, masks):
    write_series(tmp_path / "in" / "a", voxels, in_plane=(0.8, 0.8))
    masks["Liver"][3, 8:11, 8:14] = False  # a hole
    write_rtstruct(tmp_path / "in" / "rt" / "rt.dcm", tmp_path / "in" / "a", masks)
    done = convert(tmp_path / "in", tmp_path / "out", labels=("Liver",))
    assert not done.faults
    label = io.read_label(tmp_path / "out" / "labelsTr" / f"{done.cases[0]}.nii.gz").array[0]
    assert np.array_equal(label, masks["Liver"])
    assert any("ignored structures: tumour" in note for note in done.notes)


def test_no_file_of_the_folder_tells_who_the_patient_is(tmp_path, voxels, masks):
    slices = write_series(tmp_path / "in" / NAME, voxels)
    write_seg(tmp_path / "in" / "seg.dcm", slices, masks)
    convert(tmp_path / "in", tmp_path / "out")
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 3
    for path in written:
        for secret in (NAME, IDENTITY, slices[0].SeriesInstanceUID, slices[0].StudyInstanceUID):
            assert secret not in str(path.relative_to(tmp_path / "out"))
            assert secret.encode() not in path.read_bytes()
    mapping = tmp_path / "who.json"
    assert IDENTITY in mapping.read_text()
    assert stat.S_IMODE(mapping.stat().st_mode) == 0o600
    with pytest.raises(InputError, match="may be shared"):
        convert(tmp_path / "in", tmp_path / "out", mapping_path=tmp_path / "out" / "who.json")


def test_known_cases_keep_their_names_and_a_patient_keeps_his_group(tmp_path, voxels, masks):
    for number, patient in enumerate(("p1", "p1", "p2")):
        slices = write_series(tmp_path / "in" / str(number), voxels + number, patient=patient)
        write_seg(tmp_path / "in" / f"{number}.dcm", slices, masks)
    first = convert(tmp_path / "in", tmp_path / "out")
    before = json.loads((tmp_path / "who.json").read_text())["cases"]
    slices = write_series(tmp_path / "in" / "new", voxels - 1, patient="p2")
    write_seg(tmp_path / "in" / "new.dcm", slices, masks)
    second = convert(tmp_path / "in", tmp_path / "out")
    after = json.loads((tmp_path / "who.json").read_text())["cases"]
    assert (len(first.cases), len(second.cases)) == (3, 4)
    assert {name: after[name] for name in before} == before
    groups = read_dataset(tmp_path / "out", task_of(tmp_path / "out")).cases
    by_patient = {(after[case.name]["patient"], case.group) for case in groups}
    assert len(by_patient) == 2


def test_what_is_not_one_whole_volume_is_refused_by_name_and_the_rest_converted(
    tmp_path, voxels, masks
):
    folder = tmp_path / "in"
    spoilt = {
        "gap": {"skip": (3,)},
        "tilted": {"shear": 0.5},
        "single": {"skip": (1, 2, 3, 4, 5)},
    }
    for name, how in spoilt.items():
        slices = write_series(folder / name, voxels, **how)
        kept = [int(s.InstanceNumber) - 1 for s in slices]
        write_seg(folder / f"{name}.dcm", slices, {"Liver": masks["Liver"][kept] | True})
    uid, study, frame = (pydicom.uid.generate_uid() for _ in range(3))
    common = {"uid": uid, "study": study, "frame": frame}
    slices = write_series(folder / "echoes", voxels, **common)
    write_seg(folder / "echoes.dcm", slices, masks)
    write_series(folder / "echoes", voxels + 1, **common)
    good = write_series(folder / "good", voxels)
    write_seg(folder / "good.dcm", good, masks)
    (folder / "note.txt").write_text("no DICOM")
    done = convert(folder, tmp_path / "out")
    assert len(done.cases) == 1
    text = "\n".join(map(str, done.faults))
    for words in (
        "misses slices: about 1",
        "tilted gantry",
        "a single slice",
        "several slices at one position",
    ):
        assert words in text
    assert len(done.faults) == 4


def test_channels_are_found_by_their_description_and_must_share_a_grid(tmp_path, voxels, masks):
    study = pydicom.uid.generate_uid()
    folder = tmp_path / "in"
    mr = {"modality": "MR", "study": study}
    write_series(folder / "t2", voxels + 5, description="ax T2 tse", **mr)
    slices = write_series(folder / "t1", voxels, description="ax T1 gd", **mr)
    write_seg(folder / "seg.dcm", slices, masks)
    channels = (Channel(name="T1", pattern="t1"), Channel(name="T2", pattern="t2"))
    done = convert(folder, tmp_path / "out", channels=channels)
    paths = [tmp_path / "out" / "imagesTr" / f"{done.cases[0]}_{c:04d}.nii.gz" for c in range(2)]
    assert np.array_equal(io.read_volume(paths).array, np.stack([voxels, voxels + 5]))
    write_series(folder / "flair", voxels, description="flair", axes=SAGITTAL, **mr)
    others = (channels[0], Channel(name="FLAIR", pattern="flair"))
    refused = convert(folder, tmp_path / "other", channels=others)
    assert "not on one grid" in str(refused.faults[0])
    refused = convert(folder, tmp_path / "third", channels=(channels[0], Channel(name="ADC")))
    assert "2 series of a study fit channel ADC" in str(refused.faults[0])


def test_a_multiframe_series_is_one_volume(tmp_path, voxels, masks):
    import highdicom as hd

    slices = write_series(tmp_path / "single", voxels, modality="CT")
    for ds in slices:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.KVP, ds.AcquisitionNumber = 120, 1
    legacy = hd.legacy.LegacyConvertedEnhancedCTImage(
        slices, pydicom.uid.generate_uid(), 2, pydicom.uid.generate_uid(), 1
    )
    (tmp_path / "in").mkdir()
    legacy.save_as(tmp_path / "in" / "multi.dcm")
    write_seg(tmp_path / "in" / "seg.dcm", [pydicom.dcmread(tmp_path / "in" / "multi.dcm")], masks)
    done = convert(tmp_path / "in", tmp_path / "out")
    assert not done.faults
    image = io.read_volume([tmp_path / "out" / "imagesTr" / f"{done.cases[0]}_0000.nii.gz"])
    label = io.read_label(tmp_path / "out" / "labelsTr" / f"{done.cases[0]}.nii.gz")
    assert np.array_equal(np.sort(image.array.ravel()), np.sort(voxels.ravel()))
    assert image.geometry.agrees_with(label.geometry)
    inside = image.array[0][label.array[0] > 0]
    assert np.array_equal(np.sort(inside), np.sort(voxels[masks["Liver"] | masks["tumour"]]))


def test_the_program_says_what_it_did(tmp_path, voxels, masks, capsys):
    slices = write_series(tmp_path / "in" / "a", voxels)
    write_seg(tmp_path / "in" / "seg.dcm", slices, masks)
    write_series(tmp_path / "in" / "unsegmented", voxels + 3)
    program = load_program("dicom_to_nifti")
    arguments = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--channels", "CT"]
    assert program.main(arguments) == 0
    said = capsys.readouterr().out
    assert "1 cases are in" in said
    assert "1 Liver, 2 tumour" in said
    assert "1 image series without a segmentation" in said
    assert (tmp_path / "out.mapping.json").is_file()


def test_a_name_that_no_structure_has_is_an_error_that_lists_the_nearest(tmp_path, voxels, masks):
    slices = write_series(tmp_path / "in" / "a", voxels)
    write_seg(tmp_path / "in" / "seg.dcm", slices, masks)
    with pytest.raises(FedNNUNetError) as fault:
        convert(tmp_path / "in", tmp_path / "out", labels=("liver", "tumor", "spleen"))
    said = str(fault.value)
    assert "'tumor'" in said and "'spleen'" in said and "'liver'" not in said
    assert "there are: 'tumour', 'Liver'" in said
    assert not (tmp_path / "out").exists()


def test_a_structure_that_only_earlier_cases_have_is_no_error(tmp_path, voxels, masks):
    slices = write_series(tmp_path / "one" / "a", voxels)
    write_seg(tmp_path / "one" / "seg.dcm", slices, masks)
    slices = write_series(tmp_path / "two" / "a", voxels + 1)
    write_seg(tmp_path / "two" / "seg.dcm", slices, {"Liver": masks["Liver"]})
    for part in ("one", "two"):
        done = convert(tmp_path / part, tmp_path / "out", labels=("liver", "tumour"))
    assert len(done.cases) == 1
    assert any("tumour was not segmented" in note for note in done.notes)


def test_nothing_to_convert_is_an_error_that_says_why(tmp_path, voxels, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "note.txt").write_text("no DICOM")
    write_series(tmp_path / "alone" / "a", voxels)
    program = load_program("dicom_to_nifti")
    for folder, words in (
        ("empty", "no DICOM file"),
        ("alone", "no image series has a DICOM-SEG or an RTSTRUCT"),
    ):
        arguments = [str(tmp_path / folder), "-o", str(tmp_path / "out"), "--channels", "CT"]
        assert program.main(arguments) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_series_without_a_reference_are_converted_for_prediction(tmp_path, voxels, masks):
    slices = write_series(tmp_path / "in" / "a", voxels)
    write_seg(tmp_path / "in" / "seg.dcm", slices, masks)
    write_series(tmp_path / "in" / "b", voxels + 1)
    out = tmp_path / "out"
    program = load_program("dicom_to_nifti")
    arguments = [str(tmp_path / "in"), "-o", str(out), "--channels", "CT", "--images-only"]
    assert program.main(arguments) == 0
    cases = list_images(out / "imagesTs", 1)
    assert [case.name for case in cases] == ["case_0001", "case_0002"]
    assert sorted(float(io.read_volume(c.images).array.sum()) for c in cases) == pytest.approx(
        sorted([voxels.sum(), (voxels + 1).sum()]), rel=1e-5
    )
    assert not (out / "labelsTr").exists()
    assert (tmp_path / "out.mapping.json").is_file()
