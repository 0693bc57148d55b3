"""The command `deepmucs`: one sub-command for each thing that the package does.

Each command imports what it needs when it is called: composing needs no torch, and ``--help`` is
instant. Options are named like the parameters of the functions that they are passed to, and the
same option means the same everywhere.
"""

import logging
import os
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import click
from click import Argument, Choice, IntRange, Option, argument, option

from deepmucs_utils import MODELS
from deepmucs_utils.errors import DeepMuCSError, missing

PATH = click.Path(path_type=Path)
COUNT = IntRange(min=1)
SPLIT = Choice(("train", "val", "test"))
SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default ``sys.argv[1:]``.

    Returns
    -------
    int
        0; 1 from ``check`` when there are faults; 2 after an error that the user can correct; 130
        after Ctrl-C.
    """
    try:
        return deepmucs.main(arguments, prog_name="deepmucs", standalone_mode=False) or 0
    except DeepMuCSError as error:
        message = str(error)
    except ModuleNotFoundError as error:
        message = str(missing(error.name))
    except click.UsageError as error:
        message = f"{error.format_message()} See {error.ctx.command_path} --help."
    except click.Abort:
        print("deepmucs: interrupted; the same command resumes from here.", file=sys.stderr)
        return 130
    print(f"deepmucs: error: {message}", file=sys.stderr)
    return 2


@click.group(no_args_is_help=False, context_settings=SETTINGS)
def deepmucs():
    """DeepMuCS: synthetic co-cultures, and culture-aware cell segmentation."""


def _names(text):
    return text.split(",")


def _taken(cls, options):
    """An object of a dataclass, from the options that have the names of its fields."""
    return cls(**{field.name: options.pop(field.name) for field in fields(cls)})


def _interaction(text):
    try:
        one, other, strength = text.split(":")
        return one, other, float(strength)
    except ValueError:
        raise click.BadParameter(
            f"{text!r}: expected two cultures and a number, such as A172:BV2:1.5."
        ) from None


def _named_root(text):
    name, _, path = text.rpartition("=")
    if not name:
        raise click.BadParameter(f"{text!r}: expected a name and a root, such as old=ROOT.")
    return name, Path(path)


ROOT = Argument(["root"], type=PATH)
OUT = Argument(["out"], type=PATH)
RESULTS = Option(["--out"], type=PATH, required=True, help="Folder of the results.")
SEED = Option(["--seed"], type=IntRange(min=0), default=0, help="Of all random numbers.")
JOBS = Option(["--jobs"], type=COUNT, default=os.cpu_count(), help="Worker processes.")
CACHE = Option(["--cache"], type=PATH, default=Path(".cache"), help="Folder of derived data.")
SET_NAME = Option(["--set", "set_name"], required=True, metavar="NAME", help="Such as Demo40.")
CULTURES = Option(["--cultures"], type=_names, metavar="A,B,…", help="Only these (default: all).")
SCALE = [
    Option(["--fraction"], default=1.0, help="Share of the set's images and cells."),
    Option(["--n-images"], type=COUNT, help="Number of images, instead of --fraction."),
    CULTURES,
]
MODEL = [
    Option(["--model"], type=Choice(MODELS), default="small", help="Size of the network."),
    Option(["--iterations"], type=COUNT, help="Of training (default: the model's)."),
    Option(["--batch"], type=COUNT, help="Images per iteration; scales rate and iterations."),
    Option(["--weights"], type=PATH, help="Start from a run's weights or from a checkpoint."),
    Option(["--processes"], type=COUNT, help="On this machine (default: its visible GPUs, or 1)."),
]
TRUTH = Argument(["ground_truth"], type=PATH, metavar="GT")


@deepmucs.command(params=[OUT, CULTURES, SEED, JOBS])
@option("--images", type=COUNT, help="Per culture and split (default: two of each well).")
@option("--density", default=1.0, help="Factor on the number of cells.")
@option("--size", type=(COUNT, COUNT), default=(520, 704), help="Height and width, px.")
@option("--faulty-images", default=0, help="Images per fault of whole images; see faults.json.")
def phantom(out, **options):
    """Write a synthetic data set in LIVECell's layout."""
    from deepmucs_utils.phantom.write import write_phantom

    print(write_phantom(out, **options))


@deepmucs.command(params=[ROOT, JOBS, CACHE])
@option("--against", type=PATH, help="Another root, instead of the stored tables of LIVECell.")
@option("--out", type=PATH, help="Folder for the tables as CSV files.")
def measure(root, **options):
    """Measure a root and compare it with LIVECell."""
    from deepmucs_utils.studies.phantom.comparison import as_text, compare_roots

    print(as_text(compare_roots(root, **options)))


@deepmucs.command(params=[ROOT, RESULTS, CACHE, SEED])
@argument("against", type=PATH)
@option("--split", "splits", type=SPLIT, multiple=True, help="May be repeated (default all).")
@option("--blind", is_flag=True, help="Pairs of crops, shuffled; key/key.json says which is real.")
@option("--pairs", type=COUNT, default=6, help="With --blind: pairs per culture.")
@option("--images", type=PATH, help="With --blind: folder of real images without annotations.")
def sheets(root, against, out, splits, blind, cache, **options):
    """Show two roots side by side, one sheet per culture."""
    from deepmucs_utils.studies.phantom.sheets import write_blind_sheets, write_sheets

    write = partial(write_blind_sheets, **options) if blind else write_sheets
    print(*write(root, against, out, splits=splits, cache=cache), sep="\n")


@deepmucs.command(params=[ROOT, OUT, SET_NAME, *SCALE, SEED, JOBS, CACHE])
@option("--only", type=int, metavar="I", help="Compose image I alone.")
@option("--placement", default="clustered", help="Or: uniform, interacting.")
@option("--blend", default="matte", help="Or: hard.")
@option("--interaction", "interactions", type=_interaction, multiple=True, metavar="A:B:S")
def compose(root, out, only, seed, jobs, cache, **options):
    """Compose a co-culture set from a root.

    With --placement interacting, --interaction A:B:S lets cultures A and B attract (S > 0) or repel
    (S < 0) each other; it may be repeated.
    """
    from deepmucs_utils.generation.compose import Style
    from deepmucs_utils.generation.recipes import get_recipe
    from deepmucs_utils.generation.sets import compose_set

    style = _taken(Style, options)
    recipe = get_recipe(options.pop("set_name"), **options)
    print(compose_set(root, out, recipe, seed, style, jobs, cache, only))


@deepmucs.command(params=[ROOT, JOBS, CACHE])
@option("--json", is_flag=True, help="Print every fault as JSON.")
def check(root, json, **options):
    """List the faults of a root; exit 1 if there are any."""
    from deepmucs_utils.data.faults import check_root, describe

    faults = check_root(root, **options)
    print(faults.to_json(orient="records", indent=1) if json else describe(faults))
    return int(len(faults) > 0)


@deepmucs.command(params=[ROOT])
@option("--split", "splits", type=SPLIT, multiple=True, help="May be repeated (default all).")
@option("--url", help="Another address with the official layout.")
def download(root, **options):
    """Fetch the official LIVECell (CC BY-NC 4.0)."""
    from deepmucs_utils.data.download import download

    print(download(root, **{name: value for name, value in options.items() if value}))


@deepmucs.command(params=[*MODEL, SEED, CACHE])
@argument("set_dir", type=PATH, metavar="SET")
@option("--val", "val_dir", type=PATH, required=True, help="Validation set.")
@option("--out", type=PATH, required=True, metavar="RUN", help="Folder of the run.")
@option("--resume", is_flag=True, help="Resume an interrupted run.")
@option("--accumulate", type=COUNT, default=1, help="Parts of a batch, for less memory.")
@option("--endless", type=PATH, metavar="ROOT", help="Compose anew each epoch, from SET's root.")
@option("--machines", type=COUNT, help="Number of machines (default 1).")
@option("--machine", type=IntRange(min=0), help="Number of this machine, from 0.")
@option("--address", help="Of machine 0, for all of them, e.g. tcp://10.0.0.1:5555.")
def train(set_dir, val_dir, out, endless, cache, resume, **options):
    """Train a model on a set.

    With --machines, each runs this command with its own --machine; machine 0 alone keeps the run.
    torchrun may start the processes instead, which needs none of these options.
    """
    from deepmucs_utils.generation.endless import EndlessSet
    from deepmucs_utils.segmentation.launch import Launch
    from deepmucs_utils.segmentation.samples import CoCultureSet
    from deepmucs_utils.segmentation.training import train, training_config

    launch = _taken(Launch, options)
    source, validation = CoCultureSet(set_dir), CoCultureSet(val_dir)
    cfg = training_config(categories=source.categories, **options)
    if endless is not None:
        source = EndlessSet(set_dir, endless, cache)
    print(train(cfg, source, validation, out, resume, launch))


@deepmucs.command
@argument("action", type=Choice(["convert"]), expose_value=False)
@argument("source", type=PATH, metavar="IN")
@argument("out", type=PATH)
@option("--model", type=Choice([name for name in MODELS if name != "small"]), default="paper")
@option("--keep-classes", is_flag=True, help="Keep its classes instead of the eight cultures.")
def weights(source, out, **options):
    """Convert published weights to a run.

    IN is a checkpoint of the ResNeSt detectron2 fork (COCO, LIVECell) or of timm.
    """
    from deepmucs_utils.segmentation.weights import convert

    print(convert(source, out, **options))


@deepmucs.command(params=[RESULTS])
@argument("run_dir", type=PATH, metavar="RUN")
@argument("images", type=PATH, nargs=-1, required=True)
@option("--overlays", is_flag=True, help="Also draw the predictions.")
def predict(run_dir, images, out, overlays):
    """Segment cells and name their cultures.

    IMAGES are image files, folders of images, or one co-culture set.
    """
    from deepmucs_utils.segmentation.predict import predict

    logging.basicConfig(level=logging.INFO, format="%(message)s")  # limits that were reached
    print(predict(run_dir, images, out, overlays=overlays))


@deepmucs.command(params=[TRUTH, RESULTS])
@argument("predictions", type=PATH, metavar="PRED")
@option("--replicates", type=COUNT, help="Add intervals from N bootstrap replicates, e.g. 1000.")
def evaluate(ground_truth, predictions, out, replicates):
    """Compare predictions with ground truth.

    GT is COCO json, PRED a COCO results list.
    """
    from deepmucs_utils.evaluation.intervals import evaluate_with_intervals
    from deepmucs_utils.evaluation.matching import match_files
    from deepmucs_utils.evaluation.metrics import NUMBERS, blank_few, evaluate, write_metrics

    matched = match_files(ground_truth, predictions)
    metrics = evaluate_with_intervals(matched, replicates) if replicates else evaluate(matched)
    print(f"{metrics['n_images']} images, {metrics['n_cells']} cells")
    for task in ("bbox", "segm"):
        values = blank_few(metrics[task])
        for key, metric in NUMBERS.items():
            limits = values.get(f"{key} interval")
            around = "" if limits is None else f"  [{limits[0]:.2f}, {limits[1]:.2f}]"
            print(f"{task}  {key:4}  n {values[metric.count]:6}  {values[key]:6.2f}{around}")
    if replicates:
        print(metrics["intervals"]["note"])
    print(write_metrics(metrics, out))


@deepmucs.command(params=[RESULTS])
@argument("test_set", type=PATH, metavar="SET")
@argument("predictions", type=PATH, metavar="PRED")
@option("--val", "val_set", type=PATH, metavar="VALSET", help="For threshold and composition.")
@option("--val-pred", "val_predictions", type=PATH, help="Predictions of the validation set.")
@option("--score", "threshold", type=float, help="Minimum (default: the best on VALSET, or 0.5).")
def analyse(test_set, predictions, val_set, val_predictions, threshold, out):
    """Analyse a model's errors: all tables."""
    from deepmucs_utils.analysis.overview import analyse_model, read_provenance
    from deepmucs_utils.evaluation.matching import match_files
    from deepmucs_utils.evaluation.tables import write_tables

    if (val_set is None) != (val_predictions is None):
        raise DeepMuCSError("--val and --val-pred: expected both or neither.")
    matched = match_files(test_set, predictions)
    val = match_files(val_set, val_predictions) if val_set else None
    tables = analyse_model(matched, val, read_provenance(test_set), threshold)
    print(tables["errors"].loc["all"].round(2).to_string())
    print(f"{len(write_tables(tables, out))} tables in {out}")


@deepmucs.command(params=[TRUTH, RESULTS, SEED, JOBS])
@argument("predictions", type=PATH, metavar="[PRED]", required=False)
@option("--score", "threshold", default=0.5, help="Minimum score of a predicted cell.")
@option("--replacements", type=COUNT, default=199, help="Re-placements of each image.")
@option("--hidden", default=0.0, help="Share of a cell that may be hidden.")
def interactions(ground_truth, predictions, threshold, out, **options):
    """Test which cultures attract or avoid each other.

    The cells are those of GT (COCO json) or, on the same images, of PRED (a COCO results list).
    """
    from deepmucs_utils.analysis.counting import confident
    from deepmucs_utils.analysis.interactions import find_interactions
    from deepmucs_utils.analysis.shapes import read_fields
    from deepmucs_utils.evaluation.records import read_ground_truth, read_predictions
    from deepmucs_utils.evaluation.tables import write_tables

    truth = read_ground_truth(ground_truth)
    kept = predictions and confident(read_predictions(predictions, truth), threshold)
    found = find_interactions(read_fields(truth, kept), **options)
    print(found.tests.round(3).to_string(index=False))
    if len(found.tests) / (options["replacements"] + 1) > 0.05:
        print(
            f"No finding is possible: {len(found.tests)} pairs of cultures need --replacements "
            f"{20 * len(found.tests) - 1} or more."
        )
    print(f"{len(write_tables(vars(found), out))} tables in {out}")


@deepmucs.command(params=[ROOT, OUT, CULTURES, SEED, CACHE])
@option("--split", type=SPLIT, default="test")
@option("--without", type=PATH, help="Leave out the images that gave this set its cells.")
@option("--window", type=(COUNT, COUNT), help="Cut images into windows: height and width, px.")
@option("--n-images", type=COUNT, help="Number of images, the cultures in turn (default all).")
def monocultures(root, out, window, n_images, seed, **options):
    """Make a set of a root's monoculture images."""
    from deepmucs_utils.studies.training.monocultures import Windows, write_monocultures

    windows = Windows(window, n_images, seed)
    print(write_monocultures(root, out, windows=windows, **options))


@deepmucs.command(params=[ROOT, JOBS])
@option("--split", type=SPLIT, default="test", help="To test on.")
@option("--out", type=PATH, help="Folder of everything (default: in the cache).")
@option("--phantom", "phantoms", type=_named_root, multiple=True, metavar="NAME=ROOT")
@option("--trainings", type=COUNT, default=3, help="Of each kind, with other seeds.")
@option("--iterations", type=COUNT, default=500, help="Of each training.")
@option("--windows", type=COUNT, default=320, help="Of each phantom, to train on.")
def transfer(root, phantoms, **options):
    """Train on phantoms and test on a root.

    With --phantom, which may be repeated, the table has a training on another annotated root; one
    called "phantom" takes the place of the phantom that is written otherwise.
    """
    from deepmucs_utils.studies.training.transfer import as_text, transfer

    print(as_text(transfer(root, phantoms=dict(phantoms), **options)))


@deepmucs.command
@argument("name", required=False)
@option("--root", type=PATH, help="LIVECell root (default: the phantom).")
@option("--again", is_flag=True, help="Repeat a finished study.")
@option("--missing", is_flag=True, help="Run all without a stored result.")
def studies(name, root, again, missing):
    """List, run or resume studies."""
    from deepmucs_utils.studies import registry

    if name is None:
        print(registry.list_studies())
    for study in [name] if name else registry.missing() if missing else []:
        print(registry.run_study(study, root, again))


@deepmucs.command
@option("--again", is_flag=True, help="Measure everything anew.")
def gpu(again):
    """Measure what only a GPU can show, or resume it.

    Speed, memory and parity of mixed precision, and short trainings of the large networks, in
    pieces of a few minutes; book/measured/gpu.json has those that are done.
    """
    from deepmucs_utils.studies.training.gpu import measure

    print(measure(again))


@deepmucs.command(params=[SET_NAME, *MODEL, *SCALE, SEED])
@option("--root", type=PATH, help="LIVECell root (default: the phantom).")
@option("--out", type=PATH, default=Path("runs"), help="Folder of the runs.")
def run(root, out, **options):
    """Compose, train and evaluate a set by its notebooks."""
    from deepmucs_utils.workflow import params
    from deepmucs_utils.workflow.notebooks import run_sets

    print(*run_sets([params.check(data_root=root, out_dir=out, **options)]))


@deepmucs.command
@option("--stored", is_flag=True, help="Render the stored notebooks without running anything.")
@option("--picture", is_flag=True, help="Only store notebook 23's figure for the README.")
def book(stored, picture):
    """Run the demo sets and render the book."""
    from deepmucs_utils.workflow.book import build_book, render_stored, store_picture

    print(store_picture() if picture else render_stored() if stored else build_book())


if __name__ == "__main__":
    sys.exit(main())
