"""Statistics of the experts over all reviewed cases, as a table and a chart in the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from MRISegSuiteLib.images.structures import structure_of
from MRISegSuiteLib.scene.charts import new_bar_chart
from MRISegSuiteLib.scene.tables import fill_table, new_table_node

from ..feedback.statistics import ExpertStatistics

_ATTRIBUTE = "MRISegSuite.FeedbackStatistics"
_NAME = "Experts against reviewed masks"
_TEXTS = ("expert", "version", "structure")
_UNITS = {
    "cases": ("1", "accepted and corrected cases with an answer of this expert"),
    "abstained": ("1", "cases without an answer"),
    "dice_mean": ("1", "mean Dice against the reviewed mask"),
    "dice_sd": ("1", "standard deviation (n - 1)"),
    "dice_lowest": ("1", "lowest Dice"),
    "volume_error_ml": ("ml", "mean of expert minus reviewed mask"),
    "volume_error_absolute_ml": ("ml", "mean of the size of the error"),
    "volume_error_percent": ("%", "mean of the error in percent of the reviewed mask"),
    "run_time_s": ("s", "mean run time"),
}


def show_statistics(scene, rows: Sequence[ExpertStatistics]):
    """Write the statistics into a table node and a bar chart of the mean Dice; those that are there are filled anew.

    Returns:
        The vtkMRMLTableNode and the vtkMRMLPlotChartNode.
    """
    table = _find(scene, "vtkMRMLTableNode")
    if table is None:
        table = new_table_node(scene, _NAME)
        table.SetAttribute(_ATTRIBUTE, "1")
    texts = {name.capitalize(): [getattr(row, name) for row in rows] for name in _TEXTS}
    texts["Bar"] = [f"{row.expert}: {structure_of(row.structure, 0).title}" for row in rows]
    numbers = {f.name: [getattr(row, f.name) for row in rows] for f in fields(ExpertStatistics)
               if f.name not in _TEXTS}
    fill_table(table, texts, numbers, _UNITS)
    chart = _find(scene, "vtkMRMLPlotChartNode")
    if chart is None:
        chart, _series = new_bar_chart(scene, _NAME, _NAME, table, "Bar", "dice_mean", "Mean Dice")
        chart.SetAttribute(_ATTRIBUTE, "1")
    return table, chart


def _find(scene, kind: str):
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        node = scene.GetNthNodeByClass(index, kind)
        if node.GetAttribute(_ATTRIBUTE):
            return node
    return None
