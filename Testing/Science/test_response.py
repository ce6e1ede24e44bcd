"""Change categories right at, below and above the thresholds of each criterion."""

import json
import math
from dataclasses import replace

import lesion_phantoms as phantoms
import numpy as np
import pytest
import SimpleITK as sitk

from LongitudinalCompareLib.change.alignment import Alignment
from LongitudinalCompareLib.change.compare import compare_lesions
from LongitudinalCompareLib.change.lesions import find_lesions
from LongitudinalCompareLib.change.timeline import lesion_tracks
from LongitudinalCompareLib.change.uncertainty import UncertaintySettings
from LongitudinalCompareLib.response.assess import assess, choose_targets
from LongitudinalCompareLib.response.criteria_files import criteria, criterion, read_criterion
from LongitudinalCompareLib.response.measures import LesionMeasure, TimepointMeasures, measures_of
from MRISegSuiteLib.errors import BadArguments, BadInput

EXACT = UncertaintySettings(test_retest_wcv=0.0, position_sd_diameter=0.0, position_sd_product=0.0)


def lesion(longest=20.0, perpendicular=15.0, volume=3000.0, slices=5, slice_mm=1.0, organ=""):
    """A lesion measured without any voxel error (pixels of no size)."""
    return LesionMeasure(longest, longest * perpendicular, volume, ((longest, perpendicular),) * slices, slice_mm, 0.0,
                         0.0, organ)  # fmt: skip


def at(days, **lesions):
    return TimepointMeasures(days, {int(name[1:]): one for name, one in lesions.items()})


def categories(name, *timepoints, settings=EXACT):
    return [one.category for one in assess(criterion(name), timepoints, settings)]


def diameters(name, *sums):
    """Categories of one lesion with these longest diameters."""
    points = [at(30 * n, t1=lesion(longest=d, perpendicular=min(15.0, d))) for n, d in enumerate(sums)]
    return categories(name, *points)


def volumes(*sums):
    return categories("rano_2_volumetric", *[at(30 * n, t1=lesion(volume=v)) for n, v in enumerate(sums)])


def products(*sums):
    points = [at(30 * n, t1=replace(lesion(), product_mm2=p)) for n, p in enumerate(sums)]
    return categories("rano_2d", *points)


def test_recist_at_its_thresholds():
    assert diameters("recist_1_1", 24.0, 28.8) == ["SD"]  # +20 %, but +4.8 mm only
    assert diameters("recist_1_1", 25.0, 30.0) == ["PD"]  # +20 % and +5 mm
    assert diameters("recist_1_1", 25.0, 29.99) == ["SD"]
    assert diameters("recist_1_1", 40.0, 45.0) == ["SD"]  # +5 mm, but +12.5 %
    assert diameters("recist_1_1", 40.0, 28.0) == ["PR"]  # -30 %
    assert diameters("recist_1_1", 40.0, 28.01) == ["SD"]


def test_progression_is_judged_against_the_nadir_and_response_against_the_baseline():
    assert diameters("recist_1_1", 50.0, 30.0, 36.0) == ["PR", "PD"]  # 36 is -28 % of 50, and +20 % of 30
    assert diameters("recist_1_1", 50.0, 30.0, 34.0) == ["PR", "PR"]
    assert volumes(10000, 3000, 4300) == ["PR", "PD"]
    points = [at(0, t1=lesion(50)), at(30, t1=lesion(30)), at(60, t1=lesion(36))]
    last = assess(criterion("recist_1_1"), points, EXACT)[1]
    assert (last.nadir_timepoint, last.nadir_value) == (1, 30.0)
    assert last.percent_from_baseline == pytest.approx(-28) and last.percent_from_nadir == pytest.approx(20)


def test_metastases_need_one_lesion_that_grew_by_five_millimeters():
    two = at(0, t1=lesion(15), t2=lesion(15))
    assert categories("rano_bm", two, at(30, t1=lesion(18.5), t2=lesion(18.5))) == ["SD"]  # +23 %, +3.5 mm each
    assert categories("rano_bm", two, at(30, t1=lesion(20), t2=lesion(17))) == ["PD"]
    assert categories("rano_bm", two, at(30, t1=lesion(10.5), t2=lesion(10.5))) == ["PR"]


def test_volumetric_and_two_dimensional_rano_at_their_thresholds():
    assert volumes(3000, 3990) == ["SD"]  # +33 %
    assert volumes(3000, 4200) == ["PD"] and volumes(3000, 4199) == ["SD"]
    assert volumes(3000, 1050) == ["PR"] and volumes(3000, 1051) == ["SD"]
    assert products(400, 500) == ["PD"] and products(400, 499) == ["SD"]
    assert products(400, 200) == ["PR"] and products(400, 201) == ["SD"]


@pytest.mark.parametrize("name", ["recist_1_1", "rano_bm", "rano_2d", "rano_2_volumetric"])
def test_a_lesion_out_of_nothing_is_new_and_has_no_percentage(name):
    found = assess(criterion(name), [at(0), at(90, t1=lesion(25, 22, 8000.0))])[0]
    assert (found.category, found.certainty, found.new_lesions) == ("PD", "probable", (1,))
    assert "new lesion" in found.text and "not defined" in found.text
    assert math.isnan(found.percent_from_baseline) and found.percent_interval is None
    assert found.is_measurable_change


def test_a_new_lesion_beside_stable_targets():
    base = at(0, t1=lesion())
    measurable = assess(criterion("rano_bm"), [base, at(30, t1=lesion(), t2=lesion(12, 11, 800))])[0]
    assert (measurable.category, measurable.certainty) == ("PD", "probable")
    small = assess(criterion("rano_bm"), [base, at(30, t1=lesion(), t2=lesion(4, 3, 20))])[0]
    assert (small.category, small.certainty) == ("PD", "indeterminate")
    assert any("not measurable" in reason for reason in small.reasons)
    there_before = replace(at(30, t1=lesion(), t2=lesion(4, 3, 20)), were_too_small=frozenset({2}))
    speck = assess(criterion("rano_bm"), [base, there_before])[0]
    assert (speck.category, speck.text, speck.is_measurable_change) == ("SD", "no measurable change", False)
    back = assess(criterion("rano_bm"), [at(0, t1=lesion(), t2=lesion(4, 3, 20)), at(30, t1=lesion())])[0]
    assert (back.category, back.text) == (speck.category, speck.text)


def test_all_gone_and_targets_gone():
    base = at(0, t1=lesion(), t2=lesion(5, 4, 60))
    gone = assess(criterion("rano_bm"), [base, at(30)])[0]
    assert (gone.category, gone.certainty) == ("CR", "probable")
    left = assess(criterion("rano_bm"), [base, at(30, t2=lesion(5, 4, 60))])[0]
    assert left.category == "PR" and any("other lesions are not" in reason for reason in left.reasons)
    assert categories("rano_bm", base, at(30), at(60, t1=lesion(6))) == ["CR", "PD"]


def test_confirmation_is_asked_for_until_a_later_scan_confirms():
    points = [at(0, t1=lesion(40)), at(20, t1=lesion(25)), at(40, t1=lesion(25)), at(50, t1=lesion(25))]
    first, second, third = assess(criterion("rano_bm"), points, EXACT)
    assert "28 days later" in first.confirmation and "28 days later" in second.confirmation
    assert third.confirmation == ""
    assert "pseudoprogression" in assess(criterion("rano_2d"), [points[0], at(9, t1=lesion(80))])[0].confirmation


def test_certainty_follows_from_the_interval():
    settings = UncertaintySettings(test_retest_wcv=0.10)  # half-width 27.7 % in ln V, one sd 14.1 %

    def certainty(factor):
        found = assess(criterion("rano_2_volumetric"), [at(0, t1=lesion()), at(30, t1=lesion(volume=3000 * factor))],
                       settings)[0]  # fmt: skip
        return found.category, found.certainty, found.is_measurable_change

    assert certainty(1.41) == ("PD", "indeterminate", True)
    assert certainty(1.4 * math.exp(0.15)) == ("PD", "probable", True)
    assert certainty(1.4 * math.exp(0.28)) == ("PD", "definite", True)
    assert certainty(1.02) == ("SD", "definite", False)
    assert certainty(1.35) == ("SD", "indeterminate", True)


def test_no_change_is_called_no_measurable_change():
    found = assess(criterion("rano_2_volumetric"), [at(0, t1=lesion()), at(30, t1=lesion(volume=3003.0))])[0]
    assert found.text == "no measurable change" and not found.is_measurable_change


def test_a_scale_between_the_scans_widens_one_side():
    points = [at(0, t1=lesion()), at(30, t1=lesion(volume=3000 * 1.42))]
    assert assess(criterion("rano_2_volumetric"), points, EXACT)[0].certainty == "definite"
    larger = assess(criterion("rano_2_volumetric"), points, EXACT, volume_ratios=[1.06])[0]
    assert larger.certainty == "indeterminate"
    assert larger.percent_interval == pytest.approx((100 * (1.42 / 1.06 - 1), 42))
    smaller = assess(criterion("rano_2_volumetric"), points, EXACT, volume_ratios=[1 / 1.06])[0]
    assert smaller.certainty == "definite"


def test_targets_are_the_largest_measurable_ones_and_not_too_many():
    many = at(0, **{f"t{n}": lesion(10 + n, 10 + n, 1000 * n) for n in range(1, 8)}, t9=lesion(60, 8, 9000, slices=1))
    assert choose_targets(criterion("rano_bm"), many) == (7, 6, 5, 4, 3)
    assert choose_targets(criterion("recist_1_1"), many) == (9, 7)  # two an organ; one slice is enough
    by_organ = at(0, t1=lesion(30, organ="brain"), t2=lesion(29, organ="brain"), t3=lesion(28, organ="brain"),
                  t4=lesion(11, organ="liver"))  # fmt: skip
    assert choose_targets(criterion("recist_1_1"), by_organ) == (1, 2, 4)
    thick = at(0, t1=lesion(11, slice_mm=6))
    assert choose_targets(criterion("recist_1_1"), thick) == ()  # 10 mm and twice the slice distance


def test_without_a_measurable_target_nothing_is_evaluable():
    found = assess(criterion("rano_2d"), [at(0, t1=lesion(8, 7)), at(30, t1=lesion(9, 8))])[0]
    assert found.category == "NE" and math.isnan(found.value) and "measurable" in found.reasons[0]


def test_time_must_go_forward_and_targets_must_exist():
    with pytest.raises(BadInput, match="positive"):
        assess(criterion("rano_2d"), [at(30, t1=lesion()), at(30, t1=lesion())])
    with pytest.raises(BadInput, match="not there at baseline"):
        assess(criterion("rano_2d"), [at(0, t1=lesion()), at(30, t1=lesion())], targets=[5])
    with pytest.raises(BadInput, match="two timepoints"):
        assess(criterion("rano_2d"), [at(0, t1=lesion())])


def test_criteria_are_data_with_a_source_and_a_status(tmp_path):
    known = criteria()
    assert set(known) == {"recist_1_1", "rano_bm", "rano_2d", "rano_2_volumetric"}
    assert all(one.source and one.verification and not one.verified for one in known.values())
    with pytest.raises(BadArguments, match="Known are"):
        criterion("recist")
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"id": "mine"}))
    with pytest.raises(BadArguments, match="no response criterion"):
        criterion(str(mine))
    mine.write_text("{")
    with pytest.raises(BadArguments, match="no JSON"):
        read_criterion(mine)


@pytest.mark.parametrize("name", ["recist_1_1", "rano_2_volumetric"])
def test_from_masks_to_categories_over_three_scans(name):
    still = Alignment(sitk.Transform(3, sitk.sitkIdentity), sitk.Transform(3, sitk.sitkIdentity))
    image = phantoms.grid((90, 70, 50), (1, 1, 1))
    ball = phantoms.ball
    scans = [
        phantoms.draw(image, *there)
        for there in (
            [ball((-20, 0, 0), 12), ball((20, 0, 0), 8)],
            [ball((-20, 0, 0), 7), ball((20, 0, 0), 6)],
            [ball((-20, 0, 0), 12), ball((20, 0, 0), 6), ball((5, 22, 5), 7)],
        )
    ]
    points = [find_lesions(scan) for scan in scans]
    tracks = lesion_tracks(points, [compare_lesions(a, b, still).matching for a, b in zip(points, points[1:])])
    found = assess(criterion(name), measures_of(points, tracks, [0, 60, 120]))
    assert [one.category for one in found] == ["PR", "PD"]
    # lengths are less sure than volumes: other planes may have been cut
    assert found[1].certainty == ("probable" if name == "recist_1_1" else "definite")
    assert found[1].new_lesions == (3,) and found[1].targets == (1, 2)
    truth = 2 * np.array([12 + 8, 7 + 6, 12 + 6]) if name == "recist_1_1" else None
    if truth is not None:
        assert [found[0].baseline_value, found[0].value, found[1].value] == pytest.approx(truth, abs=2)
