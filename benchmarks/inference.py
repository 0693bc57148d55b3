"""CPU time of a prediction with `small`, beside another checkout's, on the same images.

    python -m benchmarks.inference OTHER SETS

The networks are those that `benchmarks.learning` trained, with which it shares its arguments; the
images are those of Demo_val. Each image has its 100 most certain detections, of 200 proposals, from
the picture in memory to COCO records. Apart from that, 3,000 detections of a 520 × 704 px image are
made to records. Processes with one thread take turns; the result is
``book/measured/inference.json``.
"""

import argparse
import json
import statistics
import tempfile
import time
from itertools import product
from pathlib import Path


def drive(sets, weights, out):
    """Predict by the package that is first on the path; records and seconds of each image."""
    from deepmucs_utils import segmentation  # noqa: F401  (first: it quiets detectron2)

    # isort: split
    import torch
    from detectron2.modeling import build_model

    from deepmucs_utils.segmentation import predict
    from deepmucs_utils.segmentation.samples import CoCultureSet
    from deepmucs_utils.segmentation.training import training_config

    torch.set_num_threads(1)
    source = CoCultureSet(sets / "Demo_val")
    cfg = training_config("small", source.categories)
    cfg.TEST.DETECTIONS_PER_IMAGE, cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 100, 200
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    if "LIMITS_AREA" in cfg.TEST:
        cfg.TEST.LIMITS_AREA = 0
    model = build_model(cfg).eval()
    model.load_state_dict(torch.load(weights, weights_only=True)["model"])
    find = predict.predict_image
    if hasattr(predict, "detect"):
        find = predict.detect
        model.to(memory_format=torch.channels_last)  # as `load_model` does
    images = json.loads((sets / "Demo_val" / "annotations.json").read_text())["images"]
    folder = sets / "Demo_val" / "images"
    pictures = [predict.read_image(folder / image["file_name"]) for image in images]
    for picture in pictures[:3]:
        find(model, cfg, picture)
    records, seconds = [], []
    for image, picture in zip(images, pictures, strict=True):
        begun = time.process_time()
        found = predict.to_records(find(model, cfg, picture), image["id"], cfg)
        seconds.append(time.process_time() - begun)
        records += found
    crowd = [_seconds_of_records(predict, cfg) for _ in range(5)]
    out.write_text(json.dumps({"records": records, "seconds": seconds, "crowd": crowd}))


def _seconds_of_records(predict, cfg, number=3000, shape=(520, 704)):
    """CPU seconds from the masks of detections, planted at random, to their records."""
    import torch
    from detectron2.layers import paste_masks_in_image
    from detectron2.structures import Boxes, Instances

    random = torch.manual_seed(0)
    centres = torch.rand(number, 2, generator=random) * torch.tensor(shape[::-1])
    radii = 8 + 12 * torch.rand(number, 2, generator=random)
    boxes = torch.hstack([centres - radii, centres + radii])
    away = (torch.arange(28) - 13.5).square()
    discs = torch.sigmoid((140 + 50 * torch.rand(number, 1, 1) - away - away[:, None]) / 20)
    found = Instances(shape, scores=torch.rand(number), pred_boxes=Boxes(boxes))
    found.pred_boxes.clip(shape)
    found.pred_classes = torch.zeros(number, dtype=torch.long)
    if hasattr(predict, "with_codes"):
        found.probabilities = discs
        begun = time.process_time()
        found = predict.with_codes(found)
    else:
        found.pred_masks = paste_masks_in_image(discs, found.pred_boxes, shape)
        begun = time.process_time()
    predict.to_records(found, 1, cfg)
    return time.process_time() - begun


def compare(trees, sets, seeds):
    """Predict with the networks of all seeds, in turns; one row for each."""
    from benchmarks.learning import commit, run_in
    from deepmucs_utils.evaluation.matching import match_files
    from deepmucs_utils.evaluation.metrics import evaluate

    rows = []
    for seed, (name, tree) in product(range(seeds), trees.items()):
        weights = sets / "learning" / f"{name}-{commit(tree)}-{seed}" / "best.pth"
        with tempfile.TemporaryDirectory() as folder:
            out, predictions = Path(folder, "out.json"), Path(folder, "predictions.json")
            run_in(tree, __file__, weights, sets, "--drive", out)
            found = json.loads(out.read_text())
            predictions.write_text(json.dumps(found["records"]))
            metrics = evaluate(match_files(sets / "Demo_val", predictions))["segm"]
        milliseconds = 1000 * statistics.median(found["seconds"])
        per_image = len(found["records"]) / len(found["seconds"])
        rows.append({"network": name, "seed": seed, "CPU ms per image": round(milliseconds, 1)})
        rows[-1]["CPU s for 3,000 records"] = round(statistics.median(found["crowd"]), 3)
        rows[-1] |= {"detections per image": per_image, "mask AP": round(metrics["AP"], 2)}
        print(rows[-1], flush=True)
    return rows


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drive", type=Path, metavar="OUT", help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("folders", nargs=2, type=Path, metavar="OTHER SETS")
    given = parser.parse_args()
    one, sets = (folder.resolve() for folder in given.folders)
    if given.drive:
        drive(sets, one, given.drive)
        return

    from benchmarks.learning import store

    begun, trees = time.monotonic(), {"other": one, "own": Path(__file__).parents[1]}
    rows = compare(trees, sets, given.seeds)
    medians = {
        name: {key: statistics.median(r[key] for r in rows if r["network"] == name) for key in keys}
        for name in trees
        for keys in [("CPU ms per image", "mask AP", "CPU s for 3,000 records")]
    }
    times = [medians[name]["CPU ms per image"] for name in ("own", "other")]
    result = {
        "ratio": round(times[0] / times[1], 3),
        "medians": medians,
        "rows": rows,
    }
    store("inference", trees, given.seeds, begun, result)
    print(json.dumps(medians | {"ratio": result["ratio"]}, indent=1))


if __name__ == "__main__":
    main()
