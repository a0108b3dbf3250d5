"""The endless elements of planners."""

from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker

from sources.ticks import Ticks


def tracker(tick: int) -> RestrictionTrackerView:
    """What Beam hands to the planner that is to go on at a tick."""
    ticks = Ticks()
    restriction = OffsetRange(tick, ticks.initial_restriction(b"").stop)
    return RestrictionTrackerView(ThreadsafeRestrictionTracker(ticks.create_tracker(restriction)))
