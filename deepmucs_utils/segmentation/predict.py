"""Predictions: the cells of each image as a COCO results list."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.modeling import build_model
from pycocotools import mask as coco_mask
from tqdm import tqdm

from deepmucs_utils.data.cultures import COLOURS
from deepmucs_utils.data.livecell import read_image
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_text
from deepmucs_utils.segmentation.run_files import BEST, LAST, load, read_config
from deepmucs_utils.segmentation.samples import CoCultureSet, rescale, to_tensor

SUFFIXES = (".png", ".tif", ".tiff")


def predict(run_dir, images, out, overlays=False):
    """Predict the cells of images with a trained model.

    Parameters
    ----------
    run_dir : path-like
        Folder of a run; its best weights are used.
    images : path-like or sequence of path-like
        A co-culture set's folder, whose image ids are kept; or image files and folders of them,
        numbered from 1 in order.
    out : path-like
        Folder for the results.
    overlays : bool
        Also draw the outlines on each image, into ``out/overlays``.

    Returns
    -------
    Path
        ``predictions.json``, a COCO results list: image_id, category_id, bbox, score and
        segmentation as RLE. For images that are no set, ``images.json`` beside it has their ids.

    Raises
    ------
    DeepMuCSError
        If the run has no weights or an image cannot be read.
    """
    cfg, model = load_model(run_dir)
    out = Path(out)
    sources, is_set = _sources(images)
    out.mkdir(parents=True, exist_ok=True)
    records = []
    for image_id, path in tqdm(sources, "predicting", unit="image", disable=None):
        image = read_image(path)
        found = predict_image(model, cfg, image)
        records += to_records(found, image_id, cfg)
        if overlays:
            (out / "overlays").mkdir(exist_ok=True)
            cv2.imwrite(str(out / "overlays" / f"{path.stem}.png"), draw(image, found, cfg))
    if not is_set:
        listing = [{"id": image_id, "file_name": str(path)} for image_id, path in sources]
        write_text(out / "images.json", json.dumps(listing))
    write_text(out / "predictions.json", json.dumps(records))
    return out / "predictions.json"


def load_model(run_dir):
    """The trained network of a run, ready to predict.

    Returns
    -------
    cfg : CfgNode
    model : GeneralizedRCNN
    """
    run_dir = Path(run_dir)
    cfg = read_config(run_dir)
    weights = next((run_dir / name for name in (BEST, LAST) if (run_dir / name).is_file()), None)
    if weights is None:
        raise DeepMuCSError(f"{run_dir}: holds no weights yet; train it with `deepmucs train`.")
    model = build_model(cfg).eval()
    model.load_state_dict(load(weights)["model"])
    return cfg, model


@torch.no_grad()
def predict_image(model, cfg, image):
    """Find the cells of one image.

    Parameters
    ----------
    model : GeneralizedRCNN
    cfg : CfgNode
    image : ndarray of uint8, shape (h, w)

    Returns
    -------
    Instances
        On the CPU, in the image's pixels, by falling score: ``pred_boxes``, ``scores``,
        ``pred_classes``, ``pred_masks`` (bool, shape (n, h, w)).
    """
    model.eval()
    height, width = image.shape
    scaled, _ = rescale(image, cfg.INPUT.MIN_SIZE_TEST)
    inputs = {"image": to_tensor(scaled), "height": height, "width": width}
    return model([inputs])[0]["instances"].to("cpu")


def predict_set(model, cfg, source, path):
    """Predict a co-culture set and write the COCO results list.

    Parameters
    ----------
    model : GeneralizedRCNN
    cfg : CfgNode
    source : CoCultureSet
    path : Path
    """
    records = []
    for index, image in enumerate(source.images):
        found = predict_image(model, cfg, read_image(source.path(index)))
        records += to_records(found, image["id"], cfg)
    write_text(path, json.dumps(records))


def to_records(found, image_id, cfg):
    """Detections of one image as COCO results; masks without a pixel are left out.

    Returns
    -------
    list of dict
    """
    records = []
    boxes = found.pred_boxes.tensor.numpy().astype(float)
    for box, score, number, mask in zip(
        boxes, found.scores.tolist(), found.pred_classes.tolist(), found.pred_masks, strict=True
    ):
        if not mask.any():
            continue
        rle = coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
        records.append(
            {
                "image_id": image_id,
                "category_id": cfg.DATASETS.CATEGORY_IDS[number],
                "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                "score": score,
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
            }
        )
    return records


def draw(image, found, cfg, threshold=0.5):
    """Outlines of the cells with at least a given score, in their culture's colour.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        Channels blue, green, red, as OpenCV writes them.
    """
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    for number, mask in enumerate(found.pred_masks):
        if found.scores[number] < threshold:
            continue
        name = cfg.DATASETS.CATEGORY_NAMES[int(found.pred_classes[number])]
        code = COLOURS.get(name, "#FFFFFF")
        colour = [int(code[place : place + 2], 16) for place in (5, 3, 1)]
        outline, _ = cv2.findContours(
            mask.numpy().astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(canvas, outline, -1, colour, 1)
    return canvas


def _sources(images):
    """Pairs of image id and path, and whether they are a co-culture set's."""
    given = [images] if isinstance(images, (str, Path)) else list(images)
    if len(given) == 1 and (Path(given[0]) / "annotations.json").is_file():
        source = CoCultureSet(given[0])
        return [(image["id"], source.path(i)) for i, image in enumerate(source.images)], True
    paths = []
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise DeepMuCSError(f"{path}: holds no image; expected {', '.join(SUFFIXES)}.")
            paths += inside
        elif path.is_file():
            paths.append(path)
        else:
            raise DeepMuCSError(f"{path}: no such file or folder; expected an image or a set.")
    return list(enumerate(paths, start=1)), False
