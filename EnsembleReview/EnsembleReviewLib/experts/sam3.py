"""SAM 3 as an expert: the slices of a volume are the frames of a film, followed both ways from a key slice.

The film is seen along three axes; the mean of the three answers is the probability, so their agreement is the
confidence. SAM 3 was made for photographs and films. Nobody has shown how good it is on brain MR; it is off unless a
user names a local checkpoint (``facebook/sam3``), and prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..opinions import Opinion
from .interface import Abstains, Case, Progress
from .prompts import USER, Prompt
from .slices_as_frames import Stacks
from .transformers_models import as_pixels, load, picture_settings, record_of, require_checkpoint

ID, TITLE = "sam3", "SAM 3"
_AXES = ("axial", "coronal", "sagittal")
#: A picture is searched for the words of a prompt on this many slices of a stack.
_SEARCHED = 9
#: An instance that SAM 3 finds by words is taken above this score, as its own processor has it.
_LEAST_SCORE = 0.3
#: How far (mm) a structure is followed from its key slice.
_REACH_MM = 80.0


@dataclass(frozen=True)
class _Key:
    """What is shown on one axis: conditioning frames -> points, labels and box, or a mask; and where to begin."""

    frame: int
    points: dict[int, tuple[list, list]]
    mask: np.ndarray | None = None


class Sam3Expert:
    """SAM 3 from a local checkpoint.

    Args:
        folder: the checkpoint, as ``facebook/sam3`` is laid out.
        prompts: at least one.
        channel: name of the channel that it sees; the first image of the case by default.
    """

    id, title = ID, TITLE

    def __init__(self, folder, prompts: Sequence[Prompt], channel: str = ""):
        self.folder, self.prompts, self.channel = folder, list(prompts), channel

    @classmethod
    def from_record(cls, record: Mapping) -> Sam3Expert:
        """From a job's parameter ``sam3``: ``{"checkpoint": folder, "prompts": [...], "channel": name}``."""
        prompts = [Prompt.from_record(prompt) for prompt in record.get("prompts") or []]
        return cls(record.get("checkpoint"), prompts, str(record.get("channel") or ""))

    def answer(self, case: Case, progress: Progress) -> Opinion:
        """See :class:`interface.Expert`: one probability map for each prompted structure."""
        folder = require_checkpoint(self.folder, self.title)
        if not self.prompts:
            raise Abstains("It was given no prompt.")
        image = case.images_for([self.channel])[0] if self.channel else _first(case)
        stacks = Stacks(image)
        models = _Models(folder, case.device)
        answers: dict[str, np.ndarray] = {}
        warnings = list(models.warnings)
        for number, prompt in enumerate(self.prompts):
            def report(stage, fraction, number=number):
                progress(stage, (number + fraction) / len(self.prompts))

            found = _follow_along_all_axes(models, stacks, prompt, report, warnings)
            if found is None:
                raise Abstains(f"It found nothing for the prompt of {prompt.structure.replace('_', ' ')}.")
            mine = stacks.back(found.astype(np.float32))
            answers[prompt.structure] = np.maximum(answers[prompt.structure], mine) if (
                prompt.structure in answers) else mine
        sources = tuple(dict.fromkeys(p.source for p in self.prompts if p.source != USER))
        record = record_of(folder, self.id) | {"prompts": [prompt.to_record() for prompt in self.prompts],
                                               "device": models.device}
        return Opinion(self.id, self.title, answers, record, prompted_by=sources, warnings=warnings)


def _first(case: Case):
    if not case.channels:
        raise Abstains("The case has no image.")
    return case.channels[0].image


class _Models:
    """The tracker, and the detector where words have to be found; loaded when first needed."""

    def __init__(self, folder, device: str):
        from transformers import Sam3TrackerVideoModel

        from MRISegSuiteLib.models.devices import choose_device, set_threads

        self.folder = folder
        self.device, self.warnings = choose_device(device)
        set_threads()
        self.tracker = load(Sam3TrackerVideoModel, folder, self.device)
        self.size = int(self.tracker.config.image_size)
        self.mean, self.sd = picture_settings(folder)
        self._detector = None

    def find_words(self, picture: np.ndarray, text: str) -> tuple[float, np.ndarray]:
        """Score (0 where nothing is found) and mask (bool) of what the words mean in a picture."""
        import torch

        if self._detector is None:
            from transformers import AutoTokenizer, Sam3Model

            self._detector = load(Sam3Model, self.folder, self.device)
            try:
                self._tokens = AutoTokenizer.from_pretrained(
                    self.folder, local_files_only=True, trust_remote_code=False)
            except (OSError, ValueError) as exception:
                raise Abstains(f"The checkpoint {self.folder} holds no tokenizer, so words mean nothing to it.") from (
                    exception)
        length = self._detector.config.text_config.max_position_embeddings
        words = self._tokens([text], padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        pixels = as_pixels(picture, self.size, self.mean, self.sd)[None].to(self.device)
        with torch.inference_mode():
            found = self._detector(
                pixel_values=pixels, input_ids=words["input_ids"].to(self.device),
                attention_mask=words["attention_mask"].to(self.device))  # fmt: skip
            scores = found.pred_logits.sigmoid()[0]
            if found.presence_logits is not None:
                scores = scores * found.presence_logits.sigmoid()[0]
            masks = torch.nn.functional.interpolate(
                found.pred_masks.sigmoid(), picture.shape, mode="bilinear", align_corners=False)[0]
        keep = scores > _LEAST_SCORE
        if not bool(keep.any()):
            return 0.0, np.zeros(picture.shape, bool)
        return float(scores[keep].max()), (masks[keep] > 0.5).any(dim=0).cpu().numpy()

    def follow(self, pictures: np.ndarray, key: _Key, reach: int, report) -> np.ndarray:
        """Probability (slices, rows, columns) of what is shown at the key, followed both ways through a stack."""
        import torch
        from transformers import Sam3TrackerVideoInferenceSession

        rows, columns = pictures.shape[1:]
        session = Sam3TrackerVideoInferenceSession(
            video_height=rows, video_width=columns, inference_device=self.device, inference_state_device=self.device,
            video_storage_device="cpu", dtype=torch.float32)  # fmt: skip
        session.processed_frames = _Frames(pictures, self)
        number = session.obj_id_to_idx(1)
        for frame, (points, labels) in key.points.items():
            scaled = torch.tensor(points, dtype=torch.float32) * torch.tensor([self.size / columns, self.size / rows])
            kinds = torch.tensor(labels, dtype=torch.int32)[None, None]
            session.add_point_inputs(number, frame, {"point_coords": scaled[None, None], "point_labels": kinds})
        if key.mask is not None:
            mask = torch.from_numpy(key.mask.astype(np.float32))[None, None]
            mask = torch.nn.functional.interpolate(mask, (self.size, self.size), mode="bilinear", antialias=True)
            session.add_mask_inputs(number, key.frame, (mask >= 0.5).float())
        session.obj_with_new_inputs = [1]
        result = np.zeros(pictures.shape, np.float32)
        first, last = max(0, key.frame - reach), min(len(pictures) - 1, key.frame + reach)
        total, done = last - first + 1, 0
        # Every frame with points or a mask is looked at first, so that it is remembered both ways.
        for frame in sorted({key.frame, *key.points}):
            session.obj_with_new_inputs = [1]
            self.tracker(session, frame_idx=frame)
        with torch.inference_mode():
            for reverse, length in ((False, last - key.frame), (True, key.frame - first)):
                for found in self.tracker.propagate_in_video_iterator(
                    session, start_frame_idx=key.frame, max_frame_num_to_track=length, reverse=reverse
                ):
                    logits = torch.nn.functional.interpolate(
                        found.pred_masks.float(), (rows, columns), mode="bilinear", align_corners=False)
                    result[found.frame_idx] = logits[0, 0].sigmoid().cpu().numpy()
                    done += 1
                    report(done / (total + 1))
        return result


class _Frames:
    """The pictures of a stack as the frames of a film, each prepared when it is asked for: all at once need GBs."""

    def __init__(self, pictures: np.ndarray, models: _Models):
        self._pictures, self._models = pictures, models

    def __len__(self):
        return len(self._pictures)

    def __getitem__(self, index: int):
        return as_pixels(self._pictures[index], self._models.size, self._models.mean, self._models.sd)


def _follow_along_all_axes(models: _Models, stacks: Stacks, prompt: Prompt, progress, warnings) -> np.ndarray | None:
    """Mean probability (k, j, i) over the axes along which something was found; None where on none."""
    found, center = [], None
    spacing = stacks.spacing
    for axis, name in enumerate(_AXES):
        begin, width = axis / 3, 1 / 3
        pictures = stacks.pictures(axis)
        if prompt.box_lps or prompt.points_lps:
            try:
                key = _shown(stacks, prompt, axis)
            except ValueError as exception:
                raise Abstains(f"{exception}.") from exception
        else:
            key, center = _found_by_words(models, stacks, prompt.text, axis, center)
            if key is None:
                warnings.append(f"SAM 3 found nothing for \"{prompt.text}\" on {name} slices.")
                continue
        reach = max(1, int(round(_REACH_MM / spacing[axis])))
        stack = models.follow(
            pictures, key, reach,
            lambda part, name=name, begin=begin, width=width: progress(f"{name} slices", begin + width * part))
        found.append(stacks.volume(stack, axis))
    return np.mean(found, axis=0) if found else None


def _shown(stacks: Stacks, prompt: Prompt, axis: int) -> _Key:
    """The key of one axis for a box or points."""
    points: dict[int, tuple[list, list]] = {}
    frame = None
    if prompt.box_lps:
        corners = np.array([stacks.index_of(corner) for corner in prompt.box_lps])
        frame, _, _ = stacks.in_stack(corners.mean(axis=0), axis)
        low, high = np.delete(corners.min(axis=0), axis), np.delete(corners.max(axis=0), axis)
        # Rows and columns; SAM takes a box as its two corners with the labels 2 and 3.
        box = [[low[1], low[0]], [high[1] + 1.0, high[0] + 1.0]]
        points[frame] = (box, [2, 3])
    for x, y, z, inside in prompt.points_lps:
        number, column, row = stacks.in_stack(stacks.index_of((x, y, z)), axis)
        there = points.setdefault(number, ([], []))
        there[0].append([column, row])
        there[1].append(1 if inside else 0)
        if frame is None and inside:
            frame = number
    # A slice with nothing but points outside shows nothing to follow.
    points = {n: there for n, there in points.items() if any(label for label in there[1])}
    return _Key(frame, points)


def _found_by_words(models: _Models, stacks: Stacks, text: str, axis: int, center) -> tuple[_Key | None, np.ndarray]:
    """The key of one axis for words, and the center (k, j, i) of what was found; searched around ``center``."""
    pictures = stacks.pictures(axis)
    if center is None:
        there = np.flatnonzero(pictures.any(axis=(1, 2)))
        if not len(there):
            return None, center
        slices = sorted({int(n) for n in np.linspace(there[0], there[-1], _SEARCHED + 2)[1:-1]})
    else:
        slices = [int(round(center[axis]))]
    best = max(((*models.find_words(pictures[n], text), n) for n in slices), key=lambda one: one[0] * one[1].sum())
    score, mask, number = best
    if not mask.any():
        return None, center
    if center is None:
        row, column = np.argwhere(mask).mean(axis=0)
        center = np.insert(np.array([row, column]), axis, number)
    return _Key(number, {}, mask), center
