"""Fusion of opinions: against definitions, SimpleITK, a published fusion, and raters whose performance is known."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import blob, glioma, grid_of, panel_of, raters

from EnsembleReviewLib.expert_panel import ExpertPanel
from EnsembleReviewLib.fusion import FusionSettings, fuse
from EnsembleReviewLib.fusion.methods import staple_of
from EnsembleReviewLib.fusion.painting import label_map, label_map_of, undecided_voxels
from EnsembleReviewLib.opinions import Opinion, independent_groups, with_regions
from EnsembleReviewLib.uncertainty import binary_entropy, entropy, mutual_information
from EnsembleReviewLib.votes import VotePatterns
from MRISegSuiteLib.errors import BadArguments


@pytest.fixture(scope="module")
def real(shared_data):
    return glioma(shared_data)


def itk_staple(masks, box):
    images = [sitk.GetImageFromArray(mask[box].astype(np.uint8)) for mask in masks]
    filter_ = sitk.STAPLEImageFilter()
    filter_.SetForegroundValue(1.0)
    return sitk.GetArrayFromImage(filter_.Execute(images)), filter_


def test_the_majority_on_labels_is_the_published_one_voxel_for_voxel(real):
    opinions, grid, published = real
    panel = ExpertPanel(opinions, grid, vote="labels")
    labels, _, notes = label_map(panel, fuse(panel))
    assert (panel.whole(labels) == published).all() and not notes


def test_the_majority_on_regions_differs_where_no_label_has_a_majority_and_only_there(real):
    opinions, grid, published = real
    panel = ExpertPanel(opinions, grid)
    ours = panel.whole(label_map(panel, fuse(panel))[0])
    different = ours != published
    assert int(different.sum()) == undecided_voxels(panel) == 195
    votes = {name: sum(o.answers[name].astype(int) for o in opinions) for name in opinions[0].answers}
    assert (votes["whole_tumour"][different] >= 3).all() and (published[different] == 0).all()
    for name in ("edema", "non_enhancing_core", "enhancing_tumour"):
        assert (votes[name][different] <= 2).all()


@pytest.mark.parametrize("region", ["box", "image"])
def test_staple_is_that_of_simpleitk_on_the_real_glioma(real, region):
    opinions, grid, _ = real
    panel = ExpertPanel(opinions, grid)
    settings_ = FusionSettings("staple", staple_region=region)
    structures = panel.structures if region == "box" else ["enhancing_tumour"]
    found = fuse(panel, settings_)
    for structure in structures:
        box = panel.box if region == "box" else tuple(slice(None) for _ in panel.shape)
        expected, peer = itk_staple([o.answers[structure] for o in opinions], box)
        ours = found.support[structure] if region == "box" else panel.whole(found.support[structure])
        outcome = staple_of(panel, structure, settings_)
        posterior = panel.patterns(structure).map(outcome.posterior)
        inside = expected if region == "box" else expected[panel.box]
        assert np.abs(posterior - inside).max() < 1e-5
        assert int(((ours > 0.5) != (expected > 0.5)).sum()) == 0
        assert outcome.sensitivity == pytest.approx(peer.GetSensitivity(), abs=1e-6)
        assert outcome.specificity == pytest.approx(peer.GetSpecificity(), abs=1e-6)
        assert outcome.converged and outcome.region_voxels == expected.size


def test_staple_recovers_known_sensitivities_and_specificities():
    truth = blob((40, 48, 56), 15)
    sensitivity, specificity = (0.95, 0.85, 0.70, 0.90, 0.80), (0.99, 0.97, 0.95, 0.90, 0.98)
    panel = panel_of(raters(truth, sensitivity, specificity))
    found = staple_of(panel, "lesion", FusionSettings("staple"))
    assert found.sensitivity == pytest.approx(sensitivity, abs=0.02)
    assert found.specificity == pytest.approx(specificity, abs=0.004)
    fused = fuse(panel, FusionSettings("staple")).masks["lesion"]
    wrong = {name: (mask != truth).sum() for name, mask in raters(truth, sensitivity, specificity).items()}
    assert (fused != truth[panel.box]).sum() < 0.5 * min(wrong.values())


def test_two_copies_that_count_as_one_change_nothing_in_any_fusion():
    masks = raters(blob(), (0.9, 0.8, 0.7), (0.98, 0.95, 0.97))
    alone = panel_of(masks)
    prompted = panel_of({**masks, "echo": masks["rater2"]}, prompted_by={"echo": ("rater2",)})
    assert prompted.groups == [["rater0"], ["rater1"], ["rater2", "echo"]]
    for method in ("majority", "staple", "weighted"):
        one, other = (fuse(panel, FusionSettings(method)) for panel in (alone, prompted))
        assert one.support["lesion"] == pytest.approx(other.support["lesion"], abs=1e-5)
        assert (one.masks["lesion"] == other.masks["lesion"]).all()


def test_half_of_the_votes_is_no_majority_unless_asked_for():
    a, b = np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    a[1, 1, 1] = True
    assert not fuse(panel_of({"a": a, "b": b})).masks["lesion"].any()
    assert fuse(panel_of({"a": a, "b": b}), FusionSettings(tie="present")).masks["lesion"].sum() == 1
    third = {"a": a, "b": a, "c": b}  # thirds do not add up exactly, and still it is two of three
    assert fuse(panel_of(third)).masks["lesion"].sum() == 1


def test_weights_decide_and_unknown_ones_are_refused():
    a, b, c = (np.zeros((3, 3, 3), bool) for _ in range(3))
    a[0] = True
    panel = panel_of({"a": a, "b": b, "c": c})
    heavy = fuse(panel, FusionSettings("weighted", weights={"a": 3.0, "b": 1.0, "c": 1.0}))
    assert (heavy.masks["lesion"] == a).all() and not fuse(panel).masks["lesion"].any()
    with pytest.raises(BadArguments, match="'d'"):
        fuse(panel, FusionSettings("weighted", weights={"d": 1.0}))
    with pytest.raises(BadArguments, match="above 0"):
        fuse(panel, FusionSettings("weighted", weights={"a": 0.0}))
    with pytest.raises(BadArguments, match="fusion"):
        FusionSettings("vote")


def test_a_sure_expert_outvotes_two_that_doubt():
    sure, doubting = np.full((3, 3, 3), 0.98, np.float32), np.full((3, 3, 3), 0.4, np.float32)
    panel = panel_of({"a": sure, "b": doubting, "c": doubting})
    assert fuse(panel, FusionSettings("confidence")).masks["lesion"].all()
    assert not fuse(panel).masks["lesion"].any()
    with pytest.raises(BadArguments, match="probabilities"):
        fuse(panel_of({"a": sure > 0.5, "b": doubting > 0.5}), FusionSettings("confidence"))


def test_who_does_not_know_a_structure_has_no_vote_on_it():
    core = blob(radius=4)
    opinions = [
        Opinion("flair_only", "", {"whole_tumour": blob(radius=8)}),
        Opinion("another", "", {"whole_tumour": blob(radius=7)}),
        Opinion("all", "", with_regions({
            "edema": blob(radius=8) & ~core, "non_enhancing_core": core & ~blob(radius=2),
            "enhancing_tumour": blob(radius=2)}, True)),
    ]  # fmt: skip
    panel = ExpertPanel(opinions, grid_of(core.shape))
    fused = fuse(panel)
    assert panel.experts_on("tumour_core") == ["all"] and (fused.masks["tumour_core"] == core[panel.box]).all()
    labels, used, _ = label_map(panel, fused)
    assert {s.name for s in used} == {"edema", "non_enhancing_core", "enhancing_tumour"}
    regions = Opinion("regions", "", {"whole_tumour": blob(radius=8), "tumour_core": core})
    _, used, _ = label_map_of(ExpertPanel([regions], grid_of(core.shape)), "regions")
    assert [s.name for s in used] == ["edema", "tumour_core"]  # what a whole tumor leaves around its core
    alone, used, _ = label_map_of(panel, "flair_only")
    assert [s.name for s in used] == ["whole_tumour"] and (alone > 0).sum() == blob(radius=8).sum()


def test_empty_masks_are_votes_against():
    empty = np.zeros((20, 24, 28), bool)
    fused = fuse(panel_of({"a": blob(), "b": empty, "c": empty}))
    assert not fused.masks["lesion"].any()
    for method in ("majority", "staple", "weighted"):
        nothing = fuse(panel_of({"a": empty, "b": empty}), FusionSettings(method))
        assert not nothing.masks["lesion"].any() and np.isfinite(nothing.support["lesion"]).all()
        whole = fuse(panel_of({"a": ~empty, "b": ~empty}), FusionSettings(method))
        assert whole.masks["lesion"].all()


def test_structures_that_are_not_nested_share_no_voxel():
    a, b = blob(center=(10, 12, 11)), blob(center=(10, 12, 16))
    opinions = [Opinion(name, "", {"femur": a, "tibia": b}) for name in "xyz"]
    panel = ExpertPanel(opinions, grid_of(a.shape))
    labels, used, notes = label_map(panel, fuse(panel))
    values = {s.name: s.label for s in used}
    assert len(set(values.values())) == 2 and notes[0].startswith(f"{(a & b).sum()} voxels")
    assert ((labels > 0) == (a | b)[panel.box]).all()


def test_prompts_join_experts_into_groups():
    def opinion(name, *by):
        return Opinion(name, "", {"lesion": blob()}, prompted_by=by)

    assert independent_groups([opinion("a"), opinion("b", "a"), opinion("c"), opinion("d", "b", "gone")]) == [
        ["a", "b", "d"], ["c"]]  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 16), st.integers(0, 10**6))
def test_patterns_count_what_voxels_count(count, seed):
    rng = np.random.default_rng(seed)
    masks = {str(n): rng.random((4, 5, 6)) < 0.3 for n in range(count)}
    patterns = VotePatterns(masks, 1000)
    assert patterns.counts.sum() == 120
    for column, mask in enumerate(masks.values()):
        assert (patterns.map(patterns.votes[:, column]) == mask).all()
    assert (patterns.map(patterns.votes.sum(axis=1)) == sum(m.astype(int) for m in masks.values())).all()


def test_entropy_and_mutual_information_have_their_known_values():
    assert binary_entropy(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 1, 0])
    assert binary_entropy(np.array([0.2])) == pytest.approx([0.7219280948873623])
    yes, no = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    panel = panel_of({"a": yes, "b": no, "c": no, "d": no, "e": no})
    assert entropy(panel, "lesion") == pytest.approx(0.7219281, abs=1e-6)
    assert mutual_information(panel, "lesion") is None
    half = np.full((2, 2, 2), 0.5, np.float32)
    doubt = panel_of({"a": half, "b": half})
    assert mutual_information(doubt, "lesion") == pytest.approx(0.0, abs=1e-7)  # unsure, but of one mind
    apart = panel_of({"a": yes.astype(np.float32), "b": no.astype(np.float32)})
    assert mutual_information(apart, "lesion") == pytest.approx(1.0)
