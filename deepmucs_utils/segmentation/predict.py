"""Predictions: the cells of each image as a COCO results list."""

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances
from hotcoco import mask as rle
from torch import nn
from tqdm import tqdm

from deepmucs_utils.data.cultures import COLOURS
from deepmucs_utils.data.livecell import read_image
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json, write_text
from deepmucs_utils.segmentation.run_files import BEST, LAST, load, read_config
from deepmucs_utils.segmentation.samples import CoCultureSet, rescale, to_tensor

SUFFIXES = (".png", ".tif", ".tiff")


def predict(run_dir, images, out, overlays=False) -> Path:
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
        The log says, at level INFO, where images reached their limit of detections.

    Raises
    ------
    DeepMuCSError
        If the run has no weights or an image cannot be read.
    """
    cfg, model = load_model(run_dir)
    out, given = Path(out), [images] if isinstance(images, (str, Path)) else list(images)
    is_set = len(given) == 1 and (Path(given[0]) / "annotations.json").is_file()
    paths = CoCultureSet(given[0]).paths() if is_set else dict(enumerate(_image_files(given), 1))
    out.mkdir(parents=True, exist_ok=True)
    drawings = out / "overlays" if overlays else None
    cut = predict_files(model, cfg, paths, out / "predictions.json", drawings)
    if cut:
        worst, kept = max(cut.items(), key=lambda item: item[1])
        logging.getLogger(__name__).info(
            f"{out / 'predictions.json'}: {len(cut)} of {len(paths)} images reached their limit of "
            f"detections, such as {worst} with {kept}; the least certain cells are missing; cut "
            "the images into smaller windows, or raise TEST.DETECTIONS_PER_IMAGE in the run's "
            "config.yaml."
        )
    if not is_set:
        listing = [{"id": image_id, "file_name": path} for image_id, path in paths.items()]
        write_json(out / "images.json", listing)
    return out / "predictions.json"


def load_model(run_dir) -> tuple[CfgNode, nn.Module]:
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
def predict_image(model: nn.Module, cfg: CfgNode, image: np.ndarray) -> Instances:
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


def predict_files(model, cfg, paths, out, overlays=None) -> dict[str, int]:
    """Predict image files and write the COCO results list.

    Parameters
    ----------
    model : GeneralizedRCNN
    cfg : CfgNode
    paths : dict of int to Path
        Image files by image id, as `CoCultureSet.paths` gives them.
    out : Path
        The json file.
    overlays : Path, optional
        Folder for the images with the outlines of their cells.

    Returns
    -------
    dict of str to int
        The images with more detections than their limit allows: the number that was kept, by file.
    """
    records, cut = [], {}
    bar = tqdm(paths.items(), "predicting", unit="image", disable=None, leave=False)
    for image_id, path in bar:
        image = read_image(path)
        found = predict_image(model, cfg, image)
        records += to_records(found, image_id, cfg)
        if any(model.roi_heads.cut):
            cut[str(path)] = len(found)
        if overlays:
            overlays.mkdir(exist_ok=True)
            cv2.imwrite(str(overlays / f"{path.stem}.png"), draw(image, found, cfg))
    write_text(out, json.dumps(records))
    return cut


def to_records(found: Instances, image_id: int, cfg: CfgNode) -> list[dict]:
    """Detections of one image as COCO results; masks without a pixel are left out.

    Returns
    -------
    list of dict
    """
    found = found[found.pred_masks.flatten(1).any(1)]
    boxes = found.pred_boxes.tensor.double().numpy()
    boxes[:, 2:] -= boxes[:, :2]
    codes = [rle.encode(mask.numpy()) for mask in found.pred_masks]
    return [
        {
            "image_id": image_id,
            "category_id": cfg.DATASETS.CATEGORY_IDS[number],
            "bbox": box,
            "score": score,
            "segmentation": code | {"counts": code["counts"].decode()},
        }
        for box, score, number, code in zip(
            boxes.tolist(), found.scores.tolist(), found.pred_classes.tolist(), codes, strict=True
        )
    ]


def draw(image, found, cfg) -> np.ndarray:
    """Outlines of the cells with a score of at least 0.5, in their culture's colour.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w)
    found : Instances
        From `predict_image`.
    cfg : CfgNode

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        Channels blue, green, red, as OpenCV writes them.
    """
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    found = found[found.scores >= 0.5]
    for number, mask in zip(found.pred_classes.tolist(), found.pred_masks, strict=True):
        code = COLOURS.get(cfg.DATASETS.CATEGORY_NAMES[number], "#FFFFFF")
        outline, _ = cv2.findContours(
            mask.numpy().astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(canvas, outline, -1, tuple(bytes.fromhex(code[1:]))[::-1], 1)
    return canvas


def _image_files(given):
    """The image files among files and folders, in order."""
    files = []
    for path in map(Path, given):
        if not path.exists():
            raise DeepMuCSError(f"{path}: no such file or folder; expected an image or a set.")
        inside = sorted(p for p in path.glob("*") if p.suffix.lower() in SUFFIXES)
        if path.is_dir() and not inside:
            raise DeepMuCSError(f"{path}: holds no image; expected {', '.join(SUFFIXES)}.")
        files += inside or [path]
    return files
