"""MedGemma as an adviser, not as an expert: it writes text, and text decides on no voxel and gives no number.

What it may say: which sequence an image looks like, on which slices something is abnormal, a text of findings, and
candidate boxes. A box is a prompt for SAM 3 only after a person has confirmed it; the two then count as one voice.
Everything it says is kept word for word beside what was understood. Off unless a user names a local checkpoint
(``google/medgemma-1.5-4b-it``; its license has to be accepted by the user).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from MRISegSuiteLib.images.channels import channel_of, same_channel
from MRISegSuiteLib.images.structures import structure_of, tumor_name

from .interface import Abstains, Case, Progress
from .prompts import Prompt
from .slices_as_frames import Stacks
from .transformers_models import load, record_of, require_checkpoint

ID, TITLE = "medgemma", "MedGemma"
NOTE = ("Written by a language model from single slices; it may be wrong in every part. Not a finding, not a "
        "measurement; a person decides.")
SEQUENCE, TRIAGE, FINDINGS, BOXES = TASKS = ("sequence", "triage", "findings", "boxes")
_AXIAL = 0
_LOOKED_AT = 7
#: Half of the thickness (mm) of a candidate box: it was drawn on one slice.
_HALF_THICKNESS_MM = 5.0
_LONGEST_ANSWER = 256
#: Boxes are asked for in thousandths of the picture.
_PARTS = 1000.0

_QUESTIONS = {
    SEQUENCE: "This is one slice of a brain MRI. Which sequence is it? Answer with one word: T1, T1c (with contrast), "
              "T2, FLAIR or PD.",
    TRIAGE: "This is one axial slice of a brain MRI. Is there an abnormality? Answer yes or no.",
    FINDINGS: "This is one axial slice of a brain MRI. Describe what is abnormal in two or three sentences, without "
              "measurements. If nothing is, say so.",
    BOXES: "This is one axial slice of a brain MRI. Give the bounding box of every {title} as JSON: "
           "[{{\"box_2d\": [top, left, bottom, right]}}], each from 0 to 1000. Answer [] if there is none.",
}  # fmt: skip


@dataclass
class Advice:
    """What MedGemma said about a case.

    Attributes:
        record: the checkpoint.
        sequences: for each channel: declared name, what was said, and the sequence understood ("" for none).
        triage: for each slice looked at: its number in the axial stack, its center (LPS, mm), what was said, and yes,
            no or nothing understood (None).
        findings: the text, or "".
        prompts: candidate boxes, not confirmed.
        words: question -> answers as they were written.
        warnings: sentences for the user.
    """

    record: dict
    sequences: list[dict] = field(default_factory=list)
    triage: list[dict] = field(default_factory=list)
    findings: str = ""
    prompts: list[Prompt] = field(default_factory=list)
    words: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def to_record(self) -> dict:
        """As JSON values."""
        return {**vars(self), "note": NOTE, "prompts": [prompt.to_record() for prompt in self.prompts]}


class MedGemma:
    """MedGemma from a local checkpoint.

    Args:
        folder: the checkpoint, as ``google/medgemma-1.5-4b-it`` is laid out.
        tasks: what it is asked for, of :data:`TASKS`.
        structure: what the candidate boxes are for.
    """

    def __init__(self, folder, tasks=(SEQUENCE, TRIAGE, FINDINGS), structure: str = "whole_tumour"):
        unknown = sorted(set(tasks) - set(TASKS))
        if unknown:
            raise Abstains(f"It does not know the task {unknown[0]!r}; tasks are {', '.join(TASKS)}.")
        self.folder, self.tasks, self.structure = folder, list(tasks), tumor_name(structure)

    @classmethod
    def from_record(cls, record: Mapping) -> MedGemma:
        """From a job's parameter ``medgemma``: ``{"checkpoint": folder, "tasks": [...], "structure": name}``."""
        return cls(record.get("checkpoint"), record.get("tasks") or (SEQUENCE, TRIAGE, FINDINGS),
                   record.get("structure") or "whole_tumour")

    def advise(self, case: Case, progress: Progress) -> Advice:
        """Ask everything.

        Raises:
            Abstains: transformers or the checkpoint is missing, or the case has no image.
        """
        folder = require_checkpoint(self.folder, TITLE)
        if not case.channels:
            raise Abstains("The case has no image.")
        progress("Loading MedGemma", 0.0)
        talk = _Conversation(folder, case.device)
        advice = Advice(record_of(folder, ID) | {"device": talk.device}, warnings=list(talk.warnings))
        if SEQUENCE in self.tasks:
            _ask_sequences(talk, case, advice)
        progress("Looking at slices", 0.3)
        stacks = Stacks(case.channels[0].image)
        slices = _slices(stacks)
        if {TRIAGE, BOXES} & set(self.tasks):
            _ask_triage(talk, stacks, slices, advice)
        suspicious = [entry["slice"] for entry in advice.triage if entry["abnormal"]] or slices[len(slices) // 2 :][:1]
        shown = suspicious[len(suspicious) // 2]
        progress("Asking for findings", 0.7)
        if FINDINGS in self.tasks:
            advice.findings = talk.answer(stacks.pictures(_AXIAL)[shown], _QUESTIONS[FINDINGS])
            advice.words[FINDINGS] = [advice.findings]
        if BOXES in self.tasks:
            title = structure_of(self.structure, 0).title.lower()
            text = talk.answer(stacks.pictures(_AXIAL)[shown], _QUESTIONS[BOXES].format(title=title))
            advice.words[BOXES] = [text]
            advice.prompts = boxes_from_text(text, stacks, shown, self.structure)
            if not advice.prompts:
                advice.warnings.append("MedGemma gave no box that can be used.")
        progress("MedGemma has answered", 1.0)
        return advice


class _Conversation:
    """The model and its processor; greedy, so that the same picture gets the same answer."""

    def __init__(self, folder, device: str):
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from MRISegSuiteLib.models.devices import choose_device, set_threads

        self.device, self.warnings = choose_device(device)
        set_threads()
        self.model = load(AutoModelForImageTextToText, folder, self.device, dtype="auto")
        try:
            self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, ImportError) as exception:
            first = (str(exception).strip().splitlines() or [""])[0][:200]
            raise Abstains(f"The processor in {folder} cannot be loaded: {first}.") from exception

    def answer(self, picture: np.ndarray, question: str) -> str:
        """What it writes about a gray picture (rows, columns), 0..1."""
        import torch
        from PIL import Image

        shown = Image.fromarray((255 * np.repeat(picture[..., None], 3, axis=2)).astype(np.uint8))
        content = [{"type": "image", "image": shown}, {"type": "text", "text": question}]
        inputs = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="pt")  # fmt: skip
        inputs = {name: value.to(self.device) for name, value in inputs.items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            written = self.model.generate(**inputs, max_new_tokens=_LONGEST_ANSWER, do_sample=False)
        return self.processor.decode(written[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def _slices(stacks: Stacks) -> list[int]:
    """Numbers of the axial slices that are looked at, evenly over those with anything on them."""
    there = np.flatnonzero(stacks.pictures(_AXIAL).any(axis=(1, 2)))
    if not len(there):
        raise Abstains("The image is empty.")
    return sorted({int(n) for n in np.linspace(there[0], there[-1], _LOOKED_AT + 2)[1:-1]})


def _ask_sequences(talk: _Conversation, case: Case, advice: Advice) -> None:
    for channel in case.channels:
        stacks = Stacks(channel.image)
        slices = _slices(stacks)
        text = talk.answer(stacks.pictures(_AXIAL)[slices[len(slices) // 2]], _QUESTIONS[SEQUENCE])
        advice.words.setdefault(SEQUENCE, []).append(text)
        seen = channel_of(text) or ""
        advice.sequences.append({"declared": channel.name, "said": text, "understood": seen})
        if channel.name and seen and not same_channel(channel.name, seen):
            advice.warnings.append(f"MedGemma takes the image given as {channel.name} for {seen}: are they in order?")


def _ask_triage(talk: _Conversation, stacks: Stacks, slices: list[int], advice: Advice) -> None:
    for number in slices:
        text = talk.answer(stacks.pictures(_AXIAL)[number], _QUESTIONS[TRIAGE])
        advice.words.setdefault(TRIAGE, []).append(text)
        word = re.match(r"\W*(yes|no)\b", text.lower())
        middle = [number, (stacks.gray.shape[1] - 1) / 2, (stacks.gray.shape[2] - 1) / 2]
        advice.triage.append({
            "slice": number, "center_lps": list(stacks.place_of(middle)), "said": text,
            "abnormal": None if word is None else word[1] == "yes",
        })  # fmt: skip


def boxes_from_text(text: str, stacks: Stacks, number: int, structure: str) -> list[Prompt]:
    """The boxes in an answer as prompts that nobody has confirmed; what is not a box inside the picture is dropped.

    Args:
        text: the answer; the first JSON list in it counts.
        stacks, number: the axial slice that was shown.
        structure: what the boxes are for.
    """
    found = re.search(r"\[.*\]", text, re.DOTALL)
    try:
        entries = json.loads(found[0]) if found else []
    except (ValueError, RecursionError):
        return []
    rows, columns = stacks.pictures(_AXIAL).shape[1:]
    half = _HALF_THICKNESS_MM / stacks.spacing[_AXIAL]
    prompts = []
    for entry in entries if isinstance(entries, list) else []:
        numbers = entry.get("box_2d") if isinstance(entry, dict) else None
        if not isinstance(numbers, list) or len(numbers) != 4 or not all(_is_part(n) for n in numbers):
            continue
        top, left, bottom, right = (float(n) / _PARTS for n in numbers)
        if bottom <= top or right <= left:
            continue
        last = stacks.gray.shape[_AXIAL] - 1
        corners = [
            stacks.place_of([max(0.0, number - half), top * rows - 0.5, left * columns - 0.5]),
            stacks.place_of([min(float(last), number + half), bottom * rows - 0.5, right * columns - 0.5]),
        ]
        prompts.append(Prompt(structure, box_lps=(corners[0], corners[1]), source=ID, confirmed=False))
    return prompts


def _is_part(number) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and 0 <= number <= _PARTS
