"""Small reviews for the tests of the feedback store; run as a script it kills savers (see test_feedback_crash.py)."""

import json
import os
import random
import signal
import sys
import time

import numpy as np
import SimpleITK as sitk

from EnsembleReviewLib.feedback.review import Expert, Review
from EnsembleReviewLib.feedback.store import FeedbackStore

#: An oblique, anisotropic grid: rotated about two axes.
_DIRECTION = (0.8, -0.6, 0.0, 0.48, 0.64, -0.6, 0.36, 0.48, 0.8)


def on_grid(voxels, spacing=(0.9, 1.1, 3.0)):
    """An image of ``voxels`` (k, j, i) on the oblique grid."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetOrigin((-31.25, 12.5, 7.75))
    image.SetDirection(_DIRECTION)
    return image


def ball(center, radius, shape=(12, 24, 24)):
    """A mask (uint8) with a ball, in voxels."""
    k, j, i = np.indices(shape)
    inside = (k - center[0]) ** 2 * 9 + (j - center[1]) ** 2 + (i - center[2]) ** 2 <= radius**2
    return on_grid(inside.astype(np.uint8))


def review(seed=0, origin="corrected", patient="", channels=("FLAIR",), **more):
    """A review of a small case: a whole tumor with its core, two experts that answer and one that abstains."""
    rng = np.random.default_rng(seed)
    images = {channel: on_grid(rng.normal(100, 20, (12, 24, 24)).astype(np.float32)) for channel in channels}
    before = {"whole_tumour": ball((6, 12, 12), 7), "tumour_core": ball((6, 12, 12), 3)}
    after = before if origin == "accepted" else {
        "whole_tumour": ball((6, 12, 12), 8), "tumour_core": ball((6, 11, 12), 3)}
    experts = (
        Expert("alpha", "1.0", "a" * 64, {"whole_tumour": ball((6, 12, 12), 8), "tumour_core": ball((6, 12, 12), 4)},
               run_time_s=2.0),
        Expert("beta", "2.1", "b" * 64, {"whole_tumour": ball((6, 12, 13), 7)}, run_time_s=4.0),
        Expert("gamma", abstained="It needs T1c."),
    )
    return Review(origin, "reader 1", images, before, {} if origin == "rejected" else after, experts, patient,
                  **more)


def save_for_ever(folder, acknowledge):
    """Save reviews one after the other, telling the uid of each as soon as the store says that it is kept."""
    store = FeedbackStore(folder)
    seed = int.from_bytes(os.urandom(4), "big")
    while True:
        seed += 1
        record = store.add(review(seed))
        os.write(acknowledge, (record.uid + "\n").encode())


def kill_savers(folder, count):
    """Start ``count`` savers, kill each (SIGKILL) at a random moment of its first, second or third saving; returns the
    uids that were acknowledged."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # no thread pool that a fork would break
    kept, one_saving_s = _kill_one(folder, lambda stream: [stream.readline() for _ in range(4)])
    one_saving_s /= 4

    def some_savings(stream):
        # Counted, not timed: how fast a saver gets going differs from one machine to the next.
        told = [stream.readline() for _ in range(random.randrange(3))]
        time.sleep(random.uniform(0.0, one_saving_s))
        return told

    for _ in range(count - 1):
        kept += _kill_one(folder, some_savings)[0]
    return kept


def _kill_one(folder, wait):
    """Kill one saver after ``wait(its acknowledgements)``; returns all uids and the time that passed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            save_for_ever(folder, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as stream:
        started = time.monotonic()
        first = wait(stream)
        passed = time.monotonic() - started
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the saver ended by itself"
        return [uid.strip() for uid in first or []] + stream.read().split(), passed


if __name__ == "__main__":
    print(json.dumps(kill_savers(sys.argv[1], int(sys.argv[2]))))
