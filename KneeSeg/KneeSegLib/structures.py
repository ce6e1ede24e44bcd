"""The structures of the knee: names, label values, colors and terminology, in one table.

Every part of the module (labels, segments, surfaces, tables, legends) reads this table, so a structure has the
same name, number and color wherever a person meets it. Label maps from elsewhere are matched by NAME, never by number.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Structure:
    """One structure.

    Attributes:
        name: identifier in files and tables, e.g. ``femoral_cartilage``.
        label: value in our own label maps.
        title: what a person reads.
        color: RGB, 0..1.
        tissue: ``bone``, ``cartilage`` or ``meniscus``.
        code: SNOMED CT (scheme, value, meaning) of the segmented type: the tissue, as Slicer's terminologies list it.
        region: SNOMED CT (scheme, value, meaning) of the anatomic region the tissue belongs to.
        category: SNOMED CT (scheme, value, meaning) of the terminology category that lists ``code``.
    """

    name: str
    label: int
    title: str
    color: tuple[float, float, float]
    tissue: str
    code: tuple[str, str, str]
    region: tuple[str, str, str]
    category: tuple[str, str, str] = ("SCT", "85756007", "Tissue")


# Types: category "Tissue" of both terminologies that Slicer ships ("3D Slicer General Anatomy list", "DICOM master
# list"). Slicer's lists know Femur but no Tibia as a type, so every structure is told as a tissue of a region.
_BONE = ("SCT", "272673000", "Bone")
_CARTILAGE = ("SCT", "309312004", "Cartilage")
_MENISCUS = ("SCT", "74135004", "Meniscus")
# Regions: DICOM CID 4031. Slicer's anatomic list offers Femur, Patella and Knee; Tibia and Fibula are valid codes that
# it keeps and exports but does not offer for choosing.
_FEMUR = ("SCT", "71341001", "Femur")
_TIBIA = ("SCT", "12611008", "Tibia")
_PATELLA = ("SCT", "64234005", "Patella")
_FIBULA = ("SCT", "87342007", "Fibula")
_KNEE = ("SCT", "72696002", "Knee")

STRUCTURES: tuple[Structure, ...] = (
    Structure("femur", 1, "Femur", (0.95, 0.84, 0.57), "bone", _BONE, _FEMUR),
    Structure("tibia", 2, "Tibia", (0.87, 0.73, 0.53), "bone", _BONE, _TIBIA),
    Structure("patella", 3, "Patella", (0.80, 0.65, 0.42), "bone", _BONE, _PATELLA),
    Structure("femoral_cartilage", 4, "Femoral cartilage", (0.25, 0.65, 0.95), "cartilage", _CARTILAGE, _FEMUR),
    Structure(
        "medial_tibial_cartilage", 5, "Medial tibial cartilage", (0.30, 0.85, 0.50), "cartilage", _CARTILAGE, _TIBIA
    ),
    Structure(
        "lateral_tibial_cartilage", 6, "Lateral tibial cartilage", (0.95, 0.55, 0.25), "cartilage", _CARTILAGE, _TIBIA
    ),
    Structure("patellar_cartilage", 7, "Patellar cartilage", (0.85, 0.35, 0.75), "cartilage", _CARTILAGE, _PATELLA),
    Structure("medial_meniscus", 8, "Medial meniscus", (0.60, 0.85, 0.20), "meniscus", _MENISCUS, _KNEE),
    Structure("lateral_meniscus", 9, "Lateral meniscus", (0.90, 0.80, 0.20), "meniscus", _MENISCUS, _KNEE),
    Structure("fibula", 10, "Fibula", (0.70, 0.58, 0.45), "bone", _BONE, _FIBULA),
)

#: Name accepted on input only: split into its medial and lateral part by anatomy.
UNSPLIT_TIBIAL_CARTILAGE = "tibial_cartilage"

BY_NAME: dict[str, Structure] = {structure.name: structure for structure in STRUCTURES}
BY_LABEL: dict[int, Structure] = {structure.label: structure for structure in STRUCTURES}

#: Every name that an input label map may use.
INPUT_NAMES: frozenset[str] = frozenset(BY_NAME) | {UNSPLIT_TIBIAL_CARTILAGE}

#: Bone that carries each cartilage.
BONE_OF: dict[str, str] = {
    "femoral_cartilage": "femur",
    "medial_tibial_cartilage": "tibia",
    "lateral_tibial_cartilage": "tibia",
    "tibial_cartilage": "tibia",
    "patellar_cartilage": "patella",
}


def words(name: str) -> str:
    """A structure's name within a sentence: ``femoral_cartilage`` as "femoral cartilage"."""
    return name.replace("_", " ")
