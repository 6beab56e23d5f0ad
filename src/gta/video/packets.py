"""What a video file's packets say about its frames, without decoding any: timestamps, keyframes, order.

A file is read once, packet by packet (demuxed). From the presentation timestamps follows which packet holds frame
number i; from the keyframe flags, where decoding has to start to get it. The result is a `PacketIndex`, which the index
of a data set stores, so that the next reading of the file can go straight to the frames.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Timestamp of a packet that carries none; far below every real one.
NO_TIMESTAMP = np.iinfo(np.int64).min


@dataclass(frozen=True)
class PacketIndex:
    """The packets of a video in the order of the file (decoding order), P of them, showing N <= P frames.

    Args:
        timestamps: presentation timestamps, (P,) int64 in units of the stream's time base; `NO_TIMESTAMP` if absent.
        keyframes: (P,) bool, decoding can start here.
        discarded: (P,) bool, the packet is decoded but not shown (MP4 edit lists).
        counted_frames: number of frames that decoding the whole file gave, where its packets cannot be believed; None
            where they can. A counted file is always decoded from the beginning.
    """

    timestamps: np.ndarray
    keyframes: np.ndarray
    discarded: np.ndarray
    counted_frames: int | None = None

    @cached_property
    def order(self) -> np.ndarray:
        """Packet number of each shown frame, (N,) int64: entry i is the packet that holds frame i."""
        shown = np.flatnonzero(~self.discarded)
        return shown[np.argsort(self.timestamps[shown], kind="stable")]

    @cached_property
    def frame_timestamps(self) -> np.ndarray:
        """Timestamps in the order of presentation, (N,) int64."""
        return self.timestamps[self.order]

    @property
    def num_frames(self) -> int:
        """Frames that the video shows, as far as its packets tell (or as they were counted)."""
        return len(self.order) if self.counted_frames is None else self.counted_frames

    @cached_property
    def is_one_to_one(self) -> bool:
        """Whether packet i of the presentation order can be trusted to be frame i of sequential decoding.

        It cannot where frames had to be counted, where timestamps are missing or occur twice, where the file does not
        begin with a keyframe, or where frames precede the first keyframe in presentation (the leading pictures of a cut
        open group: decoders drop them). Such files are decoded from the beginning.
        """
        shown = self.frame_timestamps
        if self.counted_frames is not None or len(shown) == 0 or shown[0] == NO_TIMESTAMP or not self.keyframes[0]:
            return False
        leading = self.timestamps[1:] < self.timestamps[0]
        return bool((np.diff(shown) > 0).all() and not (leading & ~self.discarded[1:]).any())

    @property
    def is_in_file_order(self) -> bool:
        """Whether the times ascend with the packets although some refer to others: as if there were no B-frames."""
        return not self.keyframes.all() and bool((np.diff(self.timestamps) > 0).all())

    def is_in_order(self, reorder_depth: int) -> bool:
        """Whether the timestamps are ones that a decoder can follow when it puts frames in order.

        Damaged or invented timestamps would give a frame another number than the decoder's output does. No frame may
        be shown earlier, relative to the others, than `reorder_depth` packets before its own, and all that precedes a
        keyframe in the file is shown before it.

        Args:
            reorder_depth: packets that the decoder holds back to put frames in order; 0 for codecs without B-frames.
        """
        ranks = np.empty(len(self.timestamps), np.int64)
        ranks[np.argsort(self.timestamps, kind="stable")] = np.arange(len(ranks))
        if (np.arange(len(ranks)) - ranks > reorder_depth).any():
            return False
        keys = self.keyframe_packets[self.keyframe_packets > 0]
        return bool((np.maximum.accumulate(self.timestamps)[keys - 1] < self.timestamps[keys]).all())

    @cached_property
    def keyframe_packets(self) -> np.ndarray:
        """Packet numbers of the keyframes, ascending int64."""
        return np.flatnonzero(self.keyframes)

    def frames_between(self, start: int | None, end: int | None) -> tuple[int, int]:
        """Numbers (first, stop) of the frames shown from timestamp `start` up to but without `end`.

        A frame that begins before `start` and is still on screen then is included; the last one is taken to stay as
        long as frames do on average. None means the video's own limits.
        """
        shown = self.frame_timestamps
        stop = len(shown) if end is None else int(np.searchsorted(shown, end, side="left"))
        if start is None:
            return 0, stop
        average = (int(shown[-1]) - int(shown[0])) // max(len(shown) - 1, 1)
        if start > int(shown[-1]) + average:
            return len(shown), stop
        return max(int(np.searchsorted(shown, start, side="right")) - 1, 0), stop


@dataclass(frozen=True)
class Run:
    """Consecutive packets `first_packet .. last_packet` that are fed to the decoder to get the frames `wanted`."""

    first_packet: int
    last_packet: int
    wanted: tuple[int, ...]


def plan_runs(index: PacketIndex, frames: list[int]) -> list[Run]:
    """Plan which packets to decode for the given frames: for each, from the keyframe before it, merged where they meet.

    A frame that is shown before the keyframe which precedes it in the file (a leading picture of an open group) refers
    to the group before, so decoding starts one keyframe earlier.

    Args:
        index: the packets; it must be one to one.
        frames: numbers of the wanted frames, ascending, without repetition, each below `index.num_frames`.

    Returns:
        Runs in the order of the file, not overlapping; their `wanted` are the given frames.
    """
    keys = index.keyframe_packets
    spans: list[tuple[int, int, int]] = []
    for frame in frames:
        packet = int(index.order[frame])
        key = int(np.searchsorted(keys, packet, side="right")) - 1
        while key > 0 and index.timestamps[packet] < index.timestamps[keys[key]]:
            key -= 1
        spans.append((int(keys[key]), packet, frame))
    runs: list[Run] = []
    for first, last, frame in sorted(spans):
        if runs and first <= runs[-1].last_packet + 1:
            before = runs[-1]
            runs[-1] = Run(before.first_packet, max(before.last_packet, last), (*before.wanted, frame))
        else:
            runs.append(Run(first, last, (frame,)))
    return runs
