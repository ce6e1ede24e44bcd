"""The arguments of the command line."""

from __future__ import annotations

import argparse
import math

from .. import __version__
from ..errors import BadArguments
from ..jobs.description import DEVICES


def parser() -> argparse.ArgumentParser:
    """The parser of ``mriseg``; ``command`` names what to do."""
    top = argparse.ArgumentParser(
        prog="mriseg",
        description="Segment and measure MR images, on this computer, without a graphical interface.",
        epilog="Exit code: 0 done, 2 bad input or arguments, 3 cancelled, 1 anything else. "
               "Research software, not a medical device.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"MRI Seg Suite {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def command(name, text):
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    demo = command("demo", "Segment and measure a virtual knee and compare with its known truth; writes a report.")
    demo.add_argument("--out", metavar="DIR", default="demo", help="output folder (default: %(default)s)")
    _add_device(demo)

    command("test", "Run the test suite of this repository; further arguments go to pytest.")

    knee = command("knee", "Segment a knee MRI and measure its cartilage, region by region.")
    knee.add_argument("input", nargs="?", metavar="INPUT",
                      help="NIfTI, NRRD, MHA or a DICOM folder; may be left out with --segmentation")
    knee.add_argument("--out", metavar="DIR", required=True, help="output folder")
    knee.add_argument("--segmentation", metavar="FILE",
                      help="measure this segmentation (.seg.nrrd or a label map) instead of running a model")
    knee.add_argument("--labels", metavar="NAME=NUMBER,...", type=labels,
                      help="what the numbers of a label map mean, e.g. femur=1,femoral_cartilage=2; "
                           "femur=1+7 joins two parts")
    knee.add_argument("--model", metavar="ID", help="model to use (see: mriseg models list)")
    knee.add_argument("--side", choices=("auto", "left", "right"), default="auto",
                      help="side of the knee (default: from its anatomy)")
    knee.add_argument("--baseline", metavar="DIR",
                      help="output folder (or segmentation) of the same knee at an earlier time: tells what changed")
    knee.add_argument("--without", metavar="STAGE,...", type=lambda text: text.split(","), default=[],
                      help="leave out stages: thickness, shape, t2, report")
    knee.add_argument("--shape-model", metavar="ID",
                      help="shape model to fit to the bone (default: the embedded one; see: mriseg models list)")
    knee.add_argument("--layers", metavar="N", type=int, help="depth layers of cartilage (default: 2)")
    knee.add_argument("--echoes", metavar="FILE", nargs="+",
                      help="files of the single echoes, where INPUT is not DICOM: two are taken for qDESS, more for a "
                           "train of spin echoes")
    knee.add_argument("--t2", metavar="NAME=VALUE,...", type=settings, default={},
                      help="how T2 is mapped, and what the file does not say: method=exact|published|nonlinear|"
                           "log_linear|phase_graph, tr_ms, te_ms=A+B, flip_deg, spoiler_area, spoiler_us, "
                           "shortest_ms, longest_ms, least_r_squared, skip_first_echo=yes, without_fat=yes, "
                           "without_fluid=yes, without_diffusion=yes")
    _add_device(knee)

    ensemble = command("ensemble", "Fuse the opinions of several experts (models, or masks that are there) on a case, "
                                   "and measure where they disagree.")
    ensemble.add_argument("input", nargs="*", metavar="IMAGE",
                          help="images of the case, as FILE or CHANNEL=FILE (FLAIR=a.nii.gz T1c=b.nii.gz); results "
                               "lie on the grid of the first; may be left out with --masks")
    ensemble.add_argument("--out", metavar="DIR", required=True, help="output folder")
    ensemble.add_argument("--experts", metavar="ID,...", type=lambda text: text.split(","),
                          help="models to ask (see: mriseg models list); every glioma model that works on the images "
                               "where neither this nor --masks is given")
    ensemble.add_argument("--masks", metavar="FILE", nargs="+", default=[],
                          help="masks, each of one expert: .seg.nrrd, label maps, or probability maps from 0 to 1")
    ensemble.add_argument("--labels", metavar="NAME=NUMBER,...", type=labels,
                          help="what the numbers of label maps mean; a mask with one number is a lesion, 1, 2 and 4 "
                               "are taken for the labels of BraTS")
    ensemble.add_argument("--fusion", choices=("majority", "staple", "weighted", "confidence"), default="majority",
                          help="default: %(default)s; confidence needs probabilities")
    ensemble.add_argument("--weights", metavar="EXPERT=NUMBER,...", type=weights, default={},
                          help="for --fusion weighted; by default each expert's mean Dice with the others")
    ensemble.add_argument("--vote", choices=("regions", "labels"), default="regions",
                          help="tumors: vote on whole tumor, core and enhancing tumor, or on each label for itself "
                               "(default: %(default)s)")
    ensemble.add_argument("--staple-region", choices=("box", "image"), default="box",
                          help="voxels that STAPLE counts: box around all votes, or the whole image "
                               "(default: %(default)s)")
    ensemble.add_argument("--staple-prior", metavar="P", type=float,
                          help="prior of STAPLE, between 0 and 1 (default: the mean vote)")
    ensemble.add_argument("--sam3", metavar="FOLDER",
                          help="ask SAM 3 too: a local checkpoint; needs transformers 5, and --prompt")
    ensemble.add_argument("--prompt", metavar="STRUCTURE=WORDS", action="append", default=[], type=prompt,
                          help="words for SAM 3, e.g. whole_tumour=\"brain tumor\"; may be given again")
    ensemble.add_argument("--medgemma", metavar="FOLDER",
                          help="ask MedGemma too (a local checkpoint): sequence, slices and findings in words; it has "
                               "no vote")
    _add_device(ensemble)

    compare = command("compare", "Align two or more scans of one patient, and say what has changed and how sure that "
                                 "is.")
    compare.add_argument("input", nargs="*", metavar="SCAN",
                         help="the scans in the order of time, the baseline first: NIfTI, NRRD, MHA or DICOM folders; "
                              "CONTRAST=SCAN says what it is")
    compare.add_argument("--timepoint", metavar="CONTRAST=SCAN", nargs="+", action="append", default=[],
                         help="instead: all contrasts of a timepoint (FLAIR=a.nii.gz T1c=b.nii.gz), the option "
                              "repeated for each timepoint")
    compare.add_argument("--reference", metavar="CONTRAST",
                         help="which contrast is registered between the timepoints (default: the first that all have)")
    compare.add_argument("--within-session", choices=("auto", "always", "never"),
                         help="register the contrasts of a timepoint to its reference (default: auto, where they do "
                              "not lie on each other)")
    compare.add_argument("--out", metavar="DIR", required=True, help="output folder")
    compare.add_argument("--masks", metavar="FILE", nargs="+", default=[],
                         help="the lesions of each scan, in its own grid: .seg.nrrd or label maps; all labels "
                              "together unless --structure names one")
    compare.add_argument("--labels", metavar="NAME=NUMBER,...", type=labels,
                         help="what the numbers of label maps mean")
    compare.add_argument("--structure", metavar="NAME", help="measure this structure of the masks (or of the model)")
    compare.add_argument("--dates", metavar="YYYY-MM-DD", nargs="+", default=[],
                         help="when the scans were taken (default: what DICOM says)")
    compare.add_argument("--criteria", metavar="ID",
                         help="response criterion: recist_1_1, rano_bm, rano_2d, rano_2_volumetric, a JSON file, or "
                              "none (default: rano_2_volumetric)")
    compare.add_argument("--model", metavar="ID", help="segment the scans with this model, where there are no masks")
    compare.add_argument("--experts", metavar="ID,...", type=lambda text: text.split(","),
                         help="segment the scans by a panel of these models (glioma: every model of that task) where "
                              "there are no masks; where they disagree counts as uncertainty")
    compare.add_argument("--engine", choices=("greedy", "simpleitk", "ants"),
                         help="what registers (default: greedy; ants needs an environment of its own)")
    compare.add_argument("--anatomy", choices=("auto", "brain", "body"),
                         help="what the registration looks at (default: the brain where there is one)")
    compare.add_argument("--registration-masks", metavar="FILE", nargs="+", default=[],
                         help="brain or body mask of each scan, instead of the built-in search")
    compare.add_argument("--brain-model", metavar="ID",
                         help="find the brain to register in with this model of yours, instead of the built-in search")
    compare.add_argument("--without-calibration", action="store_true",
                         help="leave out the calibration of the masks with known growth (it takes a second)")
    compare.add_argument("--calibrate", metavar="N", nargs="?", type=int, const=5,
                         help="put known growth into the baseline scan itself N times (default: 5) and run the model "
                              "or the experts on it: bias and spread of the whole measuring. Takes as long as "
                              "segmenting 2 N scans more")
    compare.add_argument("--jacobian", action="store_true",
                         help="add a map of where the brain expanded or shrank (deformable registration by greedy, "
                              "some ten seconds a pair); to look at, no volume comes from it")
    _add_device(compare)

    batch = command("batch", "Run a table of scans, each a job of its own; started again, it goes on where it was.")
    batch.add_argument("manifest", metavar="MANIFEST.csv",
                       help="columns: id, input, and options of the task (segmentation, baseline, masks, dates …); "
                            "several in one cell are divided by ; (FLAIR=a.nii.gz;T1c=b.nii.gz)")
    batch.add_argument("--task", choices=("knee", "ensemble", "compare"), required=True,
                       help="what is done with each row")
    batch.add_argument("--out", metavar="DIR", required=True, help="a folder for each row, and tables of all")
    batch.add_argument("--workers", metavar="N", type=int, default=1, help="rows at a time (default: %(default)s)")

    models = command("models", "List, show, check, add or remove models.")
    actions = models.add_subparsers(dest="action", metavar="list|show|check|add|remove")
    actions.add_parser("list", help="the models on this computer (default)", allow_abbrev=False)
    show = actions.add_parser("show", help="the card of a model", allow_abbrev=False)
    show.add_argument("id", metavar="ID")
    check = actions.add_parser("check", help="hash the files of a model, or of all", allow_abbrev=False)
    check.add_argument("id", metavar="ID", nargs="?")
    add = actions.add_parser("add", help="copy a model folder, .zip or weights file with its card", allow_abbrev=False)
    add.add_argument("path", metavar="PATH")
    remove = actions.add_parser("remove", help="delete a model that you added", allow_abbrev=False)
    remove.add_argument("id", metavar="ID")

    experts = command("experts", "Show, install or remove the packages that SAM 3 and MedGemma need (transformers), "
                                 "in a folder of their own; off by default.")
    steps = experts.add_subparsers(dest="action", metavar="show|install|remove")
    steps.add_parser("show", help="whether they are there (default)", allow_abbrev=False)
    install = steps.add_parser("install", help="download and install them", allow_abbrev=False)
    install.add_argument("--wheels", metavar="DIR", help="a folder of wheel files to install from, without a network")
    steps.add_parser("remove", help="delete the folder", allow_abbrev=False)

    sign = command("sign", "Sign the PDF of a report with your own key (PAdES), or check a signature: exit code 0 "
                           "where it is valid and not a byte was changed, 1 where not.")
    sign.add_argument("pdf", metavar="REPORT.pdf")
    sign.add_argument("--key", metavar="KEY.p12",
                      help="your key and certificate (PKCS#12); the passphrase is asked for, or read from the "
                           "environment variable MRISEG_KEY_PASSPHRASE")
    sign.add_argument("--reason", metavar="TEXT", help="why it is signed (default: Read and decided)")
    sign.add_argument("--out", metavar="FILE", help="the signed PDF (default: REPORT.pdf itself)")
    sign.add_argument("--check", action="store_true", help="tell who signed it, and whether it was changed since")

    run = command("run", "Run a job file, in its own folder.")
    run.add_argument("job", metavar="JOB.json")
    run.add_argument("--out", metavar="DIR", help="output folder (default: the folder of the job file)")
    return top


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; ``mriseg test`` keeps what belongs to pytest in ``pytest_arguments``.

    Raises:
        SystemExit: help was asked for (code 0), or the arguments are wrong (code 2); what to say has been printed.
    """
    top = parser()
    to_pytest: list[str] = []
    if argv[:1] == ["test"] and argv[1:2] not in (["-h"], ["--help"]):
        argv, to_pytest = argv[:1], argv[1:]
    arguments = top.parse_args(argv)
    arguments.pytest_arguments = to_pytest
    if arguments.command is None:
        top.error("no command was given")
    return arguments


def labels(text: str) -> dict[str, int | list[int]]:
    """``femur=1,tibia=2`` as a dictionary; ``femur=1+7`` are parts that together make the structure.

    Raises:
        argparse.ArgumentTypeError: not of that form, or a name or number twice.
    """
    found: dict[str, int | list[int]] = {}
    used: set[int] = set()
    for part in text.split(","):
        name, equals, rest = (piece.strip() for piece in part.partition("="))
        numbers = [number.strip() for number in rest.split("+")]
        if not (equals and name and all(n.isascii() and n.isdigit() and int(n) > 0 for n in numbers)):
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME=NUMBER (or NAME=NUMBER+NUMBER), numbers above 0")
        values = [int(number) for number in numbers]
        if name in found or used & set(values) or len(set(values)) < len(values):
            raise argparse.ArgumentTypeError(f"{part!r} repeats a name or a number")
        found[name] = values[0] if len(values) == 1 else values
        used |= set(values)
    return found


def prompt(text: str) -> dict[str, str]:
    """``whole_tumour=brain tumor`` as the prompt of a job.

    Raises:
        argparse.ArgumentTypeError: not of that form.
    """
    structure, equals, words = (piece.strip() for piece in text.partition("="))
    if not (structure and equals and words):
        raise argparse.ArgumentTypeError(f"{text!r} is not STRUCTURE=WORDS")
    return {"structure": structure, "text": words}


def weights(text: str) -> dict[str, float]:
    """``a=2,b=0.5`` as a dictionary of numbers.

    Raises:
        argparse.ArgumentTypeError: not of that form, or a name twice.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.rpartition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (name and equals and math.isfinite(number) and number >= 0) or name in found:
            raise argparse.ArgumentTypeError(f"{part!r} is not EXPERT=NUMBER (0 or more), or repeats an expert")
        found[name] = number
    return found


def settings(text: str) -> dict:
    """``method=exact,te_ms=7.5+42.5,skip_first_echo=yes`` as a dictionary of texts, numbers, lists and truths.

    Raises:
        argparse.ArgumentTypeError: not of that form, or a name twice.
    """
    found: dict = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value) or name in found:
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME=VALUE, or repeats a name")
        found[name] = _setting(name, value)
    return found


def _setting(name: str, value: str):
    if value in ("yes", "no"):
        return value == "yes"
    try:
        numbers = [float(piece) for piece in value.split("+")]
    except ValueError:
        return value
    return numbers if name == "te_ms" else numbers[0]


def check_together(arguments) -> None:
    """What single arguments cannot tell.

    Raises:
        BadArguments
    """
    if arguments.command == "ensemble":
        if not arguments.input and not arguments.masks:
            raise BadArguments("There is nothing to fuse.", "Name the images of a case, or give --masks.")
        if arguments.weights and arguments.fusion != "weighted":
            raise BadArguments("--weights need --fusion weighted.")
        if bool(arguments.sam3) != bool(arguments.prompt):
            raise BadArguments("--sam3 and --prompt need each other: SAM 3 answers to a prompt.")
        return
    if arguments.command == "compare":
        if arguments.input and arguments.timepoint:
            raise BadArguments("Scans were named both with and without --timepoint.", "Use one way.")
        if max(len(arguments.input), len(arguments.timepoint)) < 2:
            raise BadArguments("A comparison needs two scans or more.", "Name the baseline, then the follow-up.")
        if sum(map(bool, (arguments.model, arguments.masks, arguments.experts))) > 1:
            raise BadArguments("--model, --experts and --masks exclude each other: one of them makes the masks.")
        return
    if arguments.command == "sign":
        if bool(arguments.key) == arguments.check:
            raise BadArguments("Either --key or --check is needed.", "--key KEY.p12 signs, --check checks.")
        if arguments.check and (arguments.reason or arguments.out):
            raise BadArguments("--reason and --out belong to --key: a check writes nothing.")
        return
    if arguments.command != "knee":
        return
    if arguments.input is None and arguments.segmentation is None:
        raise BadArguments("There is nothing to measure.", "Name a scan as INPUT, or a file with --segmentation.")
    if arguments.echoes and arguments.input is None:
        raise BadArguments("--echoes belong to a scan, but there is no INPUT.", "Name the first echo as INPUT too.")
    if arguments.labels and not arguments.segmentation:
        raise BadArguments("--labels explains the numbers of a label map, but there is no --segmentation.")
    if arguments.model and arguments.segmentation:
        raise BadArguments("--model and --segmentation exclude each other: a segmentation needs no model.")


def _add_device(command) -> None:
    command.add_argument("--device", choices=DEVICES, default="auto",
                         help="where networks run (default: the GPU if one works)")
