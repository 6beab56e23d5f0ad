"""Decoding: the whole file from the beginning, or only the packets that the wanted frames need.

The first is the definition of "frame i". The second gives the same pixels from fewer packets; what a packet says (its
timestamp) is checked against what comes out, and any doubt sends the file to the first.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from gta.errors import VideoError
from gta.video.container import OpenedVideo, open_container
from gta.video.limits import Deadline, MismatchError
from gta.video.packets import PacketIndex, Run

# Codecs in which the decoder can leave out frames that no other frame refers to. VP9 ignores the request and AV1 loses
# other frames, so they are not asked.
_SKIPPING_CODECS = frozenset(["h264", "hevc"])
# Seeking may land on an earlier keyframe; this many packets are passed over at most to get to the right one.
_SEEK_SLACK_PACKETS = 600


def decode_in_order(path: Path, num_packets: int, seconds: float) -> Generator[VideoFrame]:
    """Decode a file from the beginning, in the order of the decoder's output: the definition of the frame numbers.

    The file is opened anew, since a decoder that was used before keeps pictures and tables from then.

    Args:
        path: the file.
        num_packets: packets to decode; those behind are not whole.
        seconds: time limit; longer files get more.

    Raises:
        VideoError: the file is damaged, or takes too long.
    """
    deadline = Deadline(path, seconds + 0.1 * num_packets)
    opened = open_container(path, seconds)
    with opened.container:
        opened.skip_other_streams()
        context = opened.stream.codec_context
        started = False
        for packet in _with_flush(opened, num_packets):
            deadline.check()
            try:
                frames = context.decode(packet)
            except FFmpegError as error:
                if not started:  # what precedes the first decodable frame does not count
                    continue
                reason = (error.strerror or type(error).__name__).lower()
                raise VideoError(path, f"it is damaged ({reason})") from error
            for frame in frames:
                started = True
                yield frame


def _with_flush(opened: OpenedVideo, num_packets: int) -> Iterator[av.Packet | None]:
    for number, packet in enumerate(opened.packets()):
        if number == num_packets:
            break
        yield packet
    yield None  # the decoder gives what it held back


class PacketReader:
    """Reads the packets of runs of a file whose index is known: from memory, by seeking, or passing over the others.

    Args:
        path: the file.
        opened: the file, opened.
        index: its packets.
        held: the packets themselves, where a scan kept them.
        seconds: time limit of opening.
    """

    def __init__(
        self, path: Path, opened: OpenedVideo, index: PacketIndex, held: list[av.Packet] | None, seconds: float
    ) -> None:
        self._path, self._opened, self._index, self._held, self._seconds = path, opened, index, held, seconds
        self._can_seek = True
        opened.skip_other_streams()

    @property
    def opened(self) -> OpenedVideo:
        """The file as it is open now."""
        return self._opened

    def close(self) -> None:
        """Close the file and forget its packets."""
        self._held = None
        self._opened.container.close()

    def read(self, runs: list[Run]) -> Iterator[tuple[Run, list[av.Packet]]]:
        """The packets of each run; the runs are in the order of the file.

        Raises:
            MismatchError: the file holds other packets than its index says.
        """
        if self._held is not None:
            for run in runs:
                yield run, self._held[run.first_packet : run.last_packet + 1]
            return
        waiting = list(runs)
        while waiting and self._can_seek:
            found = self._seek(self._timestamps(waiting[0]))
            if found is None:
                self._can_seek = False
            else:
                yield waiting.pop(0), found
        if waiting:
            yield from self._pass_over(waiting)

    def _timestamps(self, run: Run) -> np.ndarray:
        return self._index.timestamps[run.first_packet : run.last_packet + 1]

    def _seek(self, timestamps: np.ndarray) -> list[av.Packet] | None:
        """Seek to the keyframe with the first timestamp and read on; None where other packets turn up."""
        found: list[av.Packet] = []
        try:
            self._opened.container.seek(int(timestamps[0]), stream=self._opened.stream)
            for number, packet in enumerate(self._opened.packets()):
                if number > len(timestamps) + _SEEK_SLACK_PACKETS:
                    break
                if packet.pts == timestamps[len(found)]:
                    found.append(packet)
                elif found:
                    break
                if len(found) == len(timestamps):
                    return found
        except FFmpegError:  # some formats cannot seek; reading all packets will tell whether the file is damaged
            return None
        return None

    def _pass_over(self, runs: list[Run]) -> Iterator[tuple[Run, list[av.Packet]]]:
        """Read the file from the beginning, keeping only the packets of the runs, one run at a time."""
        self._opened.container.close()  # opening anew is the one rewind that every format has
        self._opened = open_container(self._path, self._seconds)
        self._opened.skip_other_streams()
        packets = enumerate(self._opened.packets())
        for run in runs:
            found: list[av.Packet] = []
            for number, packet in packets:
                if number >= run.first_packet:
                    found.append(packet)
                if number == run.last_packet:
                    break
            if [packet.pts for packet in found] != self._timestamps(run).tolist():
                raise MismatchError
            yield run, found


def decode_run(
    opened: OpenedVideo, index: PacketIndex, run: Run, packets: list[av.Packet], deadline: Deadline
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode a run and give its wanted frames with their numbers, in the order of presentation.

    Raises:
        MismatchError: another frame came out than the packets promised, or none.
        FFmpegError: the decoder gave up.
    """
    context = opened.stream.codec_context
    context.flush_buffers()
    numbers = {int(index.frame_timestamps[frame]): frame for frame in run.wanted}
    fed = slice(run.first_packet, run.last_packet + 1)
    start = int(index.timestamps[run.first_packet])
    shown = np.sort(index.timestamps[fed][~index.discarded[fed]])
    # Leading pictures of an open group come out or not, as the codec likes; all others must, in this order.
    promised = shown[shown >= start].tolist()
    expected = iter(promised)
    may_skip = opened.codec in _SKIPPING_CODECS
    missing, count = set(numbers), 0
    for packet in [*packets, None]:
        deadline.check()
        if may_skip and packet is not None:
            context.skip_frame = "DEFAULT" if packet.pts in numbers else "NONREF"
        for frame in context.decode(packet):
            if frame.pts is not None and frame.pts < start:
                continue
            count += 1
            # Searching in an iterator uses up what lies before, so frames out of order are not found.
            if frame.pts not in expected or frame.is_corrupt or (frame.width, frame.height) != opened.size:
                raise MismatchError
            if frame.pts == start and not frame.key_frame:
                raise MismatchError
            if frame.pts in missing:
                missing.remove(frame.pts)
                yield numbers[frame.pts], frame
    if missing or (count != len(promised) and not may_skip):
        raise MismatchError
