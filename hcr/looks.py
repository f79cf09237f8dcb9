"""The count of looks at test images, kept with the model's run."""

from hcr.recorded import RecordedRun, read_run
from hcr.tracking.journal import add_events

OWN = "hcr.test_looks"  # the tag that counts looks at the test images of the run's own split


def look_tag(set_digest: str | None) -> str:
    """The tag that counts looks at the images with this digest; None: the test images of the run's own split."""
    return OWN if set_digest is None else f"{OWN}.{set_digest[:12]}"


def count_look(run: RecordedRun, tag: str = OWN) -> int:
    """Count a look in the journal of `run`; call it before the look, so that one cut short counts too.

    The caller holds the run's lock.

    Returns:
        The number of looks, with this one.
    """
    assert run.folder is not None, "who holds the lock has a folder"
    looks = int(read_run(run.folder).tags.get(tag, "0")) + 1  # read again: another process may have looked since
    add_events(run.folder, [{"event": "tags", "values": {tag: str(looks)}}])
    return looks
