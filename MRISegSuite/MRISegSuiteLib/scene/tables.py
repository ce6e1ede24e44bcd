"""Table nodes from measurements: a row for each region, a typed column for each measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import vtk

STRUCTURE, REGION = "Structure", "Region"


def fill_measurement_table(tableNode, measurements: Iterable, title_of: Callable[[str], str] = str) -> None:
    """Write measurements into a table node; what it held before is replaced.

    Rows are the pairs (structure, region), columns the measures, both in order of appearance. Columns of numbers are
    of type double; their header names the unit, their description the method. What was not measured is NaN. A measure
    with an interval gets two columns more, ``<name>_low`` and ``<name>_high``.

    Args:
        tableNode: the vtkMRMLTableNode.
        measurements: ``jobs.Measurement`` objects.
        title_of: what a person reads for the name of a structure or region.
    """
    rows: dict[tuple[str, str], dict[str, float]] = {}
    columns: dict[str, tuple[str, str]] = {}
    for m in measurements:
        cells = rows.setdefault((m.structure, m.region), {})
        parts = {m.name: m.value}
        if m.interval is not None:
            parts |= {f"{m.name}_low": m.interval[0], f"{m.name}_high": m.interval[1]}
        for name, value in parts.items():
            columns.setdefault(name, (m.unit, m.method))
            cells[name] = value
    fill_table(
        tableNode,
        {STRUCTURE: [title_of(structure) for structure, _ in rows], REGION: [title_of(region) for _, region in rows]},
        {name: [cells.get(name, math.nan) for cells in rows.values()] for name in columns},
        columns,
    )


def fill_table(tableNode, texts: dict[str, list[str]], numbers: dict[str, list[float]],
               units_and_methods: dict[str, tuple[str, str]]) -> None:
    """Write columns of text and of numbers into a table node; what it held before is replaced.

    Args:
        tableNode: the vtkMRMLTableNode.
        texts: column name -> cells.
        numbers: column name -> cells, NaN where there is none.
        units_and_methods: column name -> (unit, method), for headers and tool tips.
    """
    modifying = tableNode.StartModify()
    tableNode.RemoveAllColumns()
    for name, cells in texts.items():
        column = vtk.vtkStringArray()
        column.SetName(name)
        for cell in cells:
            column.InsertNextValue(cell)
        tableNode.AddColumn(column)
        tableNode.SetColumnType(name, vtk.VTK_STRING)
        tableNode.SetColumnTitle(name, name)
    for name, cells in numbers.items():
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for cell in cells:
            column.InsertNextValue(math.nan if cell is None else float(cell))
        tableNode.AddColumn(column)
        # The type is kept in the schema: read back from a text file, a column without one would be text.
        tableNode.SetColumnType(name, vtk.VTK_DOUBLE)
        unit, method = units_and_methods.get(name, ("", ""))
        tableNode.SetColumnUnitLabel(name, _shown_unit(unit))
        tableNode.SetColumnDescription(name, method)
        tableNode.SetColumnTitle(name, name)  # Slicer puts the unit behind it
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.SetLocked(True)  # results: not to be changed by a stray key; can be unlocked in the Tables module
    tableNode.EndModify(modifying)


def new_table_node(scene, name: str):
    """Add an empty table node; its name is made unique."""
    return scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))


def _shown_unit(unit: str) -> str:
    return {"mm2": "mm²", "mm3": "mm³", "cm2": "cm²", "cm3": "cm³", "1": ""}.get(unit, unit)
