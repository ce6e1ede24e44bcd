"""Surfaces: from label maps to closed triangle meshes with point data, and fields on them.

``polydata``        between arrays and ``vtkPolyData``, point data, ``.vtp`` files
``surfaces``        smooth closed surfaces of binary masks, with a set number of points
``surface_fields``  areas, normals, smoothing, components and distances on a surface
"""
