"""Predictions: the cells of each image as a COCO results list."""

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.layers import paste_masks_in_image
from detectron2.modeling import build_model
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances
from hotcoco import mask as rle
from torch import nn
from torch.nn.functional import grid_sample
from tqdm import tqdm

from deepmucs_utils.data.cultures import COLOURS
from deepmucs_utils.data.livecell import read_image
from deepmucs_utils.data.masks import decode, encode_windows
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json, write_text
from deepmucs_utils.segmentation.run_files import BEST, LAST, load, read_config
from deepmucs_utils.segmentation.samples import CoCultureSet, rescale, to_tensor

SUFFIXES = (".png", ".tif", ".tiff")
ROUNDED, PIXELS = 16, 2**18  # sides of windows are multiples; most pixels that are pasted at once


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
    return cfg, model.to(memory_format=torch.channels_last)  # half as long in the mask head


@torch.no_grad()
def detect(model: nn.Module, cfg: CfgNode, image: np.ndarray) -> Instances:
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
        ``pred_classes``, ``probabilities`` (of the mask over the box; float32, shape (n, m, m)),
        ``codes`` (the mask's run lengths; ndarray of dict).
    """
    model.eval()
    scaled, _ = rescale(image, cfg.INPUT.MIN_SIZE_TEST)
    (found,) = model.inference([{"image": to_tensor(scaled)}], do_postprocess=False)
    found.probabilities = found.pred_masks[:, 0]
    found.remove("pred_masks")  # so that detectron2 does not make whole images of them
    return with_codes(detector_postprocess(found, *image.shape).to("cpu"))


def with_codes(found: Instances) -> Instances:
    """Add to detections the run lengths of their masks, as `detect` gives them."""
    found.codes = np.empty(len(found), object)
    for rows, corners, masks in _windows(found):
        found.codes[rows] = encode_windows(corners, masks, found.image_size)
    return found


def predict_image(model: nn.Module, cfg: CfgNode, image: np.ndarray) -> Instances:
    """Find the cells of one image, with a mask of the whole image for each, to look at.

    Returns
    -------
    Instances
        As `detect`, with ``pred_masks`` (bool, shape (n, h, w)) in place of ``codes``.
    """
    found = detect(model, cfg, image)
    found.remove("codes")
    found.pred_masks = paste_masks_in_image(found.probabilities, found.pred_boxes, image.shape)
    return found


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
        found = detect(model, cfg, image)
        own = to_records(found, image_id, cfg)
        records += own
        if any(model.roi_heads.cut):
            cut[str(path)] = len(found)
        if overlays:
            overlays.mkdir(exist_ok=True)
            cv2.imwrite(str(overlays / f"{path.stem}.png"), draw(image, own, cfg))
    write_text(out, json.dumps(records))
    return cut


def to_records(found: Instances, image_id: int, cfg: CfgNode) -> list[dict]:
    """Detections of one image as COCO results; masks without a pixel are left out.

    Parameters
    ----------
    found : Instances
        From `detect`.
    image_id : int
    cfg : CfgNode

    Returns
    -------
    list of dict
    """
    boxes = found.pred_boxes.tensor.double().numpy()
    boxes[:, 2:] -= boxes[:, :2]
    columns = [one.tolist() for one in (boxes, found.scores, found.pred_classes, found.codes)]
    categories = cfg.DATASETS.CATEGORY_IDS
    return [
        {
            "image_id": image_id,
            "category_id": categories[number],
            "bbox": box,
            "score": score,
            "segmentation": code | {"counts": code["counts"].decode()},
        }
        for box, score, number, code in zip(*columns, strict=True)
        if rle.area(code)
    ]


def _windows(found):
    """Masks in windows around their boxes, in groups of like size.

    The pixels are those of detectron2's `paste_masks_in_image`: the probability at their centres
    is at least 0.5. Outside of its box a mask is always below, so a window may be larger.

    Yields
    ------
    rows : ndarray of int, shape (n,)
        Of ``found``.
    corners : ndarray of int, shape (n, 2)
        First row and column of the windows.
    masks : ndarray of bool, shape (n, h, w)
    """
    boxes = found.pred_boxes.tensor[:, [1, 0, 3, 2]].reshape(-1, 2, 2)
    start, end = boxes.unbind(1)
    corners = start.floor().long()
    sizes = -(-(end.ceil().long() - corners) // ROUNDED) * ROUNDED
    for size in sizes.unique(dim=0):
        same = (sizes == size).all(1).nonzero()[:, 0]
        for rows in same.split(max(1, PIXELS // int(size.prod()))):
            y, x = (
                (torch.arange(int(side)) + corners[rows, k, None] + 0.5 - start[rows, k, None])
                / (end - start)[rows, k, None] * 2 - 1
                for k, side in enumerate(size)
            )  # fmt: skip
            shape = len(rows), *size.tolist()
            grid = torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape)], 3)
            masks = grid_sample(found.probabilities[rows, None], grid, align_corners=False)[:, 0]
            yield rows.numpy(), corners[rows].numpy(), (masks >= 0.5).numpy()


def draw(image, records, cfg) -> np.ndarray:
    """Outlines of the cells with a score of at least 0.5, in their culture's colour.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w)
    records : list of dict
        From `to_records`.
    cfg : CfgNode

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        Channels blue, green, red, as OpenCV writes them.
    """
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    names = dict(zip(cfg.DATASETS.CATEGORY_IDS, cfg.DATASETS.CATEGORY_NAMES, strict=True))
    for record in records:
        if record["score"] < 0.5:
            continue
        mask = decode(record["segmentation"], image.shape).astype(np.uint8)
        outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        colour = bytes.fromhex(COLOURS.get(names[record["category_id"]], "#FFFFFF")[1:])[::-1]
        cv2.drawContours(canvas, outline, -1, tuple(colour), 1)
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
