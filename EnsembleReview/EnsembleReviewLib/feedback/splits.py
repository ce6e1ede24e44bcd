"""Folds for cross-validation in which no patient is on both sides."""

from __future__ import annotations

from collections.abc import Mapping

from MRISegSuiteLib.errors import BadArguments


def patient_folds(patients: Mapping[str, str], folds: int = 5) -> dict[str, int]:
    """The fold in which each case is held out.

    All cases of a patient get the same fold; folds are as even in cases as that allows. The same cases give the same
    folds, in whatever order they come.

    Args:
        patients: case -> patient.
        folds: how many; no more than there are patients.

    Raises:
        BadArguments: fewer than two folds, or fewer patients than folds.
    """
    cases_of: dict[str, list[str]] = {}
    for case, patient in sorted(patients.items()):
        cases_of.setdefault(patient, []).append(case)
    if folds < 2:
        raise BadArguments(f"{folds} fold(s): a split needs at least two.")
    if len(cases_of) < folds:
        raise BadArguments(f"{len(cases_of)} patient(s) cannot be split into {folds} folds.",
                           "Use fewer folds, or review cases of more patients.")
    sizes = [0] * folds
    fold_of: dict[str, int] = {}
    for patient in sorted(cases_of, key=lambda p: (-len(cases_of[p]), p)):  # those with most cases first
        fold = sizes.index(min(sizes))
        sizes[fold] += len(cases_of[patient])
        fold_of.update(dict.fromkeys(cases_of[patient], fold))
    return fold_of
