"""``slicer.dicomDatabase``: what the modules ask of it, answered from real files."""

from pathlib import Path

import pydicom


class DicomDatabase:
    """Knows the DICOM files in some folders; as in Slicer, an unknown instance or tag is an empty text."""

    def __init__(self, *folders):
        headers = {str(file): pydicom.dcmread(file, stop_before_pixels=True)
                   for folder in folders for file in sorted(Path(folder).rglob("*")) if file.is_file()}
        self._files = {str(header.SOPInstanceUID): file for file, header in headers.items()}
        self._headers = headers

    def fileForInstance(self, uid):
        return self._files.get(uid, "")

    def instanceForFile(self, file):
        return str(self._headers[file].SOPInstanceUID) if file in self._headers else ""

    def fileValue(self, file, tag):
        header = self._headers.get(file)
        element = header.get(tuple(int(part, 16) for part in tag.split(","))) if header is not None else None
        return str(element.value) if element is not None else ""

    def instanceValue(self, uid, tag):
        return self.fileValue(self.fileForInstance(uid), tag)
