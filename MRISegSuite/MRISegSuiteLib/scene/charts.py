"""Bar charts of tables."""

from __future__ import annotations


def new_bar_chart(scene, name: str, title: str, tableNode, label_column: str, value_column: str, axis_title: str,
                  color=(0.25, 0.45, 0.70)):
    """Add a bar chart: one bar for each row of a table.

    Args:
        scene: the vtkMRMLScene.
        name: name of the chart node; made unique. The series is named after ``value_column``.
        title: what stands over the chart.
        tableNode: the vtkMRMLTableNode.
        label_column, value_column: names of its columns (text, numbers).
        axis_title: what stands beside the value axis, with the unit.
        color: RGB, 0..1.

    Returns:
        The vtkMRMLPlotChartNode and the vtkMRMLPlotSeriesNode.
    """
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", scene.GenerateUniqueName(value_column))
    series.SetAndObserveTableNodeID(tableNode.GetID())
    series.SetPlotType(series.PlotTypeBar)
    series.SetLabelColumnName(label_column)
    series.SetYColumnName(value_column)
    series.SetColor(*color)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(name))
    chart.SetTitle(title)
    chart.SetYAxisTitle(axis_title)
    chart.SetXAxisTitleVisibility(False)
    chart.SetLegendVisibility(False)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return chart, series
