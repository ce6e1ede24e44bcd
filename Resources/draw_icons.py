"""Draws the icons of the extension and its modules (PySide6; run it again after a change of the drawing).

    python Resources/draw_icons.py
"""

import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPointF, QRectF, Qt  # noqa: E402
from PySide6.QtGui import QBrush, QColor, QGuiApplication, QImage, QPainter, QPainterPath, QPen  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
BACKGROUND, BONE, BONE_EDGE = QColor(27, 38, 59), QColor(240, 222, 180), QColor(150, 128, 88)
FEMORAL, TIBIAL = QColor(64, 166, 242), QColor(77, 217, 128)


def knee(painter: QPainter) -> None:
    """A knee seen from the front, in a square of 100 x 100: femur, tibia, and the cartilage between them."""
    femur = QPainterPath(QPointF(38, 4))
    femur.cubicTo(40, 26, 36, 32, 22, 40)
    femur.cubicTo(12, 50, 24, 60, 36, 57)
    femur.cubicTo(44, 55, 46, 49, 50, 49)
    femur.cubicTo(54, 49, 56, 55, 64, 57)
    femur.cubicTo(76, 60, 88, 50, 78, 40)
    femur.cubicTo(64, 32, 60, 26, 62, 4)
    tibia = QPainterPath(QPointF(20, 69))
    tibia.cubicTo(30, 66, 44, 67, 50, 64)
    tibia.cubicTo(56, 67, 70, 66, 80, 69)
    tibia.cubicTo(80, 78, 64, 78, 61, 97)
    tibia.lineTo(39, 97)
    tibia.cubicTo(36, 78, 20, 78, 20, 69)
    painter.setPen(QPen(BONE_EDGE, 1.6))
    painter.setBrush(QBrush(BONE))
    painter.drawPath(femur)
    painter.drawPath(tibia)
    layer = QPainterPath(QPointF(19, 51))
    layer.cubicTo(23, 60, 31, 60, 37, 57.5)
    layer.cubicTo(44, 55, 46, 49.5, 50, 49.5)
    layer.cubicTo(54, 49.5, 56, 55, 63, 57.5)
    layer.cubicTo(69, 60, 77, 60, 81, 51)
    painter.setBrush(Qt.NoBrush)
    painter.setPen(QPen(FEMORAL, 4.6, Qt.SolidLine, Qt.RoundCap, Qt.RoundJoin))
    painter.drawPath(layer)
    for left, right in ((23, 44), (56, 77)):
        painter.setPen(QPen(TIBIAL, 4.2, Qt.SolidLine, Qt.RoundCap))
        painter.drawLine(QPointF(left, 67.2), QPointF(right, 66.6))


def suite(painter: QPainter) -> None:
    """The knee inside the frame of a slice view with its cross-hair."""
    painter.setPen(QPen(QColor(255, 255, 255, 90), 1.2))
    painter.drawLine(QPointF(6, 60), QPointF(94, 60))
    painter.drawLine(QPointF(50, 6), QPointF(50, 94))
    painter.save()
    painter.translate(14, 12)
    painter.scale(0.72, 0.78)
    knee(painter)
    painter.restore()
    painter.setPen(QPen(QColor(242, 193, 78), 4, Qt.SolidLine, Qt.RoundCap))
    for x, y, dx, dy in ((10, 10, 1, 1), (90, 10, -1, 1), (10, 90, 1, -1), (90, 90, -1, -1)):
        painter.drawLine(QPointF(x, y), QPointF(x + 14 * dx, y))
        painter.drawLine(QPointF(x, y), QPointF(x, y + 14 * dy))


def panel(painter: QPainter) -> None:
    """Three outlines of one lesion that agree in the middle and not at the border, and where to look."""
    for color, x, y, width, height in ((QColor(64, 166, 242), 40, 46, 52, 50), (QColor(77, 217, 128), 52, 52, 62, 46),
                                       (QColor(242, 193, 78), 48, 55, 48, 62)):
        painter.setPen(QPen(color, 4.4))
        painter.setBrush(QBrush(QColor(color.red(), color.green(), color.blue(), 70)))
        painter.drawEllipse(QRectF(x - width / 2, y - height / 2, width, height))
    painter.setPen(QPen(QColor(255, 255, 255), 3.6, Qt.SolidLine, Qt.RoundCap))
    painter.setBrush(Qt.NoBrush)
    painter.drawEllipse(QRectF(68, 14, 20, 20))
    painter.drawLine(QPointF(71, 31), QPointF(62, 41))


def two_times(painter: QPainter) -> None:
    """Two slices of a head, one over the other, with a lesion that has grown, and an arrow of time."""
    for x, y, radius, shade in ((6, 8, 6, 120), (38, 20, 12, 205)):
        painter.setPen(QPen(QColor(240, 240, 245, 230), 2.4))
        painter.setBrush(QBrush(QColor(shade, shade, shade + 12)))
        painter.drawEllipse(QRectF(x, y, 54, 62))
        painter.setPen(Qt.NoPen)
        painter.setBrush(QBrush(QColor(242, 150, 50)))
        painter.drawEllipse(QPointF(x + 33, y + 27), radius, radius)
    painter.setPen(QPen(QColor(64, 166, 242), 4.5, Qt.SolidLine, Qt.RoundCap))
    painter.drawLine(QPointF(12, 91), QPointF(86, 91))
    painter.drawLine(QPointF(86, 91), QPointF(78, 86))
    painter.drawLine(QPointF(86, 91), QPointF(78, 96))


def save(drawing, path: Path, size: int) -> None:
    """Write the drawing as a PNG of ``size`` pixels on a rounded dark square."""
    image = QImage(size, size, QImage.Format_ARGB32)
    image.fill(Qt.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.Antialiasing)
    painter.scale(size / 100, size / 100)
    painter.setPen(Qt.NoPen)
    painter.setBrush(BACKGROUND)
    painter.drawRoundedRect(QRectF(0, 0, 100, 100), 16, 16)
    drawing(painter)
    painter.end()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not image.save(str(path)):
        raise OSError(f"{path} cannot be written")


if __name__ == "__main__":
    application = QGuiApplication([])
    save(suite, REPOSITORY / "Resources" / "MRISegSuite.png", 256)
    save(suite, REPOSITORY / "MRISegSuite" / "Resources" / "Icons" / "MRISegSuite.png", 64)
    save(knee, REPOSITORY / "KneeSeg" / "Resources" / "Icons" / "KneeSeg.png", 64)
    save(panel, REPOSITORY / "EnsembleReview" / "Resources" / "Icons" / "EnsembleReview.png", 64)
    save(two_times, REPOSITORY / "LongitudinalCompare" / "Resources" / "Icons" / "LongitudinalCompare.png", 64)
