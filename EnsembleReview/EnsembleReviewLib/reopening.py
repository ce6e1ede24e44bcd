"""The job ``review_images``: what a panel needs to review a finished ensemble job that is not in the scene.

Reading packed images takes a second; a window must not wait for that, so a worker unpacks them.
"""

from __future__ import annotations

from pathlib import Path

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.files import sha256_of
from MRISegSuiteLib.images.writing import write_image
from MRISegSuiteLib.jobs import Job, Result

from .feedback.store import FeedbackStore
from .pipeline import read_case


def run(job, context) -> Result:
    """Unpack the images of a finished job, and the masks that a person stood for.

    Parameters: ``folder`` of the job; ``store`` and ``record`` (uid) of the last word on it, where there is one.

    Files: ``image_<n>``, the channels on the grid of the first; ``mask_<n>``, the accepted mask of a structure.
    Parameters of the result: ``channel_names``, ``structures`` (those of the masks).

    Raises:
        BadInput: the job has no image, or an image is no longer what it was.
        SuiteError: it cannot be read.
    """
    folder, given = Path(job.parameters["folder"]), job.parameters
    context.progress("Reading the images", 0.0)
    finished = Job.read(folder)
    if not finished.inputs.get("image"):
        raise BadInput(f"The result in {folder} was made from masks alone: there is no image to review it on.",
                       "Run it again with the image.")
    for entry in Result.read(folder).inputs:
        path = Path(entry["file"])
        if entry["role"] in ("image", "channels") and path.is_file() and entry.get("sha256") != sha256_of(path):
            raise BadInput(f"{path} is not the file any more that the result in {folder} was made from.",
                           "Run it again.")
    case, _ = read_case(finished, context, [])
    files = {}
    for number, channel in enumerate(case.channels):
        context.progress("Reading the images", 0.2 + 0.6 * number / len(case.channels))
        files[f"image_{number}"] = write_image(
            channel.image, context.folder / f"image_{number}.nrrd", compress=False).name
    masks = _accepted(given.get("store"), given.get("record"))
    for number, mask in enumerate(masks.values()):
        files[f"mask_{number}"] = write_image(mask, context.folder / f"mask_{number}.nrrd", compress=False).name
    return Result(files=files, parameters={"channel_names": [channel.name for channel in case.channels],
                                           "structures": list(masks)})


def _accepted(store, uid) -> dict:
    if not store or not uid:
        return {}
    records = FeedbackStore(store)
    return next((records.after(record) or {} for record in records.latest() if record.uid == uid), {})
