"""Small DICOM series for the tests, written slice by slice."""

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def write_series(folder, image, date):
    """An image of whole numbers as one MR series in a folder of its own; returns the folder."""
    folder.mkdir(parents=True)
    uids = generate_uid(), generate_uid(), generate_uid()
    for k, plane in enumerate(sitk.GetArrayFromImage(image).clip(0).astype(np.uint16)):
        write_slice(folder / f"IM{k:04d}", image, k, plane, *uids, 2, date)
    return folder


def write_slice(path, image, k, plane, study, frame, series, number, date="20240101"):
    """One slice (index k of the image, pixels ``plane``) with everything that DICOM asks of an MR image."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Made^Up", "P1", "19700101", "O"
    data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = date, "120000", "1", "A1"
    data.ReferringPhysicianName, data.Manufacturer = "", "test"
    data.Modality, data.SeriesNumber, data.InstanceNumber = "MR", number, k + 1
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    direction = np.array(image.GetDirection()).reshape(3, 3)
    data.ImageOrientationPatient = [f"{v:.10f}" for v in (*direction[:, 0], *direction[:, 1])]
    data.ImagePositionPatient = [f"{v:.8f}" for v in image.TransformIndexToPhysicalPoint((0, 0, k))]
    spacing = image.GetSpacing()
    data.PixelSpacing, data.SliceThickness = [spacing[1], spacing[0]], spacing[2]
    data.ScanningSequence, data.SequenceVariant, data.ScanOptions, data.MRAcquisitionType = "GR", "NONE", "", "3D"
    data.RepetitionTime, data.EchoTime, data.FlipAngle, data.PositionReferenceIndicator = 20, 5, 15, ""
    data.Rows, data.Columns = plane.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = plane.tobytes()
    data.save_as(path, enforce_file_format=True)
