"""kill -9 while reviews are saved: what was acknowledged is there, and all that is there is whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from EnsembleReviewLib.feedback.store import FeedbackStore

_KILLS = 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killing_the_saver_at_fifty_random_moments_loses_and_tears_nothing(tmp_path):
    script = Path(__file__).with_name("feedback_cases.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path / "store"), str(_KILLS)],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    acknowledged = json.loads(done.stdout)
    store = FeedbackStore(tmp_path / "store")
    records = store.records()
    assert set(acknowledged) <= {record.uid for record in records}, "a record was lost"
    assert len(records) <= len(acknowledged) + _KILLS, "a record was saved twice"
    assert len(acknowledged) > 20, "the savers were killed before they had saved anything"
    for record in records:  # reading checks the content against the hash
        assert len(record.experts) == 3 and len(record.experts[0].agreement) == 2
        assert set(store.before(record)) == set(store.after(record)) == {"whole_tumour", "tumour_core"}
        assert store.images.get(record.images[0].sha256).GetSize() == (24, 24, 12)
    left = list(store.folder.glob("*/aside/*"))
    print(f"\n{_KILLS} kills: {len(acknowledged)} acknowledged, {len(records)} records, {len(left)} files left aside")
    for path in left:
        os.utime(path, (0, 0))
    FeedbackStore(store.folder)
    assert not list(store.folder.glob("*/aside/*")), "what was left aside stays for ever"
