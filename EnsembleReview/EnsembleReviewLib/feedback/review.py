"""One reviewed case: what goes into the store, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import SimpleITK as sitk

#: As it came, changed by a person, or of no use.
ACCEPTED, CORRECTED, REJECTED = ORIGINS = ("accepted", "corrected", "rejected")


@dataclass(frozen=True)
class Expert:
    """What one member of the panel did on a case.

    Attributes:
        id, version: of the model; for a mask from elsewhere the name that the user knows it by.
        sha256: of the model (or of the mask's file); empty where unknown.
        masks: structure name -> mask (non-zero is inside) on the grid of the first image; empty if it abstained. Here
            a region is whole: the mask of a whole tumor holds the core.
        abstained: why there is no answer; empty where there is one.
        run_time_s: seconds, None where unknown.
    """

    id: str
    version: str = ""
    sha256: str = ""
    masks: Mapping[str, sitk.Image] = field(default_factory=dict)
    abstained: str = ""
    run_time_s: float | None = None


@dataclass(frozen=True)
class Review:
    """A person's word on one case, to be kept.

    Attributes:
        origin: "accepted" (``after`` is ``before``), "corrected" (it is not) or "rejected" (there is no ``after``).
        reviewer: who reviewed, as the site names its readers.
        images: channel ("FLAIR", "T1c" …) -> image, in the order in which models get them; the first one's grid is
            that of all masks.
        before: structure -> mask that was shown (the fusion). Labels that exclude each other, or regions.
        after: structure -> mask that the person stands for; empty when rejected.
        experts: what each expert had said.
        patient: the salted hash of what tells patients apart (see ``FeedbackStore.patient``); never the number or
            name itself. Empty: the case counts as a patient of its own.
        comment: of the reviewer; kept as it is written.
        fusion: how ``before`` was fused.
        decisions: what was decided where the experts differed.
        keep_images: keep a copy of the images (without any metadata), which a training set needs.
    """

    origin: str
    reviewer: str
    images: Mapping[str, sitk.Image]
    before: Mapping[str, sitk.Image]
    after: Mapping[str, sitk.Image]
    experts: Sequence[Expert] = ()
    patient: str = ""
    comment: str = ""
    fusion: Mapping = field(default_factory=dict)
    decisions: Sequence[Mapping] = ()
    keep_images: bool = True


@dataclass(frozen=True)
class Agreement:
    """How near an expert came to the accepted mask of one structure.

    Attributes:
        structure: its name.
        dice: Dice coefficient, 1 where both are empty.
        volume_ml, accepted_volume_ml: volumes in ml.
    """

    structure: str
    dice: float
    volume_ml: float
    accepted_volume_ml: float


@dataclass(frozen=True)
class ExpertRecord:
    """An expert as the store knows it; ``agreement`` is empty for rejected cases and where it abstained."""

    id: str
    version: str
    sha256: str
    run_time_s: float | None
    abstained: str
    agreement: tuple[Agreement, ...]


@dataclass(frozen=True)
class ImageRecord:
    """An image of a case: its channel, the hash of its voxels, and whether the store has a copy."""

    channel: str
    sha256: str
    kept: bool


@dataclass(frozen=True)
class Record:
    """A review as the store gives it back.

    Attributes:
        id: number in the store, growing.
        uid: the same all over the world.
        saved_at: UTC, ISO 8601.
        case: hash over the images: the same images, the same case.
        patient: salted hash, or that of the case where no patient was told.
        patient_known: False where the case counts as a patient of its own.
        geometry: ``size``, ``spacing_mm``, ``origin_mm`` and ``direction`` (LPS) of the first image.
        structures: names of the structures in the masks.
        before, after: hashes of the masks in the store; ``after`` is None when rejected.
        Others: see :class:`Review`.
    """

    id: int
    uid: str
    saved_at: str
    reviewer: str
    origin: str
    comment: str
    case: str
    patient: str
    patient_known: bool
    geometry: Mapping
    structures: tuple[str, ...]
    before: str
    after: str | None
    fusion: Mapping
    decisions: tuple
    software: str
    images: tuple[ImageRecord, ...]
    experts: tuple[ExpertRecord, ...]
