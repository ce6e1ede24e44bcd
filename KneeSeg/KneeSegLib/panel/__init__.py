"""Parts of the KneeSeg panel: Qt-facing, and thin."""
