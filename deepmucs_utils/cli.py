"""The command `deepmucs`: one sub-command for each thing that the package does.

Each sub-command imports what it needs when it is called, so that composing needs no torch and
``--help`` is instant.
"""

import argparse
import os
import sys
from pathlib import Path

from deepmucs_utils import MODELS
from deepmucs_utils.errors import DeepMuCSError


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default ``sys.argv[1:]``.

    Returns
    -------
    int
        0; 1 from ``check`` when there are faults; 2 after an error that the user can mend (argparse
        exits with 2 by itself); 130 after Ctrl-C.
    """
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        return command(**options) or 0
    except DeepMuCSError as error:
        print(f"deepmucs: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("deepmucs: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser("deepmucs", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    phantom = _add(commands, "phantom", _phantom, "write a synthetic data set in LIVECell's layout")
    phantom.add_argument("out", type=Path, metavar="OUT", help="folder of the new root")
    phantom.add_argument(
        "--images",
        type=_count,
        default=4,
        metavar="N",
        help="images of each culture and split (default %(default)s)",
    )
    _cultures(phantom)
    phantom.add_argument(
        "--density",
        type=float,
        default=1.0,
        metavar="F",
        help="factor on the number of cells (default %(default)s)",
    )
    phantom.add_argument(
        "--size",
        type=_count,
        nargs=2,
        default=(520, 704),
        metavar=("H", "W"),
        help="height and width, px (default 520 704)",
    )
    phantom.add_argument(
        "--faulty-images",
        type=int,
        default=0,
        metavar="N",
        help="images with each of LIVECell's faults of whole images, listed in "
        "faults.json (default none)",
    )
    _seed_and_jobs(phantom)

    measure = _add(commands, "measure", _measure, "measure a root and compare it with LIVECell")
    measure.add_argument("root", type=Path, metavar="ROOT", help="LIVECell or its phantom")
    measure.add_argument(
        "--against",
        type=Path,
        metavar="ROOT",
        help="another root to lay beside it, instead of the package's table of LIVECell",
    )
    measure.add_argument(
        "--out", type=Path, metavar="DIR", help="also write the tables as CSV files"
    )
    measure.add_argument(
        "--jobs",
        type=_count,
        default=os.cpu_count(),
        metavar="J",
        help="worker processes (default %(default)s)",
    )
    _cache(measure)

    sheets = _add(commands, "sheets", _sheets, "show two roots side by side, a sheet a culture")
    sheets.add_argument("root", type=Path, metavar="ROOT", help="shown on the right")
    sheets.add_argument("against", type=Path, metavar="AGAINST", help="shown on the left")
    sheets.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder outside the repository"
    )
    _cache(sheets)

    difficulty = _add(
        commands,
        "difficulty",
        _difficulty,
        "how well a small network tells the cultures of a root apart",
    )
    difficulty.add_argument("root", type=Path, metavar="ROOT", help="LIVECell or its phantom")
    difficulty.add_argument(
        "--most",
        type=_count,
        default=600,
        metavar="N",
        help="cells of each culture for training (default %(default)s)",
    )
    difficulty.add_argument("--epochs", type=_count, default=20, help="default %(default)s")
    _seed(difficulty)
    _cache(difficulty)

    compose = _add(commands, "compose", _compose, "compose a co-culture set from a root")
    compose.add_argument("root", type=Path, metavar="ROOT", help="LIVECell or its phantom")
    compose.add_argument("out", type=Path, metavar="OUT", help="folder of the set")
    compose.add_argument(
        "--set",
        dest="set_name",
        required=True,
        metavar="NAME",
        help="a named set, e.g. DeepMuCS800, DeepMuCS_test or Demo40; another name lists them all",
    )
    _scale(compose)
    _seed_and_jobs(compose)
    compose.add_argument("--only", type=int, metavar="I", help="compose image I alone")
    compose.add_argument(
        "--nested",
        action="store_true",
        help="begin with the images of the next smaller training set",
    )
    compose.add_argument(
        "--placement",
        default="clustered",
        metavar="KIND",
        help="clustered (default), uniform or interacting",
    )
    compose.add_argument(
        "--blend",
        default="matte",
        metavar="MODE",
        help="matte, hard, poisson or mixed (default %(default)s)",
    )
    compose.add_argument(
        "--rotation",
        default="symmetries",
        metavar="KIND",
        help="symmetries or free (default %(default)s)",
    )
    compose.add_argument(
        "--interaction",
        dest="interactions",
        type=_interaction,
        default=[],
        action="append",
        metavar="A:B:S",
        help="let cultures A and B attract (S > 0) or repel each other; with "
        "--placement interacting; may be repeated",
    )
    _cache(compose)

    check = _add(commands, "check", _check, "look for the faults of a root; exit 1 when it has any")
    check.add_argument("root", type=Path, metavar="ROOT", help="LIVECell or its phantom")
    check.add_argument("--json", action="store_true", help="print every fault as JSON")
    check.add_argument(
        "--jobs",
        type=_count,
        default=os.cpu_count(),
        metavar="J",
        help="worker processes (default %(default)s)",
    )
    _cache(check)

    download = _add(commands, "download", _download, "fetch the official LIVECell (CC BY-NC 4.0)")
    download.add_argument("root", type=Path, metavar="ROOT", help="folder of the new root")
    download.add_argument(
        "--split",
        dest="splits",
        action="append",
        metavar="SPLIT",
        choices=("train", "val", "test"),
        help="annotations to fetch, may be repeated (default all)",
    )
    download.add_argument("--url", help="another address with the official layout")

    realism = _add(
        commands, "realism", _realism, "measure how well composites can be told from real images"
    )
    realism.add_argument("root", type=Path, metavar="ROOT", help="LIVECell or its phantom")
    realism.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="folder for the results; outside the repository for genuine LIVECell",
    )
    realism.add_argument(
        "--images",
        type=_count,
        default=48,
        metavar="N",
        help="real images looked at (default %(default)s)",
    )
    realism.add_argument(
        "--critic",
        dest="critics",
        action="append",
        choices=("features", "CNN"),
        help="default both",
    )
    _seed_and_jobs(realism)
    _cache(realism)

    train = _add(commands, "train", _train, "train a model on a set")
    train.add_argument("set_dir", type=Path, metavar="SET", help="folder of the training set")
    train.add_argument(
        "--val",
        dest="val_dir",
        type=Path,
        required=True,
        metavar="VALSET",
        help="folder of the validation set",
    )
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    _model(train)
    _seed(train)
    train.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    train.add_argument(
        "--batch",
        type=_count,
        metavar="N",
        help="images an iteration; the learning rate goes with it (default: the model's)",
    )
    train.add_argument(
        "--weights",
        type=Path,
        metavar="RUN",
        help="start from a run's weights or from a checkpoint",
    )
    train.add_argument(
        "--endless",
        type=Path,
        metavar="ROOT",
        help="compose each epoch's images anew, from SET's root",
    )
    _cache(train)
    train.add_argument(
        "--processes",
        type=_count,
        default=1,
        metavar="N",
        help="processes on this machine, one a GPU (default 1)",
    )
    train.add_argument(
        "--machines",
        type=_count,
        default=1,
        metavar="N",
        help="number of machines (default %(default)s)",
    )
    train.add_argument(
        "--machine", type=int, default=0, metavar="I", help="number of this machine, from 0"
    )
    train.add_argument(
        "--address",
        default="auto",
        metavar="URL",
        help="of machine 0 for all, e.g. tcp://10.0.0.1:5555",
    )

    weights = _add(commands, "weights", _weights, "convert published weights")
    weights.add_argument("action", choices=("convert",))
    weights.add_argument(
        "source",
        type=Path,
        metavar="IN",
        help="checkpoint of the ResNeSt detectron2 fork (COCO, LIVECell) or of timm",
    )
    weights.add_argument("out", type=Path, metavar="OUT", help="folder of the new run")
    weights.add_argument("--model", default="paper", choices=MODELS, help="default %(default)s")
    weights.add_argument(
        "--keep-classes", action="store_true", help="keep its classes instead of the eight cultures"
    )

    predict = _add(commands, "predict", _predict, "find and name the cells of images")
    predict.add_argument("run_dir", type=Path, metavar="RUN", help="folder of a finished run")
    predict.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="IMAGES",
        help="image files, folders of images, or one co-culture set",
    )
    predict.add_argument("--out", type=Path, required=True, metavar="DIR", help="results go here")
    predict.add_argument("--overlays", action="store_true", help="also draw the predictions")

    evaluate = _add(commands, "evaluate", _evaluate, "compare predictions with ground truth")
    evaluate.add_argument("ground_truth", type=Path, metavar="GT", help="COCO json")
    evaluate.add_argument("predictions", type=Path, metavar="PRED", help="COCO results json")
    evaluate.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for metrics.json"
    )
    evaluate.add_argument(
        "--replicates",
        type=_count,
        metavar="N",
        help="also give bootstrap intervals, from N draws of donor blocks "
        "(default none; 1000 is usual)",
    )

    analyse = _add(commands, "analyse", _analyse, "why a model's cells were missed: all tables")
    analyse.add_argument("test_set", type=Path, metavar="SET", help="folder of the test set")
    analyse.add_argument("predictions", type=Path, metavar="PRED", help="COCO results json")
    analyse.add_argument(
        "--val",
        dest="val_set",
        type=Path,
        metavar="VALSET",
        help="validation set, for the threshold and the composition's correction; with --val-pred",
    )
    analyse.add_argument(
        "--val-pred",
        dest="val_predictions",
        type=Path,
        metavar="PRED",
        help="predictions of the validation set",
    )
    _threshold(analyse)
    analyse.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the tables (CSV and JSON)",
    )

    interactions = _add(commands, "interactions", _interactions, "which cultures sit together")
    interactions.add_argument("ground_truth", type=Path, metavar="GT", help="COCO json")
    interactions.add_argument(
        "predictions",
        type=Path,
        nargs="?",
        metavar="PRED",
        help="COCO results json, to analyse instead",
    )
    _threshold(interactions)
    interactions.add_argument(
        "--replacements",
        type=_count,
        default=199,
        metavar="N",
        help="re-placements of each image (default %(default)s)",
    )
    interactions.add_argument(
        "--hidden",
        type=float,
        default=0.0,
        metavar="F",
        help="share of a cell that may be hidden (default 0)",
    )
    interactions.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the tables (CSV and JSON)",
    )
    _seed_and_jobs(interactions)

    validate = _add(
        commands,
        "validate-interactions",
        _validate,
        "measure type I error and power of `interactions` on made-up sets",
    )
    validate.add_argument(
        "--out",
        dest="out_dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the tables",
    )
    validate.add_argument(
        "--sets", type=_count, default=1000, metavar="N", help="null sets (default %(default)s)"
    )
    validate.add_argument(
        "--power-sets",
        type=_count,
        default=100,
        metavar="N",
        help="sets for each strength and size (default %(default)s)",
    )
    _seed_and_jobs(validate)

    monocultures = _add(
        commands, "monocultures", _monocultures, "a root's monoculture images as a set: real scenes"
    )
    monocultures.add_argument("root", type=Path, metavar="ROOT", help="LIVECell or its phantom")
    monocultures.add_argument("out", type=Path, metavar="OUT", help="folder of the set")
    monocultures.add_argument(
        "--split", default="test", choices=("train", "val", "test"), help="default %(default)s"
    )
    monocultures.add_argument(
        "--without",
        type=Path,
        metavar="SET",
        help="leave out the images that gave this set its cells",
    )
    monocultures.add_argument(
        "--window",
        type=_count,
        nargs=2,
        metavar=("H", "W"),
        help="cut images into windows of this size, px",
    )
    monocultures.add_argument(
        "--n-images",
        type=_count,
        metavar="N",
        help="take so many, the cultures in turn (default all)",
    )
    _cultures(monocultures)
    _seed(monocultures)
    _cache(monocultures)

    run = _add(commands, "run", _run, "run the notebooks of one set: compose, train, evaluate")
    run.add_argument(
        "--set",
        dest="set_name",
        required=True,
        metavar="NAME",
        help="a training set, e.g. DeepMuCS800 or Demo40",
    )
    run.add_argument("--root", type=Path, help="LIVECell root (default: the phantom)")
    _model(run)
    _scale(run)
    _seed(run)
    run.add_argument("--out", type=Path, default=Path("runs"), help="default %(default)s")

    book = _add(commands, "book", _book, "run the demo sets and render the book")
    book.add_argument(
        "--stored", action="store_true", help="render the stored notebooks without running anything"
    )
    book.add_argument(
        "--picture",
        action="store_true",
        help="only take the README's picture from the stored notebooks",
    )
    return parser


def _add(commands, name, function, text):
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=function)
    return parser


def _cultures(parser):
    parser.add_argument(
        "--cultures",
        type=lambda text: text.split(","),
        metavar="A,B,…",
        help="cultures to keep, separated by commas (default all)",
    )


def _scale(parser):
    parser.add_argument(
        "--fraction",
        type=float,
        default=1.0,
        metavar="F",
        help="share of the set's images and cells (default 1)",
    )
    parser.add_argument(
        "--n-images", type=_count, metavar="N", help="number of images, instead of --fraction"
    )
    _cultures(parser)


def _seed(parser):
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")


def _seed_and_jobs(parser):
    _seed(parser)
    parser.add_argument(
        "--jobs",
        type=_count,
        default=os.cpu_count(),
        metavar="J",
        help="worker processes (default %(default)s)",
    )


def _cache(parser):
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".cache"),
        metavar="DIR",
        help="folder for derived data (default %(default)s)",
    )


def _model(parser):
    parser.add_argument("--model", default="small", choices=MODELS, help="default %(default)s")
    parser.add_argument(
        "--iterations", type=_count, metavar="N", help="training iterations (default: the model's)"
    )


def _threshold(parser):
    parser.add_argument(
        "--score",
        dest="threshold",
        type=float,
        metavar="S",
        help="smallest score that counts as a cell (default: the best on val, or 0.5)",
    )


def _count(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: expected at least 1")
    return number


def _phantom(out, **options):
    from deepmucs_utils.phantom.write import write_phantom

    print(write_phantom(out, **options))


def _interaction(text):
    one, other, strength = text.split(":")
    return one, other, float(strength)


def _measure(**options):
    from deepmucs_utils.studies.phantom.comparison import report

    print(report(**options))


def _sheets(root, against, out, cache):
    from deepmucs_utils.studies.phantom.sheets import write_sheets

    for path in write_sheets(root, against, out, cache):
        print(path)


def _difficulty(root, **options):
    from deepmucs_utils.studies.phantom.difficulty import measure_difficulty

    found = measure_difficulty(root, **options)
    for culture, recall in found["recall"].items():
        print(f"{culture:8}{recall:6.1f} %")
    print(
        f"balanced accuracy {found['balanced_accuracy']:.1f} % on {found['test_cells']} cells "
        f"of other wells, trained on {found['train_cells']}"
    )


def _compose(
    root, out, placement, blend, rotation, interactions, seed, jobs, cache, only, **recipe
):
    from deepmucs_utils.generation.compose import Style
    from deepmucs_utils.generation.recipes import get_recipe
    from deepmucs_utils.generation.sets import compose_set

    style = Style(placement, blend, rotation, tuple(interactions))
    recipe = get_recipe(recipe.pop("set_name"), **recipe)
    print(compose_set(root, out, recipe, seed, style, jobs, cache, only))


def _check(root, json, **options):
    from deepmucs_utils.data.faults import check_root, describe

    faults = check_root(root, **options)
    print(faults.to_json(orient="records", indent=1) if json else describe(faults))
    return 1 if len(faults) else 0


def _download(root, **options):
    from deepmucs_utils.data.download import download

    print(download(root, **{name: value for name, value in options.items() if value}))


def _realism(root, out, critics, **options):
    from deepmucs_utils.studies.realism.study import measure_realism, report

    if critics:
        options["critics"] = tuple(critics)
    print(report(measure_realism(root, out, **options)))


def _train(set_dir, val_dir, out, resume, endless, cache, **options):
    from deepmucs_utils.generation.endless import EndlessSet
    from deepmucs_utils.segmentation.samples import CoCultureSet
    from deepmucs_utils.segmentation.training import Launch, train, training_config

    names = ("processes", "machines", "machine", "address")
    launch = Launch(**{name: options.pop(name) for name in names})
    source, validation = CoCultureSet(set_dir), CoCultureSet(val_dir)
    cfg = training_config(categories=source.categories, **options)
    if endless is not None:
        source = EndlessSet(set_dir, endless, cache)
    print(train(cfg, source, validation, out, resume, launch))


def _weights(action, source, out, **options):
    from deepmucs_utils.segmentation.weights import convert

    print(convert(source, out, **options))


def _predict(run_dir, images, out, overlays):
    from deepmucs_utils.segmentation.predict import predict

    print(predict(run_dir, images, out, overlays=overlays))


def _evaluate(ground_truth, predictions, out, replicates):
    from deepmucs_utils.evaluation.intervals import evaluate_with_intervals
    from deepmucs_utils.evaluation.metrics import METRICS, blank_few, evaluate, write_metrics

    if replicates is None:
        metrics = evaluate(ground_truth, predictions)
    else:
        metrics = evaluate_with_intervals(ground_truth, predictions, replicates)
    print(f"{metrics['n_images']} images, {metrics['n_cells']} cells")
    for task in ("bbox", "segm"):
        values = blank_few(metrics[task])
        for key in (*METRICS, "AR"):
            area = METRICS.get(key, (None, "all"))[1]
            n = values["n" if area == "all" else "n" + area[0]]
            limits = values.get(f"{key} interval")
            around = "" if limits is None else f"  [{limits[0]:.2f}, {limits[1]:.2f}]"
            print(f"{task}  {key:4}  n {n:6}  {values[key]:6.2f}{around}")
    if replicates is not None:
        print(metrics["intervals"]["note"])
    print(write_metrics(metrics, out))


def _analyse(out, val_set, val_predictions, **options):
    from deepmucs_utils.analysis.overview import analyse_model
    from deepmucs_utils.evaluation.tables import write_tables

    if (val_set is None) != (val_predictions is None):
        raise DeepMuCSError("--val and --val-pred: expected both or neither.")
    tables = analyse_model(val_set=val_set, val_predictions=val_predictions, **options)
    print(tables["errors"].loc["all"].round(2).to_string())
    print(f"{len(write_tables(tables, out)) // 2} tables in {out}")


def _interactions(ground_truth, predictions, threshold, out, **options):
    from deepmucs_utils.analysis.interactions import analyse
    from deepmucs_utils.analysis.operating_point import confident
    from deepmucs_utils.analysis.shapes import read_scenes
    from deepmucs_utils.evaluation.records import read_ground_truth, read_predictions
    from deepmucs_utils.evaluation.tables import write_tables

    truth, kept = read_ground_truth(ground_truth), None
    if predictions is not None:
        records = read_predictions(predictions, truth)
        kept = confident(records, 0.5 if threshold is None else threshold)
    found = analyse(read_scenes(truth, kept), **options)
    print(found.tests.round(3).to_string(index=False))
    if len(found.tests) / (options["replacements"] + 1) > 0.05:
        print(
            f"No finding is possible: {len(found.tests)} pairs of cultures need --replacements "
            f"{20 * len(found.tests) - 1} or more."
        )
    print(f"{len(write_tables(vars(found), out)) // 2} tables in {out}")


def _validate(**options):
    from deepmucs_utils.studies.interactions.null_and_power import validate

    for path in validate(**options):
        print(path)


def _monocultures(root, out, **options):
    from deepmucs_utils.studies.training.monocultures import write_monocultures

    print(write_monocultures(root, out, **options))


def _run(**options):
    from deepmucs_utils.workflow.notebooks import run_set

    print(run_set(**options))


def _book(stored, picture):
    from deepmucs_utils.workflow.book import build_book, render_stored, store_picture

    print(store_picture() if picture else render_stored() if stored else build_book())


if __name__ == "__main__":
    sys.exit(main())
