"""The T2 stage of a knee job: what the scan allows, what is asked for, and the results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.canonical import same_grid
from MRISegSuiteLib.images.reading import Volume

from ..measure import KneeMeasurement
from ..structures import BY_NAME, words
from .maps import QDESS_METHODS, T2Map, T2Options, qdess_map, spin_echo_map
from .multi_echo import METHODS as SPIN_ECHO_METHODS
from .on_cartilage import VoxelValues, cartilage_rows, excluded_sentence, surface_fields, t2_rows
from .qdess import QdessProtocol
from .steady_state import Spoiler

#: Parameters that a person may give (job parameter ``t2``): name -> kind.
NUMBERS = ("tr_ms", "flip_deg", "spoiler_area", "spoiler_us", "shortest_ms", "longest_ms", "least_r_squared")
CHOICES = {"method": (*QDESS_METHODS, *SPIN_ECHO_METHODS), "kind": ("qdess", "multi_echo_spin_echo")}
FLAGS = ("skip_first_echo", "without_fat", "without_fluid", "without_diffusion")


@dataclass
class T2Results:
    """What the stage found.

    Attributes:
        image: T2 in ms on the grid of the scan, 0 where there is none.
        rows: for the table, as ``KneeMeasurement.rows``.
        point_data: bone -> name -> one value a point of its surface.
        warnings: sentences for the user.
    """

    image: sitk.Image
    rows: list[dict] = field(default_factory=list)
    point_data: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def check_parameters(given: Mapping) -> None:
    """Refuse parameters that nobody knows.

    Raises:
        BadArguments
    """
    known = {*NUMBERS, *CHOICES, *FLAGS, "te_ms", "t1_ms"}
    unknown = sorted(set(given) - known)
    if unknown:
        raise BadArguments(f"Unknown T2 parameter {', '.join(unknown)}.", f"Known are {', '.join(sorted(known))}.")
    for name in NUMBERS:
        if name in given and not (isinstance(given[name], (int, float)) and given[name] > 0):
            raise BadArguments(f"The T2 parameter {name} is {given[name]!r}.", "Give a number above 0.")
    times = given.get("t1_ms", {})
    if not (isinstance(times, dict) and all(isinstance(t, (int, float)) and t > 0 for t in times.values())):
        raise BadArguments(f"The T2 parameter t1_ms is {times!r}.", "Give structures and their T1, numbers above 0.")
    for name, known in CHOICES.items():
        if name in given and given[name] not in known:
            raise BadArguments(f"The T2 parameter {name} is {given[name]!r}.", f"Known are {', '.join(known)}.")
    times = given.get("te_ms", [1.0])
    if not (isinstance(times, list) and times and all(isinstance(t, (int, float)) and t > 0 for t in times)):
        raise BadArguments(f"The T2 parameter te_ms is {times!r}.", "Give the echo times, numbers above 0.")


def map_t2(
    volume: Volume,
    measurement: KneeMeasurement,
    given: Mapping,
    layers: int,
    progress: Callable[[str, float], None] | None = None,
) -> T2Results | str:
    """Map T2 of a scan with echoes, and measure it in the regions and layers of a measured knee.

    Args:
        volume: the scan, with its echoes and what is known of how it was taken.
        measurement: the measured knee.
        given: what a person gave by hand (``NUMBERS``, ``CHOICES``, ``FLAGS``, ``te_ms``, ``t1_ms``); it comes
            before what the file says.
        layers: number of depth layers.

    Returns:
        The results, or a sentence that says why there are none and what would help.

    Raises:
        BadArguments: a parameter that nobody knows, or a method that does not fit the scan.
    """
    check_parameters(given)
    report = progress or (lambda stage, fraction: None)
    info = dict(volume.info) | {k: v for k, v in given.items() if k in ("tr_ms", "te_ms", "flip_deg")}
    if len(volume.echoes) < 2:
        return "The scan has one echo: T2 cannot be mapped."
    if volume.info.get("kind") not in ("qdess", "multi_echo_spin_echo"):
        return "The scan's echoes are neither qDESS nor a spin-echo train: T2 is not mapped."
    report("Mapping T2", 0.0)
    t2 = _qdess(volume, info, given, measurement) if volume.info["kind"] == "qdess" else _spin_echo(
        volume, info, given, measurement
    )
    if isinstance(t2, str):
        return t2
    report("Measuring T2", 0.6)
    return _results(t2, volume.echoes[0], measurement, layers)


def _qdess(volume: Volume, info: Mapping, given: Mapping, measurement) -> T2Map | str:
    missing = [name for name in ("tr_ms", "flip_deg") if not info.get(name)]
    if not info.get("te_ms"):
        missing.append("te_ms")
    if missing:
        return _ask(missing)
    if given.get("method", "exact") not in QDESS_METHODS:
        raise BadArguments(f"The T2 method {given['method']} is not for qDESS.", f"Use {' or '.join(QDESS_METHODS)}.")
    area, duration = (given.get(n, volume.info.get(n)) for n in ("spoiler_area", "spoiler_us"))
    spoiler = Spoiler(area, duration) if area and duration and not given.get("without_diffusion") else None
    protocol = QdessProtocol(float(info["tr_ms"]), float(np.min(info["te_ms"])), float(info["flip_deg"]), spoiler)
    masks = _masks_on(volume.echoes[0], measurement)
    return qdess_map(volume.echoes[0], volume.echoes[1], protocol, masks, _options(given))


def _spin_echo(volume: Volume, info: Mapping, given: Mapping, measurement) -> T2Map | str:
    times = info.get("te_ms") or []
    if len(times) != len(volume.echoes):
        return _ask(["te_ms"])
    method = given.get("method", "nonlinear")
    if method not in SPIN_ECHO_METHODS:
        raise BadArguments(
            f"The T2 method {method} is not for spin echoes.", f"Use {', '.join(SPIN_ECHO_METHODS)}."
        )
    within = None
    if method == "phase_graph":  # costly: the soft tissues that are measured, and what surrounds them
        masks = [m for n, m in _masks_on(volume.echoes[0], measurement).items() if BY_NAME[n].tissue != "bone"]
        within = np.logical_or.reduce(masks) if masks else None
    try:
        return spin_echo_map(volume.echoes, list(times), _options(given), within)
    except ValueError as error:
        return f"T2 cannot be mapped: {error}."


def _options(given: Mapping) -> T2Options:
    options = T2Options(
        skip_first_echo=bool(given.get("skip_first_echo")),
        without_fat=bool(given.get("without_fat")),
        without_fluid=bool(given.get("without_fluid")),
        t1_ms=given.get("t1_ms") or {},
    )
    low, high = options.valid_ms
    options = dataclasses.replace(
        options,
        valid_ms=(float(given.get("shortest_ms", low)), float(given.get("longest_ms", high))),
        least_r_squared=float(given.get("least_r_squared", options.least_r_squared)),
    )
    method = given.get("method")
    if method in QDESS_METHODS:
        options = dataclasses.replace(options, qdess_method=method)
    elif method in SPIN_ECHO_METHODS:
        options = dataclasses.replace(options, spin_echo_method=method)
    return options


def _ask(missing: list[str]) -> str:
    return (
        f"T2 is not mapped: the file does not say {', '.join(missing)}. Give what is missing as T2 parameters (the "
        "scan's protocol has them)."
    )


def _masks_on(image: sitk.Image, measurement: KneeMeasurement) -> dict[str, np.ndarray]:
    """The measured structures on the grid of the scan."""
    labels = measurement.labels
    if not same_grid(image, labels):
        labels = sitk.Resample(labels, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    array = sitk.GetArrayViewFromImage(labels)
    return {name: array == BY_NAME[name].label for name in measurement.knee.boxes}


def _results(t2: T2Map, grid: sitk.Image, measurement: KneeMeasurement, layers: int) -> T2Results:
    image = sitk.GetImageFromArray(t2.t2)
    image.CopyInformation(grid)
    results = T2Results(image)
    values = VoxelValues(t2, grid, measurement.knee)
    for bone, measured in measurement.bones.items():
        for name, cartilage in measured.cartilages.items():
            has_fit = t2.r_squared is not None
            results.rows.extend(cartilage_rows(name, cartilage, values, layers, t2.method, has_fit))
            results.warnings.append(excluded_sentence(words(name), values.at(cartilage.voxels.index)[1]))
        if measured.cartilages:
            results.point_data[bone] = surface_fields(measured, values, layers)
    for name in ("medial_meniscus", "lateral_meniscus"):
        if name in measurement.knee.boxes:
            found, reason, _ = values.at(np.argwhere(measurement.knee.mask(name)))
            results.rows.extend(t2_rows(name, "whole", found, reason, t2.method))
    results.warnings = [text for text in results.warnings if text]
    return results
