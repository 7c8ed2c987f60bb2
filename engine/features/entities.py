"""Whose rows those of a micro-batch are, for every group of a plan at once.

One kernel for all groups: in a small batch starting a kernel costs more than what it does.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.features.groups import GroupPlan
from engine.features.hashing import hash_words
from engine.features.jit import njit


def tables(groups: Sequence[GroupPlan]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """What `entities` takes of groups: the fields of each, `(groups, fields)`, -1 after the last, and which are of
    labels."""
    by = np.full((len(groups), max((len(group.by_rows) for group in groups), default=0)), -1, np.int64)
    for row, group in zip(by, groups, strict=True):
        row[: len(group.by_rows)] = group.by_rows
    return by, np.array([group.labels for group in groups], np.bool_)


@njit
def entities(
    strings: NDArray[np.uint64],
    labels: NDArray[np.int8],
    by: NDArray[np.int64],
    of_labels: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Entity keys of the rows of a micro-batch for each group, uint64 `(groups, n)`, and which groups have any.

    A key is 0 for what is nothing to a group: a row without one of its fields, a label row to a group of events, and to
    one of labels an event of which nobody reads a feature.

    Args:
        strings: hashes of the string fields, `(fields, n)`.
        labels: see `Columns`, `(n,)`.
        by, of_labels: what `tables` gives.
        wanted: the events whose features somebody reads, bool `(groups, n)`.
    """
    keys = np.zeros((by.shape[0], strings.shape[1]), np.uint64)
    some = np.zeros(by.shape[0], np.bool_)
    for g in range(by.shape[0]):
        fields = 0
        while fields < by.shape[1] and by[g, fields] >= 0:
            fields += 1
        words = np.zeros(fields, np.uint64)
        for i in range(strings.shape[1]):
            if not wanted[g, i] and labels[i] == 0 if of_labels[g] else labels[i] != 0:
                continue
            complete = True
            for k in range(fields):
                words[k] = strings[by[g, k], i]
                complete = complete and words[k] != 0
            if complete:
                keys[g, i] = words[0] if fields == 1 else hash_words(words)
                some[g] = True
    return keys, some
