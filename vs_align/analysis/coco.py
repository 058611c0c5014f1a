"""Keypoints of COCO: a data set with images and annotations, or a list of results."""

import logging
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..poses.following import followed
from ..poses.skeleton import POINTS
from .pose_store import FARTHEST, OVER, PoseFileError

__all__ = ["CocoPoses", "one_person", "parsed"]

type Floats = NDArray[np.float64]

_log = logging.getLogger("vs_align")

# What a data set's visibility says: not labelled, hidden, seen.
_SURE = {0: 0.0, 1: 0.5, 2: 1.0}
_MOST_FRAMES = 10_000_000
# Of a number in a name, the last digits; a number beyond is that of no frame.
_DIGITS = 18
# How far joints are from where they were, on average, in heights: noise, what is likely at once, and in a second.
_NOISE, _LIKELY, _FAST = 0.06, 0.15, 3.0


@dataclass(frozen=True, slots=True)
class CocoPoses:
    """What a document says: the people of each frame, shape (K, 17, 3) each, and the picture's size if it says that."""

    people: list[Floats]
    size: tuple[int, int] | None


def parsed(document: object, length: int | None) -> CocoPoses:
    """Read a COCO document.

    A data set ("images", "annotations") has its frames in the order of the numbers in its images' file names, or of
    "frame_id", or as "images" lists them; where it has fewer images than the clip frames, these numbers, or the ids,
    say which they are. Visibilities 0, 1, 2 become confidences 0, 0.5, 1. A list of results has the frame as
    "image_id", a number or a name with a number in it, and confidences as they are. Numbers are counted from 0 where 0
    is there, else from 1.

    Args:
        document: what the file holds.
        length: frames of the clip, where that is known; else there are as many as are named.

    Raises:
        PoseFileError: it is no such document, has more frames than the clip, or does not say which they are.
    """
    if isinstance(document, dict) and isinstance(document.get("annotations"), list):
        images = document.get("images")
        if not isinstance(images, list) or not images or not all(isinstance(image, dict) for image in images):
            raise PoseFileError("it has annotations and no images, so that nothing says which frames they are of")
        places = _places(images, length)
        place = {_hashable(image.get("id")): n for n, image in zip(places, images, strict=True)}
        if len(place) < len(images):
            raise PoseFileError("two of its images have the same id")
        rows = [(place.get(_hashable(_item(row, "image_id")), -1), row) for row in document["annotations"]]
        if any(n < 0 for n, _ in rows):
            raise PoseFileError("an annotation is of an image that is not listed")
        return CocoPoses(_people(rows, length, max(places) + 1, data_set=True), _size(images[0]))
    if isinstance(document, list) and document and all(isinstance(row, dict) for row in document):
        numbers = _frame_numbers([_item(row, "image_id") for row in document])
        first = _first(numbers, length)
        rows = [(number - first, row) for number, row in zip(numbers, document, strict=True)]
        return CocoPoses(_people(rows, length, max(numbers) - first + 1, data_set=False), None)
    raise PoseFileError("it holds no keypoints: neither vs_align's nor COCO's")


def _places(images: list[dict[str, Any]], length: int | None) -> list[int]:
    """Return the frame that each image of a data set is."""
    names = [image.get("file_name") for image in images]
    numbered = _in_names([str(name) for name in names]) if all(names) else []
    frame_ids, ids = ([image.get(key) for image in images] for key in ("frame_id", "id"))
    ordered = [*_numbering(numbered, len(images)), *_numbering(frame_ids, len(images))]
    if length is None or len(images) >= length:
        # As many as the clip has, whatever they are numbered from and by.
        numbers = ordered[0] if ordered else list(range(len(images)))
        ranks = {number: n for n, number in enumerate(sorted(numbers))}
        return [ranks[number] for number in numbers]
    for way in [*ordered, *_numbering(ids, len(images))]:
        if max(way) < length + (0 not in way):
            first = _first(way, length)
            return [number - first for number in way]
    raise PoseFileError(
        f"it has {len(images)} images, the clip {length} frames, and no file_name or id says which of them these are"
    )


def _first(numbers: list[int], length: int | None) -> int:
    """Return the number that a clip's first frame has: 0 where that is there, else 1."""
    if 0 in numbers:
        return 0
    if length is not None and max(numbers) < length:
        _log.warning("pose: COCO names neither frame 0 nor frame %d; frames are taken to be counted from 1.", length)
    return 1


def _numbering(numbers: list[Any], count: int) -> list[list[int]]:
    """Return the list in a list if it has a number for each of so many frames, else an empty one."""
    told = {number for number in numbers if type(number) is int and number >= 0}
    return [numbers] if len(numbers) == count == len(told) else []


def one_person(people: list[Floats], frame_s: float) -> Floats:
    """Return the largest person's keypoints, followed over time, shape (T, 17, 3); zeros where there is nobody.

    Args:
        people: of each frame, shape (K, 17, 3) each.
        frame_s: how long a frame lasts.

    Raises:
        PoseFileError: there is nobody in any frame.
    """
    told = [each[(each[..., 2] > 0).sum(-1) >= 2] for each in people]
    if not any(len(each) for each in told):
        raise PoseFileError("it has no person in any frame")
    boxes = [np.array([_box(points) for points in each]).reshape(-1, 5) for each in told]
    tall = [np.maximum(1.0, (each[:, 2:4] - each[:, :2]).max(-1, initial=0.0)) for each in boxes]

    def another(k: int, n: int, seconds: float) -> Floats:
        return _other_person(told[k], told[n], np.maximum.outer(tall[k], tall[n]), seconds)

    places = followed(boxes, frame_s * np.arange(len(people), dtype=np.float64), another).places
    out = np.zeros((len(people), POINTS, 3))
    for n in np.flatnonzero(places >= 0).tolist():
        out[n] = told[n][places[n]]
    return out


def _other_person(first: Floats, second: Floats, tall: Floats, seconds: float) -> Floats:
    """Return 0 where a person may well be another after some time, to 1 where they must be two, shape (K, L).

    Args:
        first, second: people, shapes (K, 17, 3) and (L, 17, 3).
        tall: how tall the taller of two is, shape (K, L).
        seconds: how much time.
    """
    steps = second[None, :, :, :2] - first[:, None, :, :2]
    both = (first[:, None, :, 2] > 0) & (second[None, :, :, 2] > 0)
    moved = (np.sqrt((steps**2).sum(-1)) * both).sum(-1) / np.maximum(1, both.sum(-1)) / tall
    far = np.maximum(moved - _NOISE, 0.0) / (_LIKELY + _FAST * seconds)
    share: Floats = np.where(both.any(-1), np.minimum(1.0, far**2), 1.0)
    return share


def _box(points: Floats) -> list[float]:
    there = points[points[:, 2] > 0]
    (left, top), (right, bottom) = there[:, :2].min(0), there[:, :2].max(0)
    return [left, top, right, bottom, 1.0]


def _people(rows: list[tuple[int, Any]], length: int | None, named: int, *, data_set: bool) -> list[Floats]:
    count = named if length is None else length
    if named > count:
        raise PoseFileError(f"it has {named} frames, the clip {count}")
    if named > _MOST_FRAMES:
        raise PoseFileError(f"it says that it has {named} frames")
    frames: list[list[Floats]] = [[] for _ in range(count)]
    for n, row in rows:
        values = row.get("keypoints")
        # Annotations of things that have no joints.
        if data_set and not values:
            continue
        frames[n].append(_points(values, data_set=data_set))
    return [np.array(each).reshape(-1, POINTS, 3) for each in frames]


def _points(values: object, *, data_set: bool) -> Floats:
    fault = PoseFileError(f"each person must have {3 * POINTS} numbers, x, y and how sure for each of {POINTS} joints")
    if not isinstance(values, list) or len(values) != 3 * POINTS:
        raise fault
    if not all(isinstance(value, int | float) and abs(value) <= FARTHEST for value in values):
        raise fault
    points = np.array(values, np.float64).reshape(POINTS, 3)
    # Some programs have results with visibilities, too.
    if (data_set or points[:, 2].max() > 1) and set(points[:, 2]) <= set(_SURE):
        points[:, 2] = [_SURE[int(v)] for v in points[:, 2]]
    if points[:, 2].min() < -OVER or points[:, 2].max() > 1 + OVER:
        raise PoseFileError("how sure a joint is must be 0 to 1")
    points[:, 2] = points[:, 2].clip(0, 1)
    return points


def _item(row: object, name: str) -> Any:
    if not isinstance(row, dict) or name not in row:
        raise PoseFileError(f"a person has no {name}")
    return row[name]


def _hashable(value: object) -> object:
    return value if isinstance(value, int | str) else repr(value)


def _frame_numbers(values: list[Any]) -> list[int]:
    """Return the number that each image_id is, or that is in its name."""
    names = sorted({value for value in values if isinstance(value, str)})
    said: dict[str, Any] = dict(zip(names, _in_names(names), strict=True))
    numbers: list[Any] = [said.get(value) if isinstance(value, str) else value for value in values]
    if not all(type(number) is int and 0 <= number < 10**_DIGITS for number in numbers):
        raise PoseFileError("an image_id is no frame number")
    return numbers


def _in_names(names: list[str]) -> list[int | None]:
    """Return the frame number in each name, None where it has no number.

    Where names differ in nothing but numbers, it is the one of them that has most values, the last one of several; so
    that neither "720p" nor a camera is taken for it. Else it is the last number before the ending.
    """
    split = [re.split(r"(\d+)", name) for name in names]
    if len(names) > 1 and len(split[0]) > 1 and len({tuple(parts[::2]) for parts in split}) == 1:
        columns = [[int(parts[k][-_DIGITS:]) for parts in split] for k in range(1, len(split[0]), 2)]
        return list(max(reversed(columns), key=lambda column: len(set(column))))
    found = [re.findall(r"\d+", re.sub(r"\.[A-Za-z]\w*$", "", name)) for name in names]
    return [int(numbers[-1][-_DIGITS:]) if numbers else None for numbers in found]


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    sides = image.get("width"), image.get("height")
    if all(isinstance(side, int) and side > 0 for side in sides):
        return int(sides[0] or 0), int(sides[1] or 0)
    return None
