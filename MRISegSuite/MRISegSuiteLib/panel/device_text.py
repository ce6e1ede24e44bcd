"""The report of the probe in words."""

from __future__ import annotations

from slicer.i18n import tr as _


def device_text(report: dict) -> str:
    """Which device networks will run on, why, and what each device is and does.

    Args:
        report: see :func:`MRISegSuiteLib.environment.probe.report`.
    """
    names = {"cpu": _("the CPU"), "cuda": _("the GPU")}
    chosen = report["chosen"]
    lines = [_("Networks will run on {device}.").format(device=names[chosen]) if chosen
             else _("Networks cannot run on this computer yet.")]
    if report["reason"]:
        lines.append(_("Why: {reason}").format(reason=report["reason"]))
    for device in report["devices"]:
        lines.append("• " + _describe(device))
    memory = report.get("memory_mb")
    machine = _("{processors} processors").format(processors=report["processors"])
    if memory:
        machine += _(", {memory} GB of memory").format(memory=round(memory / 1024))
    lines.append(_("Worker: Python {version}, {machine}.").format(version=report["python"], machine=machine))
    return "\n".join(lines)


def _describe(device: dict) -> str:
    text = device["name"]
    if device.get("memory_mb"):
        text += _(", {free} of {memory} GB free").format(free=f"{device.get('free_mb', 0) / 1024:.1f}",
                                                        memory=f"{device['memory_mb'] / 1024:.1f}")
    if device["works"]:
        return text + _(": works, a small 3D convolution takes {time} ms").format(time=device["milliseconds"])
    return text + _(": cannot be used. {reason}").format(reason=device["reason"])
