"""The shape stage of a knee job: which model, the fit, and what it gives to the table and the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import vtk

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.meshes.polydata import to_polydata, transform_mesh
from MRISegSuiteLib.models import Card, Registry
from MRISegSuiteLib.models.verified_files import VerifiedFiles

from ..measure import KneeMeasurement
from . import TASK
from .fit import ShapeFit, ShapeModel, fit_shape
from .linear import LinearShapeModel
from .score import ScoreVectors, bscore, shape_distance
from .target import ShapeTarget, shape_target

METHOD = "{model}: similarity registration, {how}"


@dataclass
class ShapeResults:
    """What the stage found.

    Attributes:
        surfaces: name -> reconstructed surface, LPS mm: the bone, and bone and cartilage together.
        point_data: bone -> name -> one value a point of its measured surface: ``shape_error_mm``, how far the real
            bone reaches beyond the reconstruction; ``shape_fitted``, where that is known.
        rows: for the table, as ``KneeMeasurement.rows``.
        record: for ``shape.json``: model, numbers, pose.
        warnings: sentences for the user.
    """

    surfaces: dict[str, vtk.vtkPolyData] = field(default_factory=dict)
    point_data: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    rows: list[dict] = field(default_factory=list)
    record: dict = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def choose_model(model_id: str | None) -> Card | None:
    """The shape model that was asked for, else the first one; None where there is none and none was asked for.

    Raises:
        SuiteError: the one that was asked for is not there, or is none.
    """
    registry = Registry()
    if not model_id and not registry.cards(TASK):
        return None
    return registry.choose(TASK, model_id)


def read_model(card: Card) -> tuple[ShapeModel, ScoreVectors | None]:
    """The shape model of a card, and the BScore vectors in its latent space where it has some.

    Raises:
        SuiteError: a file is missing, was changed, or is not what the card says.
    """
    files = VerifiedFiles(card)
    weights = files.read(files.names[0])
    try:
        if card.backend == "linear_shape":
            model = LinearShapeModel.read(weights)
        else:
            from .neural import NeuralShapeModel, read_published

            model = read_published(weights) if card.backend == "published_shape" else NeuralShapeModel.read(weights)
    except ValueError as error:
        raise BadInput(
            f"{card.path_of(files.names[0])} is not the shape model that its card says: {error}.",
            "Correct the card, or get the file again.",
        ) from error
    name = card.options.get("bscore")
    weights_sha256 = card.files[0]["sha256"]
    vectors = ScoreVectors.read(files.read(name), weights_sha256, str(card.path_of(name))) if name else None
    return model, vectors


def fit_knee_shape(
    measurement: KneeMeasurement, card: Card, seed: int = 0, progress: Callable[[str, float], None] | None = None
) -> ShapeResults | str:
    """Fit a shape model to its bone in a measured knee.

    Returns:
        The results, or a sentence that says why there are none.

    Raises:
        SuiteError: see :func:`read_model`; ``OtherLatentSpace``: the BScore vectors do not fit the model.
    """
    bone = card.options["bone"]
    report = progress or (lambda stage, fraction: None)
    if bone not in measurement.bones:
        return f"There is no {bone} in the segmentation: its shape is not fitted."
    report(f"Fitting the shape of the {bone}", 0.0)
    model, vectors = read_model(card)
    try:
        target = shape_target(
            measurement.knee, bone, "cartilage" if card.backend == "published_shape" else "articular"
        )
        fit = fit_shape(
            model, target, seed, lambda fraction: report(f"Fitting the shape of the {bone}", 0.9 * fraction)
        )
    except ValueError as error:
        return f"The shape of the {bone} is not fitted: {error}."
    report("Measuring the fit", 0.95)
    return _results(measurement, card, model, fit, target, vectors)


def _unlike(bone: str, assd: float, card: Card) -> list[str]:
    """A warning where the fit is worse than the card's held-out bones let expect: most often a bad segmentation."""
    known = [p for p in card.content["performance"] if (p["metric"], p["structure"]) == ("ASSD", bone) and "sd" in p]
    if not known or assd <= known[0]["value"] + 3 * known[0]["sd"]:
        return []
    return [
        f"The {bone} is unlike what the shape model knows: it differs by {assd:.2f} mm on average, where "
        f"{known[0]['value']:.2f} ± {known[0]['sd']:.2f} is usual. Color the bones by it, and look whether the "
        f"{bone} is segmented well there."
    ]


def _results(
    measurement: KneeMeasurement,
    card: Card,
    model: ShapeModel,
    fit: ShapeFit,
    target: ShapeTarget,
    vectors: ScoreVectors | None,
) -> ShapeResults:
    bone, knee = card.options["bone"], measurement.knee
    method = METHOD.format(model=f"{card.id} {card.version}", how=fit.how)
    second = f"{bone}_{target.second_name}"
    results = ShapeResults(warnings=[*fit.warnings, *_unlike(bone, fit.assd[0], card)])
    for name, surface in zip((bone, second), fit.surfaces):
        results.surfaces[name] = to_polydata(*transform_mesh(surface.points, surface.triangles, knee.to_lps))
    error = fit.error(measurement.bones[bone].points)
    known = np.isfinite(error)
    results.point_data[bone] = {
        "shape_error_mm": np.where(known, error, 0).astype(np.float32), "shape_fitted": known
    }  # fmt: skip

    def row(name: str, value: float, unit: str, how: str = method) -> dict:
        return {"structure": bone, "region": "whole", "name": name, "value": value, "unit": unit, "method": how}

    measures = ("shape_ASSD", f"shape_{target.second_name}_ASSD")
    results.rows = [row(name, assd, "mm") for name, assd in zip(measures, fit.assd)]
    if model.spread is not None:
        population = f"{method}; 1 is usual in its population: {card.options['population']}"
        results.rows.append(row("shape_distance", shape_distance(fit.numbers, model.spread), "SD", population))
    weights_sha256 = card.files[0]["sha256"]
    if vectors is not None:
        results.rows.append(row("BScore", bscore(fit.numbers, vectors, weights_sha256), "SD of healthy bones"))
    results.record = {
        "model": card.to_record(),
        "bone": bone,
        "numbers": [float(v) for v in fit.numbers],
        "model_to_lps": (knee.to_lps @ fit.pose.matrix).tolist(),
        "population": card.options["population"],
        "how": fit.how,
    }
    return results
