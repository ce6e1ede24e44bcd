"""Agreement, the jackknife, the traffic light and the hot spots, against textbooks and known arrangements."""

import dataclasses
import json
import math

import numpy as np
import pytest
from panels import blob, glioma, grid_of, panel_of, raters
from scipy import stats

from EnsembleReviewLib.agreement import (
    agreement_on,
    coefficient_of_variation,
    fleiss_kappa_in_union,
    jackknife_masks,
)
from EnsembleReviewLib.expert_panel import ExpertPanel
from EnsembleReviewLib.fusion import FusionSettings, fuse
from EnsembleReviewLib.hot_spots import APART, BORDER, HotSpot, Limits, find_hot_spots
from EnsembleReviewLib.traffic_light import GREEN, RED, YELLOW, AgreementSettings, light_of, worst
from EnsembleReviewLib.votes import VotePatterns
from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.measures import jackknife
from MRISegSuiteLib.measures.overlap import dice


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """Efron and Tibshirani 1993: for the mean the jackknife gives s / sqrt(n) exactly."""
    values = np.array([94, 197, 16, 38, 99, 141, 23.0])  # their mouse data, treatment group: mean 86.86, SE 25.24
    left_out = [np.delete(values, i).mean() for i in range(len(values))]
    assert jackknife.standard_error(left_out) == pytest.approx(values.std(ddof=1) / math.sqrt(7))
    assert jackknife.standard_error(left_out) == pytest.approx(25.24, abs=0.005)


def test_the_interval_re_fuses_without_each_expert():
    masks = {name: blob(radius=radius) for name, radius in zip("abc", (5, 6, 7), strict=True)}
    panel = panel_of(masks, grid=grid_of((20, 24, 28), (0.5, 2.0, 3.0)))
    found = agreement_on(panel, fuse(panel), "lesion")
    size = {name: mask.sum() * 3.0 for name, mask in masks.items()}
    # Of two nested masks a strict majority is the smaller one.
    assert found.volume.left_out == pytest.approx({"a": size["b"], "b": size["a"], "c": size["a"]})
    theta = np.array([size["b"], size["a"], size["a"]])
    error = math.sqrt(2 / 3 * ((theta - theta.mean()) ** 2).sum())
    assert found.volume.value == pytest.approx(size["b"])
    assert found.volume.half_width == pytest.approx(stats.t.ppf(0.975, 2) * error)
    assert stats.t.ppf(0.975, 2) == pytest.approx(4.303, abs=5e-4)
    assert math.isnan(agreement_on(panel_of({"a": masks["a"], "b": masks["b"]}), fuse(panel), "lesion").volume.low)


@pytest.mark.parametrize("method", ["majority", "staple", "weighted", "confidence"])
def test_leaving_out_is_fusing_a_panel_without_that_expert(method):
    masks = raters(blob(), (0.9, 0.8, 0.7, 0.85), (0.99, 0.97, 0.98, 0.96))
    if method == "confidence":
        masks = {name: np.where(mask, 0.8, 0.1).astype(np.float32) for name, mask in masks.items()}
    settings = FusionSettings(method, staple_region="image")  # the box shrinks with the panel, the image does not
    panel = panel_of(masks)
    found = agreement_on(panel, fuse(panel, settings), "lesion").volume.left_out
    for name in masks:
        rest = fuse(panel_of({other: mask for other, mask in masks.items() if other != name}), settings)
        assert found[name] == pytest.approx(rest.masks["lesion"].sum())


def test_fleiss_kappa_of_the_textbook():
    """Two categories, formula of Fleiss 1971 by hand: five raters, four subjects with 5, 4, 2 and 1 yes."""
    yes = np.array([5, 4, 2, 1])
    votes = np.arange(5)[None] < yes[:, None]
    agreement = (yes * (yes - 1) + (5 - yes) * (4 - yes)) / 20
    p = yes.sum() / 20
    chance = p**2 + (1 - p) ** 2
    expected = (agreement.mean() - chance) / (1 - chance)
    assert fleiss_kappa_in_union(votes, np.ones(4)) == pytest.approx(expected)
    assert fleiss_kappa_in_union(votes, np.full(4, 7)) == pytest.approx(expected)


def test_kappa_does_not_see_the_empty_rest_of_the_image_and_is_defined_at_its_ends():
    votes = np.array([[0, 0, 0], [1, 1, 0], [1, 1, 1]], bool)
    assert fleiss_kappa_in_union(votes, [10, 5, 5]) == fleiss_kappa_in_union(votes, [10**6, 5, 5])
    assert fleiss_kappa_in_union(votes, [10, 0, 5]) == 1.0
    assert math.isnan(fleiss_kappa_in_union(votes, [10, 0, 0]))
    assert math.isnan(fleiss_kappa_in_union(votes[:, :1], [10, 5, 5]))
    doubled = np.concatenate([votes, votes[:, :1]], axis=1)  # an expert and its echo, one voice
    assert fleiss_kappa_in_union(doubled, [9, 5, 5], [0, 1, 2, 0]) == pytest.approx(
        fleiss_kappa_in_union(votes, [9, 5, 5]))


def test_volume_cv():
    assert coefficient_of_variation([90, 100, 110]) == pytest.approx(0.1)
    assert coefficient_of_variation([0, 0]) == 0.0 and math.isnan(coefficient_of_variation([5]))


def test_the_pairs_of_a_prompted_expert_do_not_count():
    masks = raters(blob(), (0.9, 0.8), (0.98, 0.95))
    panel = panel_of({**masks, "echo": masks["rater1"]}, prompted_by={"echo": ("rater1",)})
    found = agreement_on(panel, fuse(panel), "lesion")
    assert [(pair.first, pair.second) for pair in found.pairs if not pair.independent] == [("rater1", "echo")]
    assert found.voices == 2 and len(found.over_pairs("dice")) == 2
    assert list(found.dice_to_others.values()) == pytest.approx([dice(*masks.values())] * 3)


def test_empty_masks_are_defined_everywhere():
    empty = np.zeros((20, 24, 28), bool)
    panel = panel_of({"a": empty, "b": empty, "c": empty})
    found = agreement_on(panel, fuse(panel), "lesion")
    assert found.over_pairs("dice") == [1.0] * 3 and found.over_pairs("hd95_mm") == [0.0] * 3
    assert found.volume_cv == 0.0 and found.volume.value == found.volume.half_width == 0.0
    assert light_of(found, AgreementSettings.read()).color == GREEN
    panel = panel_of({"a": blob(), "b": empty, "c": empty})
    found = agreement_on(panel, fuse(panel), "lesion")
    light = light_of(found, AgreementSettings.read())
    assert light.color == RED and any("not finite" in reason for reason in light.reasons)
    spots, _ = find_hot_spots(panel, fuse(panel).masks)
    assert [(s.kind, s.in_favor, s.against, s.fused_share) for s in spots] == [(APART, ["a"], ["b", "c"], 0.0)]


def test_the_light_follows_its_limits_and_says_that_a_person_decides(tmp_path):
    settings = AgreementSettings.read()
    assert "A person decides" in settings.note
    masks = {name: blob(radius=radius) for name, radius in zip("abc", (6, 6, 6.8), strict=True)}
    panel = panel_of(masks)
    found = agreement_on(panel, fuse(panel), "lesion")
    lights = [light_of(dataclasses.replace(found, volume_cv=cv), settings) for cv in (0.1, 0.2, 0.5, math.nan)]
    assert [light.color for light in lights] == [GREEN, YELLOW, RED, RED]
    assert worst(lights) == RED and lights[1].reasons == ["volume CV 0.2 (green: at most 0.15)"]
    assert light_of(dataclasses.replace(found, voices=2), settings).color == ""
    broken = tmp_path / "agreement.json"
    for content in ("{", json.dumps({"schema_version": 9}), json.dumps({"schema_version": 1, "version": "1"})):
        broken.write_text(content)
        with pytest.raises(BadInput, match="agreement.json"):
            AgreementSettings.read(broken)


ROTATED = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@pytest.mark.parametrize("grid", [
    grid_of((30, 34, 38)), grid_of((30, 34, 38), (0.8, 1.1, 1.3), ROTATED, (-31.0, 12.5, 7.0)),
])  # fmt: skip
def test_hot_spots_are_found_where_they_are_and_a_rim_is_none(grid):
    body = blob((30, 34, 38), 8, (15, 17, 14))
    rim = blob((30, 34, 38), 9, (15, 17, 14))  # one voxel more all around: no hot spot
    bump = np.zeros_like(body)
    bump[12:18, 14:20, 22:30] = True
    far = np.zeros_like(body)
    far[3:6, 3:6, 32:36] = True
    panel = panel_of({"a": body, "b": rim, "c": body | bump | far}, grid=grid)
    fused = fuse(panel)
    spots, numbers = find_hot_spots(panel, fused.masks, Limits(2.5, 5.0))
    assert [spot.kind for spot in spots] == [BORDER, APART] and [spot.number for spot in spots] == [1, 2]
    assert all(spot.in_favor == ["c"] and spot.against == ["a", "b"] for spot in spots)
    assert spots[1].voxels == far.sum() and spots[1].volume_mm3 == pytest.approx(36 * np.prod(grid.GetSpacing()))
    whole = panel.whole(numbers)
    assert (whole[far] == 2).all() and (whole == 1).sum() == spots[0].voxels
    assert spots[1].box_ijk == ((32, 3, 3), (35, 5, 5))
    for spot in spots:
        index = grid.TransformPhysicalPointToIndex(spot.center_lps)
        assert index == spot.center_ijk and whole[index[::-1]] == spot.number
        assert spot.center_ras == (-spot.center_lps[0], -spot.center_lps[1], spot.center_lps[2])
        assert HotSpot.from_record(json.loads(json.dumps(spot.to_record()))) == spot


def test_hot_spots_of_the_real_glioma_do_not_overlap_and_shrink(shared_data):
    opinions, grid, _ = glioma(shared_data)
    panel = ExpertPanel(opinions, grid)
    spots, numbers = find_hot_spots(panel, fuse(panel).masks)
    sizes = [spot.voxels for spot in spots]
    assert len(spots) >= 10 and sizes == sorted(sizes, reverse=True)
    assert [int((numbers == spot.number).sum()) for spot in spots] == sizes
    for spot in spots:
        assert spot.in_favor and spot.against or 0 < min(spot.shares.values()) < 1
        votes = VotePatterns({e: panel.mask(e, spot.structure) for e in spot.shares}, 1)
        inside = votes.votes[votes.index[numbers == spot.number]]
        assert (inside.any(axis=1) & ~inside.all(axis=1)).all()  # every voxel of it is disputed


@pytest.mark.parametrize("method", ["majority", "staple", "weighted"])
def test_the_bits_of_the_jackknife_are_the_volumes_without_each_voice(method):
    masks = raters(blob(), [0.9, 0.8, 0.95, 0.7], [0.99, 0.98, 0.995, 0.97])
    panel = panel_of(masks, prompted_by={"rater3": ("rater2",)})
    fusion = fuse(panel, FusionSettings(method))
    bits = jackknife_masks(panel, fusion, "lesion")
    assert (bits & 1 == fusion.masks["lesion"]).all()
    volumes = agreement_on(panel, fusion, "lesion").volume.left_out
    assert len(volumes) == 3 and bits.max() < 16
    assert [np.count_nonzero(bits >> n & 1) for n in (1, 2, 3)] == pytest.approx(list(volumes.values()))
