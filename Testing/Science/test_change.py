"""Volumes, growth, diameters, lesions over time and uncertainty against analytic truth."""

import math
from dataclasses import replace
from datetime import date

import lesion_phantoms as phantoms
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from LongitudinalCompareLib.change.alignment import Alignment
from LongitudinalCompareLib.change.compare import compare_lesions, compare_masks
from LongitudinalCompareLib.change.diameters import slice_axis
from LongitudinalCompareLib.change.growth import days_between, growth_between
from LongitudinalCompareLib.change.lesions import find_lesions
from LongitudinalCompareLib.change.masks import native_volume_mm3
from LongitudinalCompareLib.change.matching import LinkOverride
from LongitudinalCompareLib.change.panel import PanelVolumes, panel_log_sd, panel_volumes
from LongitudinalCompareLib.change.partial_volume import partial_volume_variance
from LongitudinalCompareLib.change.timeline import lesion_tracks
from LongitudinalCompareLib.change.uncertainty import (
    UncertaintySettings,
    VolumeEvidence,
    log_interval,
)
from MRISegSuiteLib.errors import BadArguments, BadInput
from MRISegSuiteLib.measures import jackknife

NOTHING_ELSE = UncertaintySettings(test_retest_wcv=0.0)
STILL = Alignment(sitk.Transform(3, sitk.sitkIdentity), sitk.Transform(3, sitk.sitkIdentity))


# growth


def test_growth_of_a_ball_whose_radius_doubles_in_a_year():
    growth = growth_between(4000 * math.pi / 3, 32000 * math.pi / 3, 365.25)
    assert growth.log_ratio == pytest.approx(3 * math.log(2))
    assert growth.percent == pytest.approx(700)
    assert growth.doubling_days == pytest.approx(365.25 / 3)
    assert growth.expansion_mm_per_year == pytest.approx(20)
    assert growth.rate_cm3_per_day == pytest.approx(28 * math.pi / 3 / 365.25)
    assert growth.specific_rate_percent_per_day == pytest.approx(300 * math.log(2) / 365.25)


def test_percent_of_a_zero_baseline_is_not_defined_and_shrinking_has_a_negative_doubling_time():
    new = growth_between(0.0, 8000.0, 100)
    assert math.isnan(new.percent) and math.isnan(new.log_ratio) and new.rate_cm3_per_day == pytest.approx(0.08)
    gone = growth_between(8000.0, 0.0, 100)
    assert gone.percent == -100 and math.isnan(gone.log_ratio)
    assert growth_between(8000.0, 4000.0, 100).doubling_days == pytest.approx(-100)
    assert math.isnan(growth_between(1.0, 2.0).rate_cm3_per_day)


@pytest.mark.parametrize("days", [0, -5, math.nan])
def test_a_non_positive_interval_is_an_error(days):
    with pytest.raises(BadInput, match="must be positive"):
        growth_between(1000.0, 1200.0, days)


def test_dates_in_the_wrong_order_are_an_error():
    assert days_between(date(2024, 1, 1), date(2024, 7, 22)) == 203
    assert days_between(None, date(2024, 7, 22)) is None
    with pytest.raises(BadInput, match="not later"):
        days_between(date(2024, 7, 22), date(2024, 7, 22))


# diameters


def cut_of_ellipsoid(matrix):
    """Semi-axes of the central section z = 0 of an ellipsoid: the largest of all parallel ones."""
    inverse = np.linalg.inv(matrix @ matrix.T)
    return 1 / np.sqrt(np.linalg.eigvalsh(inverse[:2, :2]))


@settings(max_examples=12, deadline=None)
@given(
    st.tuples(*[st.floats(-90, 90)] * 3),
    st.tuples(*[st.floats(7, 22)] * 3),
    st.sampled_from([(1.0, 1.0, 1.0), (0.7, 0.7, 4.0), (0.5, 0.8, 3.0)]),
    st.tuples(*[st.floats(-60, 60)] * 3),
)
def test_diameters_of_oblique_ellipsoids_on_oblique_grids(angles, semi_axes, spacing, gantry):
    """The acquisition plane is the grid's, however the grid lies in space."""
    shape = phantoms.turned(angles) @ np.diag(semi_axes)
    frame = phantoms.turned(gantry)
    reach = np.sqrt((shape**2).sum(axis=1))  # half-extent of the ellipsoid along each axis of the grid
    size = np.ceil(2 * reach / spacing).astype(int) + 4
    size += 1 - size % 2  # a slice goes through the center, as the closed form assumes
    image = phantoms.grid(size, spacing, frame, center=(20, -30, 10))
    lesions = find_lesions(phantoms.draw(image, ((20, -30, 10), frame @ shape)), axis=2)
    found = lesions.lesions[0].diameters
    pixel_diagonal = math.hypot(*spacing[:2])
    longest, shortest = 2 * cut_of_ellipsoid(shape).max(), 2 * cut_of_ellipsoid(shape).min()
    assert abs(found.longest_mm - longest) <= pixel_diagonal
    # the chord is perpendicular to the longest diameter of the drawn shape; nearly round ones may be turned a lot
    assert shortest - pixel_diagonal <= found.perpendicular_mm <= longest + pixel_diagonal
    if longest > 1.15 * shortest:
        assert abs(found.perpendicular_mm - shortest) <= pixel_diagonal
    assert abs(found.maximum_3d_mm - 2 * max(semi_axes)) <= np.linalg.norm(spacing)
    for ends, length in ((found.longest_ends, found.longest_mm), (found.maximum_3d_ends, found.maximum_3d_mm)):
        assert np.linalg.norm(np.subtract(*ends)) == pytest.approx(length, abs=1e-6)
    assert np.subtract(*found.longest_ends) @ np.subtract(*found.perpendicular_ends) == pytest.approx(0, abs=1e-6)
    assert abs(np.subtract(*found.longest_ends) @ frame[:, 2]) < 1e-6


def test_the_perpendicular_chord_does_not_cross_a_gap():
    """A horseshoe: the chord across both arms would be 20 mm long, through the gap."""
    array = np.zeros((3, 40, 60), np.uint8)
    array[1, 5:35, 5:50] = 1
    array[1, 12:28, 10:60] = 0
    lesion = find_lesions(sitk.GetImageFromArray(array), smallest_mm3=0, axis=2).lesions[0]
    assert lesion.diameters.longest_mm > 50
    assert lesion.diameters.perpendicular_mm < 30
    middle = np.mean(lesion.diameters.perpendicular_ends, axis=0)
    assert array[1, int(round(middle[1])), int(round(middle[0]))] == 1


def test_diameters_of_separate_pieces_of_a_slice_are_not_joined():
    array = np.zeros((5, 30, 60), np.uint8)
    array[1:4, 10:20, 5:15] = 1
    array[1:4, 10:20, 45:55] = 1
    array[3, 14:16, 5:55] = 1  # they meet in another slice
    found = find_lesions(sitk.GetImageFromArray(array), smallest_mm3=0, axis=2).lesions[0].diameters
    by_slice = {one.index: one.longest_mm for one in found.slices}
    assert by_slice[1] < 15 and by_slice[3] > 49 and found.slice_index == 3


def test_the_product_is_the_largest_of_any_slice_until_a_person_moves_a_diameter():
    array = np.zeros((5, 40, 60), np.uint8)
    array[1:3, 18:22, 4:54] = 1  # long and thin: 50 x 4
    array[3, 6:36, 14:44] = 1  # wide: the diagonal of 30 x 30
    found = find_lesions(sitk.GetImageFromArray(array), smallest_mm3=0, axis=2).lesions[0].diameters
    assert found.longest_mm > 49 and found.slice_index in (1, 2) and found.product_slice == 3
    assert found.product_mm2 > 1500 > 8 * found.longest_mm > found.longest_mm * found.perpendicular_mm
    assert replace(found, longest_mm=30.0, perpendicular_mm=20.0).product_mm2 == 600


def test_a_single_voxel_has_diameters():
    array = np.zeros((5, 5, 5), np.uint8)
    array[2, 2, 2] = 1
    found = find_lesions(sitk.GetImageFromArray(array), smallest_mm3=0).lesions[0].diameters
    assert found.longest_mm == pytest.approx(1) and found.perpendicular_mm <= 1.3


def test_the_slice_axis_is_the_thick_one_or_the_axial_one():
    assert slice_axis(phantoms.grid((4, 4, 4), (5.0, 0.8, 0.8))) == 0
    assert slice_axis(phantoms.grid((4, 4, 4), (1, 1, 1))) == 2
    sagittal = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], float)  # i posterior, j inferior, k left
    assert slice_axis(phantoms.grid((4, 4, 4), (1, 1, 1), sagittal)) == 1


# volumes and their variance


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.5, 0.5, 5), (0.9, 0.9, 3)])
def test_partial_volume_variance_is_that_of_balls_drawn_everywhere(spacing):
    random = np.random.default_rng(3)
    spacing = np.array(spacing, float)
    points = phantoms.points_of(phantoms.grid(2 * np.ceil(6 / spacing).astype(int) + 3, spacing))
    errors = []
    for radius in random.uniform(4, 6, 200):
        inside = ((points - random.uniform(-0.5, 0.5, 3) * spacing) ** 2).sum(axis=-1) <= radius**2
        volume = 4 / 3 * math.pi * radius**3
        sd = math.sqrt(partial_volume_variance(volume, np.eye(3), np.diag(spacing)))
        errors.append((np.count_nonzero(inside) * spacing.prod() - volume) / sd)
    assert 0.7 < np.std(errors) < 1.05  # cautious by a little, never by much
    assert abs(np.mean(errors)) < 0.2


def test_smallest_real_change_of_ten_percent_repeatability():
    evidence = VolumeEvidence(1000.0, 0.0)
    interval = log_interval(evidence, evidence, UncertaintySettings(test_retest_wcv=0.10))
    assert interval.smallest_real_percent == pytest.approx((-24.2, 31.9), abs=0.05)
    assert not interval.is_real
    assert log_interval(VolumeEvidence(0.0, 0.0), evidence, NOTHING_ELSE) is None


def panel_bits(image, fusion, *without):
    """The image of bits that a panel hands over, from masks."""
    bits = sum(sitk.GetArrayFromImage(mask).astype(np.uint8) << n for n, mask in enumerate([fusion, *without]))
    result = sitk.GetImageFromArray(bits)
    result.CopyInformation(image)
    return result


def test_a_panel_tells_the_volume_of_each_lesion_without_each_voice():
    image = phantoms.grid((60, 30, 30), (1, 1, 1))
    places = (-15, 0, 0), (15, 0, 0)

    def mask(first, second):
        return phantoms.draw(image, phantoms.ball(places[0], first), phantoms.ball(places[1], second))

    masks = [mask(8, 6), mask(9, 6), mask(8, 6), mask(7, 6)]
    found = find_lesions(masks[0])
    panel = panel_volumes(panel_bits(image, *masks), "abc", found)
    for n, one in enumerate(masks[1:]):
        parts = find_lesions(one).lesions
        assert panel.left_out_mm3[:, n] == pytest.approx([sum(p.volume_mm3 for p in parts),
                                                          *(p.volume_mm3 for p in parts)])  # fmt: skip
    assert panel_log_sd((panel, (2,)), (None, ()))[0] == 0
    volumes = panel.without_each((1,))
    half = jackknife.half_width(np.log(volumes))
    assert half == pytest.approx(4.3027 * math.sqrt(2 / 3 * ((np.log(volumes) - np.log(volumes).mean()) ** 2).sum()),
                                 rel=1e-4)  # fmt: skip
    sd, source = panel_log_sd((panel, (1,)), (None, ()))
    assert sd == pytest.approx(half / 1.959964) and "1 of 2" in source
    # the same voices draw everything twice as large at follow-up: the ratio is known, whoever is left out
    later = PanelVolumes(panel.voices, 2 * panel.left_out_mm3)
    assert panel_log_sd((panel, (1,)), (later, (1,)))[0] == pytest.approx(0, abs=1e-12)
    others = PanelVolumes(("d", "e", "f"), 2 * panel.left_out_mm3)
    assert panel_log_sd((panel, (1,)), (others, (1,)))[0] == pytest.approx(math.sqrt(2) * sd)
    alone = PanelVolumes(panel.voices, 0 * panel.left_out_mm3)
    assert panel_log_sd((panel, (1,)), (alone, (1,))) is None
    assert panel_volumes(panel_bits(image, masks[0]), "ab", found) is None
    change = compare_masks(masks[0], masks[0], STILL, settings=NOTHING_ELSE, panels=(panel, others))
    parts = {part.name: part.sd for part in change.lesions[0].interval.parts}
    assert parts["segmentation"] == pytest.approx(math.sqrt(2) * sd)
    assert {part.name: part.sd for part in change.lesions[1].interval.parts}["segmentation"] < 1e-9


def trials(count, scale_limits, seed):
    """Ellipsoids of random size, shape and growth, turned, on two grids; the second scanner has another scale.

    Yields ln of the true growth, the interval, and the percent that was measured.
    """
    random = np.random.default_rng(seed)
    spacings = [(1.0, 1.0, 1.0), (0.8, 0.8, 3.0), (0.6, 0.6, 5.0), (1.0, 1.0, 2.0)]
    for _ in range(count):
        semi_axes = random.uniform(4, 9, 3)
        growth = random.uniform(0.6, 1.7)
        shape = Rotation.random(random_state=random).as_matrix() @ np.diag(semi_axes)
        motion = Rotation.from_rotvec(np.radians(random.normal(0, 12, 3))).as_matrix()
        scale = 1 + random.choice([-1, 1]) * random.uniform(*scale_limits)
        later = scale * growth ** (1 / 3) * motion @ shape
        masks = []
        for matrix in (shape, later):
            spacing = np.array(spacings[random.integers(len(spacings))])
            reach = np.sqrt((matrix**2).sum(axis=1)) + spacing
            image = phantoms.grid(2 * np.ceil(reach / spacing).astype(int) + 3, spacing)
            masks.append(phantoms.draw(image, (random.uniform(-0.5, 0.5, 3) * spacing, matrix)))
        # the registration knows the scale of the head to 0.3 % in volume
        ratio = scale**3 * math.exp(random.normal(0, 0.003))
        lesions = [find_lesions(mask) for mask in masks]
        evidence = [VolumeEvidence(one.volume_mm3, one.variance_mm6) for one in lesions]
        yield math.log(growth), log_interval(*evidence, NOTHING_ELSE, ratio if scale_limits[1] else None)


@pytest.mark.parametrize("scale_limits, widest", [((0.0, 0.0), 0.10), ((0.01, 0.03), 0.14)])
def test_known_growth_lies_within_the_interval(scale_limits, widest):
    """At least 93 of 100 for a 95 % interval; and it is no wider than it has to be."""
    found = list(trials(100, scale_limits, seed=11))
    inside = sum(interval.low <= truth <= interval.high for truth, interval in found)
    assert inside >= 93
    widths = [interval.half_width for _, interval in found]
    assert np.median(widths) < widest
    # an interval around anything else than the truth misses it
    wrong = sum(interval.low <= truth + math.log(1.35) <= interval.high for truth, interval in found)
    assert wrong <= 5


def test_the_interval_holds_for_lesions_smaller_than_a_slice_is_thick():
    random = np.random.default_rng(5)
    held = []
    growth, spacing = 1.4, np.array((0.6, 0.6, 5.0))
    for _ in range(250):
        evidence, first = [], random.uniform(2, 4, 3)
        for semi_axes in (first, first * growth ** (1 / 3)):
            image = phantoms.grid(2 * np.ceil((semi_axes + spacing) / spacing).astype(int) + 3, spacing)
            center = random.uniform(-0.5, 0.5, 3) * spacing
            one = find_lesions(phantoms.draw(image, (center, np.diag(semi_axes))), smallest_mm3=0.0)
            evidence.append(VolumeEvidence(one.volume_mm3, one.variance_mm6))
        interval = log_interval(*evidence, NOTHING_ELSE)
        if interval is not None:  # not missed between two slices
            held.append(interval.low <= math.log(growth) <= interval.high)
    assert len(held) > 180 and np.mean(held) > 0.91  # 95 % but for chance; it was 84 %


# lesions over time


def pair(before, after, degrees=(4.0, -6.0, 9.0), shift=(7.0, -3.0, 5.0), spacings=((1, 1, 1), (0.8, 0.8, 2.5))):
    """Masks of ellipsoids given in the baseline's space, the second scan moved; and the alignment."""
    to_baseline, to_followup = phantoms.halves(degrees, shift)
    motion = phantoms.motion_matrix(to_baseline, to_followup)
    first = phantoms.grid((90, 90, 60), spacings[0])
    size = np.ceil(np.array((100, 100, 75)) / spacings[1])
    second = phantoms.grid(size, spacings[1], center=phantoms.moved((0, 0, 0), to_baseline, to_followup))
    after = [(phantoms.moved(center, to_baseline, to_followup), motion @ matrix) for center, matrix in after]
    return phantoms.draw(first, *before), phantoms.draw(second, *after), Alignment(to_baseline, to_followup, 0.2)


def statuses(change):
    return sorted(one.status for one in change.lesions)


BALL = phantoms.ball


def test_lesions_are_matched_new_resolved_merged_and_split():
    before = [BALL((-25, -20, 0), 6), BALL((25, -20, 0), 4), BALL((-8, 20, 0), 5), BALL((8, 20, 0), 5),
              BALL((25, 20, 10), 7)]  # fmt: skip
    after = [BALL((-25, -20, 0), 7), BALL((0, 0, -15), 4), BALL((-8, 20, 0), 6), BALL((8, 20, 0), 6),
             BALL((0, 20, 0), 5), BALL((25, 25, 10), 3.2), BALL((25, 15, 10), 3.2)]  # fmt: skip
    one, two, alignment = pair(before, after)
    change = compare_masks(one, two, alignment, 100, NOTHING_ELSE)
    assert statuses(change) == ["matched", "merged", "new", "resolved", "split"]
    matched = change.with_status("matched")[0]
    assert matched.growth.log_ratio == pytest.approx(3 * math.log(7 / 6), abs=matched.interval.half_width * 1.5)
    assert len(change.with_status("merged")[0].baseline) == 2
    assert len(change.with_status("split")[0].followup) == 2
    back = compare_masks(two, one, alignment.swapped(), 100, NOTHING_ELSE)
    assert statuses(back) == ["matched", "merged", "new", "resolved", "split"]
    assert back.total.growth.log_ratio == pytest.approx(-change.total.growth.log_ratio)
    assert back.total.interval.half_width == pytest.approx(change.total.interval.half_width)
    assert back.overlap == change.overlap
    assert back.with_status("new")[0].growth.followup_mm3 == change.with_status("resolved")[0].growth.baseline_mm3
    before = {one.status: len(one.baseline) for one in back.lesions}
    assert before == {"matched": 1, "merged": 2, "new": 0, "resolved": 1, "split": 1}


def test_neighbors_are_not_one_group_because_they_are_near():
    near = [BALL((-6, 0, 0), 4.5), BALL((6, 0, 0), 4.5)]
    one, two, alignment = pair(near, near, spacings=((1, 1, 1), (0.8, 0.8, 5.0)))
    change = compare_masks(one, two, alignment)
    assert statuses(change) == ["matched", "matched"]


def test_a_small_lesion_within_the_tolerance_is_the_same_one_and_a_person_may_part_them():
    one, two, _ = pair([BALL((0, 0, 0), 2)], [BALL((0, 0, 6), 2)], (0, 0, 0), (0, 0, 0), ((1, 1, 1), (1, 1, 1)))
    still = STILL
    assert statuses(compare_masks(one, two, still)) == ["new", "resolved"]
    tolerant = compare_masks(one, two, Alignment(still.to_baseline, still.to_followup, 4.5))
    assert statuses(tolerant) == ["matched"] and tolerant.matching.groups[0].links[0].by == "tolerance"
    parted = compare_lesions(
        find_lesions(one), find_lesions(two), Alignment(still.to_baseline, still.to_followup, 4.5),
        overrides=[LinkOverride((0, 0, 0), (0, 0, 6), False), LinkOverride((40, 0, 0), (0, 0, 6), True)],
    )  # fmt: skip
    assert statuses(parted) == ["new", "resolved"]
    assert len(parted.matching.ignored) == 1
    linked = compare_masks(one, two, still, overrides=[LinkOverride((0, 0, 0), (0, 0, 6), True)])
    assert statuses(linked) == ["matched"] and linked.matching.groups[0].links[0].by == "user"


def test_a_lesion_that_was_too_small_to_count_is_not_called_plainly_new():
    one, two, _ = pair([BALL((0, 0, 0), 1)], [BALL((0, 0, 0), 5)], (0, 0, 0), (0, 0, 0), ((1, 1, 1), (1, 1, 1)))
    change = compare_masks(one, two, STILL)
    assert statuses(change) == ["new"] and change.lesions[0].was_too_small
    assert change.baseline.left_out == 1 and change.total.growth.baseline_mm3 == 8
    empty = one * 0
    assert not compare_masks(empty, two, STILL).lesions[0].was_too_small


def test_without_alignment_there_are_native_volumes_and_nothing_else():
    one, two, _ = pair([BALL((0, 0, 0), 6)], [BALL((0, 0, 0), 7)])
    change = compare_masks(one, two, None, 50)
    assert change.lesions == () and change.matching is None and change.overlap is None
    assert change.total.growth.baseline_mm3 == native_volume_mm3(one)
    assert change.total.growth.rate_cm3_per_day > 0


def test_two_empty_masks_are_compared_without_a_lesion():
    empty = phantoms.grid((10, 10, 10), (1, 1, 1))
    change = compare_masks(empty, empty, STILL)
    assert change.total.status == "absent" and change.lesions == () and change.overlap.dice == 1
    assert change.total.interval is None


def test_tracks_over_four_timepoints():
    a, b, c = BALL((-20, 0, 0), 5), BALL((20, 0, 0), 4), BALL((0, 20, 0), 6)
    image = phantoms.grid((80, 80, 40), (1, 1, 1))
    scans = [phantoms.draw(image, *there) for there in ([a, b], [a, c], [a, c], [b, c])]
    points = [find_lesions(scan) for scan in scans]
    matchings = [compare_lesions(x, y, STILL).matching for x, y in zip(points, points[1:])]
    tracks = lesion_tracks(points, matchings)
    present = [[bool(labels) for labels in track.members] for track in tracks]
    assert present == [[1, 1, 1, 0], [1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]]
    with pytest.raises(ValueError):
        lesion_tracks(points, matchings[:1])


# overlap


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 0.8, 5)])
def test_hausdorff_distance_of_concentric_balls(spacing):
    one, two, alignment = pair(
        [BALL((0, 0, 0), 12)], [BALL((0, 0, 0), 17)], spacings=(spacing, spacing)
    )
    overlap = compare_masks(one, two, alignment).overlap
    assert abs(overlap.hd95_mm - 5) <= np.linalg.norm(spacing)
    assert overlap.dice == pytest.approx(2 * 12**3 / (12**3 + 17**3), abs=0.03)


# geometry


@settings(max_examples=6, deadline=None)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_the_order_of_axes_in_the_file_does_not_matter(order, flips):
    one, two, alignment = pair([BALL((-15, 3, 2), 7), BALL((15, -10, 0), 4)], [BALL((-15, 3, 2), 8)])
    other = sitk.Flip(sitk.PermuteAxes(two, list(order)), list(flips))
    plain, turned = compare_masks(one, two, alignment, 10), compare_masks(one, other, alignment, 10)
    assert turned.total.growth == plain.total.growth and statuses(turned) == statuses(plain)
    assert turned.overlap.dice == pytest.approx(plain.overlap.dice, abs=2e-3)
    for a, b in zip(plain.followup.lesions, turned.followup.lesions):
        assert b.diameters.longest_mm == pytest.approx(a.diameters.longest_mm)
        assert b.diameters.perpendicular_mm == pytest.approx(a.diameters.perpendicular_mm, abs=0.3)
        assert b.variance_mm6 == pytest.approx(a.variance_mm6, rel=1e-6)


def test_bad_settings_are_refused():
    with pytest.raises(BadArguments):
        UncertaintySettings(test_retest_wcv=10)
    with pytest.raises(ValueError):
        find_lesions(phantoms.grid((4, 4, 4), (1, 1, 1)), connectivity=8)
