"""The networks of SAM 3, loaded from a local checkpoint: what they find on pictures and follow through films."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .interface import Abstains
from .transformers_models import as_pixels, load, picture_settings

#: An instance that SAM 3 finds by words is taken above this score, as its own processor has it.
_LEAST_SCORE = 0.3


@dataclass(frozen=True)
class Key:
    """What is shown on one axis: conditioning frames -> points, labels and box, or a mask; and where to begin."""

    frame: int
    points: dict[int, tuple[list, list]]
    mask: np.ndarray | None = None


class Sam3Models:
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

    def follow(self, pictures: np.ndarray, key: Key, reach: int, report) -> np.ndarray:
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

    def __init__(self, pictures: np.ndarray, models: Sam3Models):
        self._pictures, self._models = pictures, models

    def __len__(self):
        return len(self._pictures)

    def __getitem__(self, index: int):
        return as_pixels(self._pictures[index], self._models.size, self._models.mean, self._models.sd)
