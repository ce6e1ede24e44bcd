"""The feedback store: what is kept, what is refused, statistics, splits, and the exported training set."""

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from feedback_cases import ball, on_grid, review
from hypothesis import given, settings
from hypothesis import strategies as st

from EnsembleReviewLib.feedback.content import image_hash, mask_hash, pack, unpack
from EnsembleReviewLib.feedback.export import export_training_set
from EnsembleReviewLib.feedback.patients import patient_hash
from EnsembleReviewLib.feedback.splits import patient_folds
from EnsembleReviewLib.feedback.statistics import expert_statistics
from EnsembleReviewLib.feedback.store import FeedbackStore
from MRISegSuiteLib.errors import BadArguments, BadInput, UnreadableImage
from MRISegSuiteLib.jobs import Job, JobProcess


@pytest.fixture
def store(tmp_path):
    return FeedbackStore(tmp_path / "store")


def test_a_review_comes_back_as_it_was(store):
    case = review(origin="corrected", comment="  edge of the core moved ", fusion={"method": "majority"},
                   decisions=[{"hot_spot": 1, "decision": "take", "expert": "alpha"}])
    record = store.add(case)
    assert FeedbackStore(store.folder).records() == [record]
    assert (record.origin, record.reviewer, record.comment) == ("corrected", "reader 1", "edge of the core moved")
    assert record.fusion == {"method": "majority"} and record.decisions[0]["expert"] == "alpha"
    assert record.geometry["spacing_mm"] == [0.9, 1.1, 3.0]
    assert record.images[0].sha256 == image_hash(case.images["FLAIR"])
    for back, masks in ((store.before(record), case.before), (store.after(record), case.after)):
        for name, mask in masks.items():
            assert np.array_equal(sitk.GetArrayFromImage(back[name]), sitk.GetArrayFromImage(mask))
            assert back[name].GetOrigin() == pytest.approx(mask.GetOrigin())
            assert back[name].GetDirection() == pytest.approx(mask.GetDirection())
    alpha, beta, gamma = record.experts
    assert alpha.agreement[1].dice == 1.0 and alpha.agreement[0].dice < 1.0  # core and whole, in the order of names
    assert [a.structure for a in beta.agreement] == ["whole_tumour"], "a structure that it does not know counts"
    assert gamma.abstained == "It needs T1c." and gamma.agreement == ()


def test_records_cannot_be_changed_or_deleted(store):
    store.add(review())
    with sqlite3.connect(store.folder / "feedback.sqlite") as connection:
        for statement in ("UPDATE records SET comment = 'x'", "DELETE FROM records", "DELETE FROM agreement",
                          "UPDATE experts SET version = '9'", "DELETE FROM images"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                connection.execute(statement)


@pytest.mark.parametrize(("change", "message"), [
    ({"origin": "accepted"}, "were changed"),
    ({"origin": "fine"}, "not 'fine'"),
    ({"reviewer": " "}, "Nobody is named"),
    ({"origin": "rejected"}, "no accepted masks"),
    ({"after": {}}, "no masks to accept"),
    ({"after": {"whole_tumour": ball((6, 12, 12), 7), "tumour_core": ball((6, 12, 12), 3)}}, "not changed"),
    ({"patient": "Doe, Jane"}, "salted hash"),
    ({"images": {}}, "needs the image"),
])
def test_a_review_that_contradicts_itself_is_refused(store, change, message):
    with pytest.raises(BadArguments, match=message) as refused:
        store.add(replace(review(), **change))
    assert "Jane" not in str(refused.value)
    assert store.records() == []


def test_a_mask_on_another_grid_is_refused(store):
    shifted = ball((6, 12, 12), 8)
    shifted.SetOrigin((0, 0, 0))
    with pytest.raises(BadArguments, match="not on the grid"):
        store.add(replace(review(), after={"whole_tumour": shifted}))


def test_patients_are_salted_hashes_and_nothing_else_is_anywhere(store, tmp_path):
    patient = store.patient("MRN 0012345")
    assert patient == store.patient(" mrn  0012345 ") != FeedbackStore(tmp_path / "other").patient("MRN 0012345")
    case = review(patient=patient)
    case.images["FLAIR"].SetMetaData("0010|0010", "Doe^Jane")
    store.add(case)
    for path in store.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"0012345" not in content and b"Jane" not in content, path
    assert (store.folder / "salt").stat().st_mode & 0o077 == 0
    assert patient_hash(b"a", "x") != patient_hash(b"b", "x")


def test_a_damaged_and_a_missing_mask_are_told(store):
    record = store.add(review())
    path = store.masks.path(record.after)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UnreadableImage, match=path.name):
        store.after(record)
    sitk.WriteImage(ball((1, 1, 1), 2), str(path))
    with pytest.raises(UnreadableImage, match="not what was saved"):
        store.after(record)
    path.unlink()
    with pytest.raises(BadInput, match="is missing"):
        store.after(record)


def test_a_database_that_is_none_is_told(tmp_path):
    (tmp_path / "feedback.sqlite").write_text("not a database, but long enough to look at" * 40)
    with pytest.raises(BadInput, match="damaged"):
        FeedbackStore(tmp_path)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.randoms(use_true_random=False))
def test_overlapping_structures_survive_packing(count, random):
    rng = np.random.default_rng(random.randrange(2**32))
    masks = {f"s{n}": on_grid((rng.random((3, 4, 5)) < 0.4).astype(np.uint8)) for n in range(count)}
    packed = pack(masks, sorted(masks), masks["s0"])
    for name, mask in unpack(packed, sorted(masks)).items():
        assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(masks[name]))
    moved = sitk.Image(packed)
    moved.SetOrigin((0, 0, 0))
    assert mask_hash(moved) != mask_hash(packed) and image_hash(moved) == image_hash(packed)


def test_statistics_count_the_last_word_on_each_case_and_no_rejected_one(store):
    store.add(review(1))
    store.add(review(1, origin="accepted"))  # looked at again
    store.add(review(2))
    store.add(review(3, origin="rejected"))
    rows = {(row.expert, row.structure): row for row in expert_statistics(store.latest())}
    whole = rows["alpha", "whole_tumour"]
    count = {radius: int(sitk.GetArrayFromImage(ball((6, 12, 12), radius)).sum()) for radius in (7, 8)}
    again = 2 * count[7] / (count[7] + count[8])  # a ball of 8 that holds the accepted one of 7
    assert whole.cases == 2 and whole.dice_mean == pytest.approx((1 + again) / 2)
    assert whole.dice_lowest == pytest.approx(again)
    voxel_ml = 0.9 * 1.1 * 3.0 / 1000
    assert whole.volume_error_ml == pytest.approx(voxel_ml * (count[8] - count[7]) / 2)
    assert whole.volume_error_percent == pytest.approx(50 * (count[8] / count[7] - 1))
    assert whole.run_time_s == 2.0 and whole.abstained == 0
    assert ("gamma", "whole_tumour") not in rows


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=4), st.sampled_from("abcdefghij"), min_size=1),
       st.integers(2, 5))
def test_no_patient_is_on_both_sides_and_every_case_is_held_out_once(patients, folds):
    if len(set(patients.values())) < folds:
        with pytest.raises(BadArguments):
            patient_folds(patients, folds)
        return
    fold_of = patient_folds(patients, folds)
    assert set(fold_of) == set(patients) and set(fold_of.values()) == set(range(folds))
    for patient in set(patients.values()):
        assert len({fold_of[case] for case in patients if patients[case] == patient}) == 1
    assert fold_of == patient_folds(dict(reversed(patients.items())), folds)


def test_the_training_set_is_what_nnunet_and_monai_read(store, tmp_path):
    pytest.importorskip("monai")
    from monai.data import load_decathlon_datalist

    seeds = {1: "p1", 2: "p1", 3: "p2", 4: "p3"}
    for seed, patient in seeds.items():
        store.add(review(seed, patient=store.patient(patient), channels=("FLAIR", "T1c")))
    store.add(review(5, origin="rejected", channels=("FLAIR", "T1c")))
    store.add(review(6, keep_images=False, channels=("FLAIR", "T1c")))
    done = export_training_set(store, tmp_path, "Gliomas", 7)
    folder = tmp_path / "Dataset007_Gliomas"
    assert done.folder == folder and len(done.cases) == 4
    assert any("images were not kept" in text for text in done.warnings)
    assert any("overlap" in text for text in done.warnings)

    dataset = json.loads((folder / "dataset.json").read_text())
    assert dataset["channel_names"] == {"0": "FLAIR", "1": "T1c"} and dataset["numTraining"] == 4
    assert dataset["labels"] == {"background": 0, "tumour_core": 1, "whole_tumour": 2}
    for case in done.cases:
        labels = sitk.ReadImage(str(folder / "labelsTr" / f"{case}.nii.gz"))
        assert set(np.unique(sitk.GetArrayFromImage(labels))) == {0, 1, 2}
        image = sitk.ReadImage(str(folder / "imagesTr" / f"{case}_0001.nii.gz"))
        assert image.GetDirection() == pytest.approx(labels.GetDirection(), abs=1e-5)
        assert image.GetOrigin() == pytest.approx((-31.25, 12.5, 7.75), abs=1e-4)

    splits = json.loads((folder / "splits_final.json").read_text())
    patient_of = {f"case_{r.case[:12]}": r.patient for r in store.latest()}
    assert len(splits) == 3 and sorted(c for s in splits for c in s["val"]) == sorted(done.cases)
    for split in splits:
        assert set(split["train"]) | set(split["val"]) == set(done.cases)
        assert not {patient_of[c] for c in split["train"]} & {patient_of[c] for c in split["val"]}

    entries = load_decathlon_datalist(str(folder / "datalist.json"), True, "training")
    assert len(entries) == 4
    for entry in entries:
        assert sitk.ReadImage(entry["label"]).GetSize() == sitk.ReadImage(entry["image"][1]).GetSize()
        assert entry["fold"] in (0, 1, 2)
    everything = "".join(path.read_text() for path in folder.glob("*.json"))
    assert not any(patient in everything for patient in patient_of.values()), "hashes of patients were exported"
    with pytest.raises(BadArguments, match="exists already"):
        export_training_set(store, tmp_path, "Gliomas", 7)
    assert not list(tmp_path.glob(".*tmp"))


def test_a_set_without_images_or_with_one_patient(store, tmp_path):
    with pytest.raises(BadArguments, match="no accepted or corrected case"):
        export_training_set(store, tmp_path)
    with pytest.raises(BadArguments, match="letters and digits"):
        export_training_set(store, tmp_path, "../x")
    store.add(review(1))
    done = export_training_set(store, tmp_path)
    assert any("patient of 1 case(s) is not known" in text for text in done.warnings)
    assert not (done.folder / "splits_final.json").exists()


def test_the_jobs_keep_and_export(tmp_path, store):
    case = review(1)
    labels = {"edema": 1, "enhancing_tumour": 2}

    def label_file(name, whole, core):
        array = sitk.GetArrayFromImage(whole) + sitk.GetArrayFromImage(core)
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(whole)
        sitk.WriteImage(image, str(tmp_path / name))
        return str(tmp_path / name)

    sitk.WriteImage(case.images["FLAIR"], str(tmp_path / "image.nrrd"))
    nothing = ball((6, 12, 12), 1) * 0
    job = Job("feedback", {
        "images": [str(tmp_path / "image.nrrd")],
        "before": label_file("before.nrrd", ball((6, 12, 12), 7), ball((6, 12, 12), 3)),
        "after": label_file("after.nrrd", ball((6, 12, 12), 8), ball((6, 12, 12), 3)),
        "experts": [label_file("alpha.nrrd", ball((6, 12, 12), 8), nothing)]}, {
        "store": str(store.folder), "origin": "corrected", "reviewer": "reader 1", "channels": ["FLAIR"],
        "labels": labels,
        "experts": [{"id": "alpha", "version": "1.0", "run_time_s": 2.0, "structures": ["whole_tumour"],
                     "labels": {"whole_tumour": 1}},
                    {"id": "gamma", "abstained": "It needs T1c."}]})
    process = JobProcess.for_job(job, tmp_path / "job")
    process.start()
    process.wait()
    result = process.result()
    record, = store.records()
    assert result.parameters["record"] == record.uid
    agreement, = record.experts[0].agreement
    assert agreement.structure == "whole_tumour" and agreement.dice == 1.0, "edema and core are the whole tumor"
    assert record.structures == ("edema", "enhancing_tumour")
    assert record.images[0].sha256 == image_hash(case.images["FLAIR"])

    export = JobProcess.for_job(Job("feedback_export", {}, {"store": str(store.folder), "folder": str(tmp_path)}),
                                tmp_path / "export")
    export.start()
    export.wait()
    assert export.result().parameters["cases"] == 1 and (tmp_path / "Dataset100_Feedback").is_dir()
