"""Labels where teachers agree, and soft targets everywhere else: the rules, on arrays alone.

Human labels win. Elsewhere an object is one that the two Pascal teachers together call so, of the class
that the box teacher gives it; stuff is what the ADE20K teacher says where both see no object. Everything
else is VOID.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8
from edgeseg.zoo.data import VOID
from edgeseg.zoo.scenes import CLASSES, OBJECTS, STUFF, VEHICLES
from edgeseg.zoo.teachers import Answers, Box

Maps = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

SILENT = len(CLASSES)
PERSON, BICYCLE, MOTORCYCLE, CAR, BUS, TRUCK, BOAT, ANIMAL, FURNITURE = range(1, 10)
ROAD, PAVEMENT, FLOOR, GRASS, TREE, BUILDING, WALL, SKY, WATER, GROUND = range(10, 20)

OUTDOORS = (ROAD, PAVEMENT, GRASS, BUILDING, SKY)
INDOORS = (FLOOR, WALL)

SURE = 0.5
"""Least mean probability of an object, and of an object that only a box and ADE20K know."""

EMPTY = 0.6
"""Least mean probability of "no object" for stuff."""

KNOWN_STUFF = 0.4
BOXED = 0.4
"""A box of this score names a region's class, and what lies in it is not stuff."""

SEEN = 0.2
"""A box below this score says nothing."""

FOUND = 0.15
"""A box with this share of its class in it has a region."""

ALONE = (PERSON, CAR, BUS, TRUCK, BOAT)
"""What ADE20K may know by itself."""

CERTAIN = 0.85
"""A region of this mean probability in both teachers needs no box."""


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """labels: uint8 (h, w) with VOID. soft: float (classes, h, w), sums to 1. known: 0-1 (h, w), how much the
    soft target may count: 0 where the teachers contradict each other or a person.
    """

    labels: U8
    soft: Maps
    known: Maps


def agree(answers: Answers, human: U8 | None, *, whole: bool) -> Agreed:
    """Labels of one picture.

    human: labels by people, uint8 (h, w) with VOID for what they did not label, or None. whole: people
    labelled every object (COCO), so a teacher's object elsewhere is VOID; otherwise one object (the others).
    """
    height, width = answers.coral.shape[1:]
    boxed = paint(answers.boxes, height, width)
    seen = np.asarray((answers.coral + answers.espnet) / 2, np.float32)
    objects, rejected = _objects(answers, seen, boxed)
    scene = _scene(answers.scene)
    stuff = _stuff(scene, seen)
    labels: U8 = np.where(objects != VOID, objects, stuff).astype(np.uint8)
    _clear_boxes(labels, answers, rejected)
    rejected |= _one_place(labels)
    soft = _soft(seen, scene, boxed)
    known = np.where(rejected, np.float32(0), np.float32(1)).astype(np.float32)
    if human is not None:
        doubtful = _overruled(labels, human, whole=whole)
        labels[doubtful] = VOID
        known[doubtful] = 0
        labels = np.where(human != VOID, human, labels).astype(np.uint8)
    return Agreed(labels, soft, known)


def paint(boxes: list[Box], height: int, width: int) -> Maps:
    """For each class the best score of a box that covers the pixel: float (classes, h, w)."""
    painted = np.zeros((len(CLASSES), height, width), np.float32)
    for box in sorted(boxes, key=lambda one: one.score):
        # A little larger than the box: the masks of the teachers are coarse.
        slack = 0.04 * max(box.right - box.left, box.bottom - box.top) + 2
        rows = slice(max(int(box.top - slack), 0), int(box.bottom + slack) + 1)
        columns = slice(max(int(box.left - slack), 0), int(box.right + slack) + 1)
        painted[box.label, rows, columns] = box.score
    return painted


def _objects(answers: Answers, seen: Maps, boxed: Maps) -> tuple[U8, Mask]:
    """Object labels (VOID elsewhere), and regions where the Pascal teachers' class is not to be learned."""
    height, width = seen.shape[1:]
    labels = np.full((height, width), VOID, np.uint8)
    rejected = np.zeros((height, width), np.bool_)
    for member, region in _regions(seen):
        score = {label: float(boxed[label][region].mean()) for label in OBJECTS}
        # Vehicles are one class to the teachers: the box decides which.
        group = VEHICLES if member in VEHICLES else (member,)
        best = max(group, key=lambda label: score[label])
        other = max(OBJECTS, key=lambda label: score[label])
        things = float(max(boxed[0][region].mean(), boxed[FURNITURE][region].mean()))
        least = min(
            float(sum(teacher[label][region].mean() for label in group))
            for teacher in (answers.coral, answers.espnet)
        )
        if score[best] >= SEEN and score[best] >= 0.5 * score[other]:
            labels[region] = best
        elif score[other] >= BOXED:
            # The box is right more often, but then the soft target is wrong.
            labels[region] = other
            rejected |= region
        elif least >= CERTAIN and things < BOXED:
            labels[region] = member
        else:
            rejected |= region
    _alone(labels, answers, rejected)
    return labels, rejected


def _alone(labels: U8, answers: Answers, rejected: Mask) -> None:
    """Small and far people and vehicles that only a box and the ADE20K teacher know, not the Pascal ones."""
    for box in answers.boxes:
        if box.label not in ALONE or box.score < BOXED:
            continue
        part = (slice(int(box.top), int(box.bottom) + 1), slice(int(box.left), int(box.right) + 1))
        inside = labels[part]
        group = VEHICLES if box.label in VEHICLES else (box.label,)
        if not inside.size or np.isin(inside, group).mean() > FOUND:
            continue
        likely = answers.scene[list(group)].sum(axis=0)[part]
        free = (inside == VOID) & (likely > SURE)
        inside[free] = box.label
        rejected[part] &= ~free


def _regions(seen: Maps) -> list[tuple[int, Mask]]:
    """Connected regions of one object class, a class of both Pascal teachers."""
    likely = seen[list(OBJECTS)]
    vehicles = seen[list(VEHICLES)].sum(axis=0)
    winner = likely.argmax(axis=0) + OBJECTS[0]
    strength = np.where(np.isin(winner, VEHICLES), vehicles, likely.max(axis=0))
    found = []
    for label in (*(label for label in OBJECTS if label not in VEHICLES), CAR, BUS):
        mask = ((winner == label) & (strength > SURE)).astype(np.uint8)
        count, components = cv2.connectedComponents(mask)
        found += [(label, components == index) for index in range(1, count)]
    return found


def _scene(scene: Maps) -> Maps:
    """ADE20K's probabilities without objects and without "nothing": float (classes, h, w), sums to 1."""
    stuff = scene[:SILENT].copy()
    stuff[list(OBJECTS)] = 0
    total = stuff.sum(axis=0)
    return np.asarray(stuff / np.maximum(total, 1e-6), np.float32)


def _stuff(scene: Maps, seen: Maps) -> U8:
    """Stuff, furniture and other things where the Pascal teachers see no object of ours."""
    free = 1 - seen[list(OBJECTS)].sum(axis=0)
    best, winner = scene.max(axis=0), scene.argmax(axis=0)
    labels = np.where((free > EMPTY) & (best > KNOWN_STUFF), winner, VOID)
    # A chair or sofa that both Pascal teachers see, against a wall that ADE20K sees.
    for label in (0, FURNITURE, TREE):
        labels[seen[label] > SURE] = label
    return np.asarray(labels, np.uint8)


def _clear_boxes(labels: U8, answers: Answers, rejected: Mask) -> None:
    """Inside a box of an object that has no region nothing is known."""
    for box in answers.boxes:
        if box.label not in OBJECTS or box.score < BOXED:
            continue
        part = (slice(int(box.top), int(box.bottom) + 1), slice(int(box.left), int(box.right) + 1))
        inside = labels[part]
        group = VEHICLES if box.label in VEHICLES else (box.label,)
        if inside.size and np.isin(inside, group).mean() < FOUND:
            unsure = ~np.isin(inside, OBJECTS)
            inside[unsure] = VOID
            rejected[part] |= unsure


def _one_place(labels: U8) -> Mask:
    """Turn indoor stuff outdoors, and outdoor stuff indoors, into VOID; returns where that was."""
    outdoors = int(np.isin(labels, OUTDOORS).sum())
    indoors = int(np.isin(labels, INDOORS).sum())
    share = outdoors / max(outdoors + indoors, 1)
    wrong = INDOORS if share > 0.65 else OUTDOORS if share < 0.35 else ()
    mask = np.isin(labels, wrong)
    if share < 0.35:
        # A window shows the sky, also indoors.
        mask &= labels != SKY
    labels[mask] = VOID
    return mask


def _soft(seen: Maps, scene: Maps, boxed: Maps) -> Maps:
    """One distribution: objects by the Pascal teachers, vehicles split by boxes, the rest by ADE20K."""
    soft = np.zeros_like(scene)
    # Sharper: the rest is shared by many classes, and an object of two fifths would outdo each of them.
    mass = seen[list(OBJECTS)].sum(axis=0)
    sharp = mass**2 / np.maximum(mass**2 + (1 - mass) ** 2, 1e-6)
    soft[list(OBJECTS)] = seen[list(OBJECTS)] * (sharp / np.maximum(mass, 1e-6))
    scene = scene**2 / np.maximum((scene**2).sum(axis=0), 1e-6)
    mass = soft[list(VEHICLES)].sum(axis=0)
    split = 0.3 * soft[list(VEHICLES)] / np.maximum(mass, 1e-6) + boxed[list(VEHICLES)] + 1e-6
    soft[list(VEHICLES)] = mass * split / split.sum(axis=0)
    rest = scene * seen[SILENT]
    for label in (0, FURNITURE, TREE):
        rest[label] += seen[label]
    free = 1 - soft[list(OBJECTS)].sum(axis=0)
    total = rest.sum(axis=0)
    soft[list(STUFF)] = (rest * np.clip(free, 0, 1) / np.maximum(total, 1e-6))[list(STUFF)]
    return np.asarray(soft / np.maximum(soft.sum(axis=0), 1e-6), np.float32)


def _overruled(labels: U8, human: U8, *, whole: bool) -> Mask:
    """Where a teacher's object contradicts people: anywhere without a human label if they labelled all, else
    in regions that touch what people labelled (a strap, an arm that they left out).
    """
    theirs = np.isin(labels, OBJECTS) & (human == VOID)
    if whole:
        return np.asarray(theirs)
    near = cv2.dilate((human != VOID).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    doubtful = np.zeros(labels.shape, np.bool_)
    count, components = cv2.connectedComponents((np.isin(labels, OBJECTS)).astype(np.uint8))
    for index in range(1, count):
        region = components == index
        if (region & near).any():
            doubtful |= region & (human == VOID)
    # Bags and straps lie on the person's outline: a band around it says nothing.
    band = cv2.dilate((human != VOID).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return np.asarray(doubtful | (band & (human == VOID)))
