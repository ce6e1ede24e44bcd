"""Label map to table: CPU-seconds and peak memory, beside the common way of measuring thickness, in the same run.

    python Testing/Benchmarks/bench_measure.py LABELMAP name=label ...

The peer is our own short writing of the usual recipe, with VTK: marching cubes of the Gaussian-smoothed bone and
cartilage, then for every vertex of the bone a ray along its normal (+10 / -2.5 mm) through an OBB tree of the
cartilage's surface; thickness is the distance of the hits where there are exactly two. Of it only the femur is done.
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import vtk

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("MRISegSuite", "KneeSeg")]

from KneeSegLib.measure import measure_knee  # noqa: E402

LIMIT_CPU_S, LIMIT_MEMORY_GB = 10.0, 2.0


def surface(image, labels):
    mask = sum((sitk.Cast(image == label, sitk.sitkFloat32) for label in labels[1:]),
               sitk.Cast(image == labels[0], sitk.sitkFloat32))
    smooth = sitk.SmoothingRecursiveGaussian(mask, 0.5)
    array = sitk.GetArrayFromImage(smooth)
    data = vtk.vtkImageData()
    data.SetDimensions(*image.GetSize())
    data.SetSpacing(*image.GetSpacing())
    from vtk.util.numpy_support import numpy_to_vtk

    data.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    contour = vtk.vtkMarchingCubes()
    contour.SetInputData(data)
    contour.SetValue(0, 0.5)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(contour.GetOutputPort())
    normals.SplittingOff()
    normals.Update()
    return normals.GetOutput()


def peer(image, names):
    bone, cartilage = surface(image, names["femur"]), surface(image, names["femoral_cartilage"])
    tree = vtk.vtkOBBTree()
    tree.SetDataSet(cartilage)
    tree.BuildLocator()
    normals, hits = bone.GetPointData().GetNormals(), vtk.vtkPoints()
    thickness = np.zeros(bone.GetNumberOfPoints())
    for i in range(len(thickness)):
        at, way = np.array(bone.GetPoint(i)), np.array(normals.GetTuple3(i))
        tree.IntersectWithLine(at - 2.5 * way, at + 10.0 * way, hits, None)
        if hits.GetNumberOfPoints() == 2:
            thickness[i] = np.linalg.norm(np.subtract(hits.GetPoint(1), hits.GetPoint(0)))
    return thickness[thickness > 0].mean()


def main(path, pairs):
    names = {}
    for pair in pairs:
        name, label = pair.split("=")
        names.setdefault(name, []).append(int(label))
    image = sitk.ReadImage(path)
    start = time.process_time()
    measured = measure_knee(image, names)
    ours = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    start = time.process_time()
    mean = peer(image, names)
    theirs = time.process_time() - start
    femur = next(r["value"] for r in measured.rows if r["name"] == "ThCcAB")
    print(f"{'':42}{'CPU-seconds':>12}{'peak GB':>9}{'femoral mean, mm':>18}")
    print(f"{'measure_knee, everything':42}{ours:12.1f}{memory:9.2f}{femur:18.2f}")
    print(f"{'marching cubes and OBB rays, femur only':42}{theirs:12.1f}{'':9}{mean:18.2f}")
    return 0 if ours <= LIMIT_CPU_S and memory <= LIMIT_MEMORY_GB else 1


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
