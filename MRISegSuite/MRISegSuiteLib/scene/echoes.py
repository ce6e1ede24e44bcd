"""The echoes of a scan in the scene: volumes of their own, or the frames of one sequence.

Slicer loads a DICOM series whose slices differ in echo time as a volume sequence. It keeps, as attributes of the
sequence node, which tag tells the frames apart, its value for each frame, and the rest of the protocol.
"""

from __future__ import annotations

import slicer

from ..errors import WrongContent
from .dicom_origin import number_in, protocol_of_echoes

_FRAME_TAG, _FRAME_LABELS = "MultiVolume.FrameIdentifyingDICOMTagName", "MultiVolume.FrameLabels"
_OF_ALL_FRAMES = {"tr_ms": "MultiVolume.DICOM.RepetitionTime", "flip_deg": "MultiVolume.DICOM.FlipAngle"}


def is_sequence(node) -> bool:
    return node is not None and node.IsA("vtkMRMLSequenceNode")


def volumes_of_echoes(nodes) -> list:
    """The volume nodes of the single echoes, in order; a sequence stands for its frames.

    Raises:
        WrongContent: a sequence of something else than volumes.
    """
    volumes = []
    for node in nodes:
        if not is_sequence(node):
            volumes.append(node)
            continue
        frames = [node.GetNthDataNode(n) for n in range(node.GetNumberOfDataNodes())]
        if not frames or not all(isinstance(frame, slicer.vtkMRMLScalarVolumeNode) for frame in frames):
            raise WrongContent(f'The sequence "{node.GetName()}" holds no volumes.', "Choose a sequence of echoes.")
        volumes.extend(frames)
    return volumes


def known_protocol(nodes) -> dict:
    """What is known of how the echoes were taken: see :func:`.dicom_origin.protocol_of_echoes`."""
    if len(nodes) != 1 or not is_sequence(nodes[0]):
        return protocol_of_echoes(nodes)
    sequence = nodes[0]
    known = {name: number_in(sequence.GetAttribute(tag)) for name, tag in _OF_ALL_FRAMES.items()}
    if sequence.GetAttribute(_FRAME_TAG) == "EchoTime":
        times = [number_in(text) for text in (sequence.GetAttribute(_FRAME_LABELS) or "").split(",")]
        if all(times) and len(times) == sequence.GetNumberOfDataNodes():
            known["te_ms"] = times
    return {name: value for name, value in known.items() if value}
