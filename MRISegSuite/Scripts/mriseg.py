"""The command line of MRI Seg Suite, in plain Python and inside Slicer.

    python MRISegSuite/Scripts/mriseg.py knee INPUT --out DIR
    Slicer --no-main-window --python-script MRISegSuite/Scripts/mriseg.py knee INPUT --out DIR

Slicer hands over what it does not understand itself as sys.argv[1:], and does not end by itself after a script. It
reads this file in the encoding of the platform, so keep it ASCII.
"""

import sys
import traceback
from pathlib import Path


def _add_libraries():
    """Put the folders of the libraries on the path: one folder once installed, one for each module before."""
    module = Path(__file__).resolve().parents[1]
    for folder in (module, *(module.parent / name for name in ("KneeSeg", "EnsembleReview", "LongitudinalCompare"))):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def _main():
    _add_libraries()
    try:
        from MRISegSuiteLib.cli.main import main

        return main(sys.argv[1:])
    except BaseException:  # inside Slicer an exception would leave the application running without a window
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    _code = _main()
    sys.stdout.flush()
    sys.stderr.flush()
    if hasattr(sys.modules.get("slicer"), "app"):
        sys.modules["slicer"].util.exit(_code)
    else:
        sys.exit(_code)
