"""Reading all packets of a video once: what they say about its frames, and whether they can be believed.

Frames can be planned from packets only where it is certain that packet number i of the presentation order holds frame i
of sequential decoding. That needs a container that stores when each frame is shown, a codec that gives one frame for
each packet, and packets whose order agrees with the codec's. AVI stores no times, MPEG-4 part 2 (Xvid, DivX) packs two
frames into one packet, GIF draws over the frame before: such files are read sequentially.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

from gta.errors import VideoError
from gta.video.container import OpenedVideo
from gta.video.limits import Deadline
from gta.video.packets import NO_TIMESTAMP, PacketIndex

# Looking at the clock for every packet would take as long as reading it.
_PACKETS_PER_CHECK = 256
# A file may end this much before the duration in its header without counting as truncated.
_TRUNCATION_SECONDS = 0.5
# Payload of the video's packets that is kept from the scan for the reading: all of an ordinary clip, so that it is read
# from the disk once. Of a larger file nothing is kept.
_HELD_BYTES = 16 << 20
# Containers that store when each frame is shown.
_TIMED_CONTAINERS = frozenset(["mp4", "matroska", "mpegts", "flv"])
# Codecs whose frames refer to others, but whose packets hold one shown frame each, and whose decoder can start at any
# packet that is marked as a keyframe. Codecs without references need no list.
_PLANNABLE_CODECS = frozenset(["h264", "hevc", "vp8", "vp9", "av1"])
# Values of AVFieldOrder (unknown, progressive); in interlaced video two packets may hold the fields of one frame.
_WHOLE_PICTURES = (0, 1)


Trust = Literal["full", "after a check", "none"]


@dataclass(frozen=True)
class Scan:
    """What reading all packets of a file gave.

    Args:
        index: what they say about the frames.
        trust: whether frame numbers can be taken from `index`: with certainty, only if decoding the file once gives
            frames with the same times, or not at all.
        packets: the packets themselves, where they are few bytes.
    """

    index: PacketIndex
    trust: Trust
    packets: list[av.Packet] | None


def scan_packets(path: Path, opened: OpenedVideo, seconds: float) -> Scan:
    """Read all packets of a freshly opened file and check that the file is whole.

    Raises:
        VideoError: the file is damaged, truncated, holds no frames, or takes too long.
    """
    deadline = Deadline(path, seconds)
    is_matroska = "matroska" in opened.format
    if not is_matroska:  # there, the end of the sound tells that the file is whole, too
        opened.skip_other_streams()
    is_hidden = _HIDDEN.get(opened.codec)
    stream_index = opened.stream.index
    rows: list[tuple[int, bool, bool]] = []
    held: list[av.Packet] = []
    held_bytes = 0
    ends: dict[int, int] = {}  # per stream, in its own time base: fractions would cost more than the reading
    doubtful = is_cut = False
    for number, packet in enumerate(opened.packets(all_streams=is_matroska)):
        if number % _PACKETS_PER_CHECK == 0:
            deadline.check()
        pts = packet.pts
        if is_matroska:
            source = packet.stream_index
            if pts is not None:
                ends[source] = max(ends.get(source, 0), pts + (packet.duration or 0))
            if source != stream_index:
                continue
        is_cut, is_key = packet.is_corrupt, packet.is_keyframe
        if is_cut or (is_key and packet.has_sidedata("new_extradata")):
            doubtful = True
        is_discarded = packet.is_discard or (is_hidden is not None and is_hidden(packet))
        rows.append((NO_TIMESTAMP if pts is None else pts, is_key, is_discarded))
        held_bytes += packet.size
        if held_bytes <= _HELD_BYTES:
            held.append(packet)
        else:
            held.clear()
    if is_cut and opened.stream.frames > len(rows):  # cut within the last packet: what is left gives no frame
        rows.pop()
        held = held[: len(rows)]
    if not rows:
        raise VideoError(path, "it holds no frames")
    _check_whole(path, opened, len(rows), ends)
    index = _index(rows)
    return Scan(index, "none" if doubtful else _trust(opened, index), held or None)


def _index(rows: list[tuple[int, bool, bool]]) -> PacketIndex:
    timestamps, keyframes, discarded = zip(*rows, strict=True)
    return PacketIndex(np.array(timestamps, np.int64), np.array(keyframes, np.bool_), np.array(discarded, np.bool_))


def _check_whole(path: Path, opened: OpenedVideo, num_packets: int, ends: dict[int, int]) -> None:
    """Refuse a file whose header promises more than its packets hold, or warn where the header only estimates."""
    container, stream = opened.container, opened.stream
    if "mp4" in opened.format:  # the sample table says exactly how many
        promised = len(stream.index_entries)
        if promised > num_packets:
            raise VideoError(path, f"it is truncated: {num_packets} of {promised} frames are left")
    elif stream.frames - num_packets > max(2, stream.frames // 50):  # AVI counts dropped frames, too
        message = f"{path}: its header counts {stream.frames} frames, {num_packets} are left and read"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    bases = {source.index: source.time_base or Fraction(0) for source in container.streams}
    end_seconds = max((float(end * bases[source]) for source, end in ends.items()), default=0.0)
    duration = (container.duration or 0) / av.time_base
    if "matroska" in opened.format and end_seconds < duration - _TRUNCATION_SECONDS:
        raise VideoError(path, f"it is truncated: it ends after {end_seconds:.1f} s of {duration:.1f} s")


def _trust(opened: OpenedVideo, index: PacketIndex) -> Trust:
    context = opened.stream.codec_context
    if not index.is_one_to_one:
        return "none"
    if context.codec.intra_only:
        return "full" if index.is_in_order(0) else "none"
    depth = context.reorder_depth if context.codec.reorder else 0
    if (
        opened.codec not in _PLANNABLE_CODECS
        or opened.format.isdisjoint(_TIMED_CONTAINERS)
        or context.field_order not in _WHOLE_PICTURES
        or not index.is_in_order(depth)
    ):
        return "none"
    # The decoder expects B-frames, the times know of none: either there are none, or the times were made up.
    return "after a check" if depth and index.is_in_file_order else "full"


def _is_hidden_vp8(packet: av.Packet) -> bool:
    """Whether a VP8 packet holds a frame that is only referred to (RFC 6386, section 9.1: the bit `show_frame`)."""
    return not memoryview(packet)[0] & 0x10


def _is_hidden_vp9(packet: av.Packet) -> bool:
    """Whether a VP9 packet holds nothing but a frame that is only referred to (VP9 bitstream, section 6.2)."""
    data = memoryview(packet)
    if data[-1] & 0xE0 == 0xC0:  # a superframe: hidden frames together with a shown one
        return False
    header = data[0] << 8 | (data[1] if len(data) > 1 else 0)
    has_profile_3 = header & 0x3000 == 0x3000
    flags = header >> (8 if has_profile_3 else 9)
    shows_existing, shows = flags >> 2 & 1, flags & 1
    return not (shows_existing or shows)


_HIDDEN: dict[str, Callable[[av.Packet], bool]] = {"vp8": _is_hidden_vp8, "vp9": _is_hidden_vp9}
