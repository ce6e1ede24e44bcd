"""What dropping a place or taking it from an expert does to labels that are nested regions of a tumor."""

import numpy as np
import pytest

from EnsembleReviewLib.label_regions import dropped, label_for, label_without, labels_within, taken

LABELS = ("edema", "non_enhancing_core", "enhancing_tumour")


def masks(line, names):
    """Masks along a line of letters: e(dema), n(ecrosis), h (enhancing), w(hole), . (nothing)."""
    letters = dict(zip(("edema", "non_enhancing_core", "enhancing_tumour", "whole_tumour", "tumour_core"), "enhwc",
                       strict=True))
    return {name: np.array([c == letters[name] for c in line]) for name in names}


def applied(line, names, change, place=None):
    """The line after a change ``(gained, lost)``."""
    gained, lost = change
    letters = dict(zip(("edema", "non_enhancing_core", "enhancing_tumour", "whole_tumour", "tumour_core"), "enhwc",
                       strict=True))
    after = list(line)
    for name, mask in gained.items():
        for n in np.flatnonzero(mask):
            after[n] = letters[name]
    for n in np.flatnonzero(lost):
        after[n] = "."
    return "".join(after)


ALL = np.ones(6, bool)


@pytest.mark.parametrize(("structure", "line", "names", "after"), [
    ("whole_tumour", "..enhe", LABELS, "......"),
    ("tumour_core", "..enhe", LABELS, "..eeee"),
    ("enhancing_tumour", "..enhe", LABELS, "..enne"),
    ("enhancing_tumour", "..wwhw", ("whole_tumour", "enhancing_tumour"), "..wwww"),
    ("whole_tumour", "..wwww", ("whole_tumour",), "......"),
    ("whole_tumour", "..wwhh", ("whole_tumour", "enhancing_tumour"), "......"),
])
def test_dropping_leaves_what_is_around(structure, line, names, after):
    assert applied(line, names, dropped(structure, ALL, masks(line, names))) == after


@pytest.mark.parametrize(("said", "known", "names", "ours", "after"), [
    # the same labels: what the expert says
    ("ehn...", LABELS, LABELS, ".eeeee", "ehn..."),
    # an expert of the whole tumor only: parts that are there stay, the rest becomes edema, outside goes
    ("wwww..", ("whole_tumour",), LABELS, "..nhhe", "eenh.."),
    # a segmentation of the whole tumor only, an expert with parts
    ("ehn...", LABELS, ("whole_tumour",), "...www", "www..."),
    # what the expert knows nothing about stays
    ("..h...", ("enhancing_tumour",), LABELS, "ee.hee", "eeh.ee"),
])
def test_taking_from_an_expert(said, known, names, ours, after):
    said_masks = masks(said, known)
    place = np.ones(len(said), bool)
    assert applied(ours, names, taken(said_masks, known, place, masks(ours, names))) == after


def test_nothing_changes_outside_the_place():
    place = np.array([True, True, False, False, False, False])
    ours = masks("..eeee", LABELS)
    gained, lost = taken(masks("eeh...", LABELS), LABELS, place, ours)
    assert applied("..eeee", LABELS, (gained, lost)) == "eeeeee"
    gained, lost = dropped("whole_tumour", place, masks("eeeeee", LABELS))
    assert applied("eeeeee", LABELS, (gained, lost)) == "..eeee"


def test_names():
    assert labels_within("tumour_core", LABELS) == ["non_enhancing_core", "enhancing_tumour"]
    assert labels_within("lesion", ("lesion", "edema")) == ["lesion"]
    assert label_without("whole_tumour", LABELS) == "" and label_without("lesion", LABELS) == ""
    assert label_for("edema", ("whole_tumour",)) == "whole_tumour"
    assert label_for("whole_tumour", LABELS) is None and label_for("vessel", LABELS) == ""
