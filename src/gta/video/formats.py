"""Which files are opened at all: containers of media and pictures, never lists that point to other files.

FFmpeg goes by the contents of a file, not by its name. A text file called `clip.mp4` may be a list in one of its many
playlist languages (concat, HLS, DASH, SDP, ...) that names other files, or servers. So only the demuxers below may open
a file, and the only protocol is that of local files. Sound files are among them, so that a file without pictures can
be refused for what it is.
"""

from pathlib import Path

from gta.errors import VideoError

# FFmpeg's names of demuxers that read one file and nothing else, and whose files hold videos, pictures or sound. Left
# out on purpose: lists and network sessions, devices, subtitles, text and its art, SVG, formats that open neighbours
# of the file (vobsub, mlv, image2), and headerless ones that cannot be told from noise (rawvideo, pcm).
_VIDEO_DEMUXERS = (
    *("3dostr", "4xm", "amv", "anm", "apng", "apv", "asf", "asf_o", "av1", "avi", "avs", "avs2", "avs3", "bethsoftvid"),
    *("bfi", "bink", "bmv", "brender_pix", "c93", "cavsvideo", "cdxl", "cine", "dirac", "dnxhd", "dsicin", "dv", "dxa"),
    *("ea", "ea_cdata", "evc", "film_cpk", "filmstrip", "fits", "flic", "flv", "frm", "gdv", "gif", "gxf", "h261"),
    *("h263", "h264", "hevc", "hnm", "ico", "idcin", "iff", "ifv", "ingenient", "ipu", "iv8", "ivf", "jpegxl_anim"),
    *("jv", "kux", "live_flv", "lmlm4", "lvf", "lxf", "m4v", "matroska", "mgsts", "mjpeg", "mjpeg_2000", "mlp", "mm"),
    *("mods", "moflex", "mov", "mpeg", "mpegts", "mpegvideo", "mpjpeg", "mtv", "mv", "mvi", "mxf", "mxg", "nc"),
    *("nistsphere", "nsv", "nut", "nuv", "obu", "ogg", "paf", "pdv", "pmp", "psxstr", "pva", "r3d", "rl2", "rm"),
    *("roq", "rpl", "sdr2", "ser", "sga", "siff", "smjpeg", "smk", "smush", "swf", "thp", "tmv", "ty", "txd"),
    *("usm", "vc1", "vc1test", "vividas", "vivo", "vmd", "vvc", "wc3movie", "wsvqa", "wtv", "xmv", "yop"),
    "yuv4mpegpipe",
)
_PICTURE_DEMUXERS = tuple(
    f"{name}_pipe"
    for name in (
        *("bmp", "cri", "dds", "dpx", "exr", "gem", "gif", "hdr", "j2k", "jpeg", "jpegls", "jpegxl", "jpegxs", "pam"),
        *("pbm", "pcx", "pfm", "pgm", "pgmyuv", "pgx", "phm", "photocd", "pictor", "png", "ppm", "psd", "qdraw"),
        *("qoi", "sgi", "sunrast", "tiff", "vbn", "webp", "xbm", "xpm", "xwd"),
    )
)
_SOUND_DEMUXERS = (
    *("aac", "ac3", "ac4", "aiff", "amr", "ape", "au", "caf", "dsf", "dts", "eac3", "flac", "mp3", "mpc", "mpc8"),
    *("oma", "tak", "tta", "voc", "w64", "wav", "wv", "xwma"),
)
_DEMUXERS = ",".join(_VIDEO_DEMUXERS + _PICTURE_DEMUXERS + _SOUND_DEMUXERS)

# FFmpeg takes a name with `%` for the pattern of many numbered pictures if the suffix is that of a picture.
_PICTURE_FORMATS = {".gif": "gif", ".png": "png_pipe", ".apng": "apng", ".webp": "webp_pipe", ".jpg": "jpeg_pipe"}
_PATTERN_CHARACTERS = frozenset("%*?{[")
# Bytes that are looked at to tell a text file from a video.
_SNIFFED_BYTES = 512
_WEBP_ANIMATION_FLAG = 0x02


def container_options() -> dict[str, str]:
    """Options of FFmpeg's container reader that keep it to media files and to the file at hand."""
    return {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}


def location(path: Path) -> str:
    """A local path as FFmpeg takes it: what looks like a protocol in it (`take:1.mp4`) is part of the name."""
    return f"file:{path}"


def forced_format(path: Path) -> str | None:
    """The demuxer of a picture whose name FFmpeg would take for the pattern of many; None for every other file."""
    return _PICTURE_FORMATS.get(path.suffix.lower()) if _PATTERN_CHARACTERS & set(path.name) else None


def check_file(path: Path) -> None:
    """Refuse what is no video file before the decoder library looks at it.

    Raises:
        VideoError: the file is missing, a folder, a device or pipe, empty, or an animated WebP.
    """
    if not path.exists():
        raise VideoError(path, "no such file")
    if path.is_dir():
        raise VideoError(path, "this is a folder, not a video file")
    if not path.is_file():
        raise VideoError(path, "this is a device or a pipe, not a video file")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty (0 bytes)")
    head = _head(path)
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20:21] and head[20] & _WEBP_ANIMATION_FLAG:
        raise VideoError(path, "animated WebP is not supported; convert it, for example to MP4")


def explain_refusal(path: Path) -> str | None:
    """Why a file is none of the formats above, where that can be told: it is text, perhaps a list of other files."""
    head = _head(path)
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not just a character cut in two
            return None
        text = head[: error.start].decode("utf-8")
    if any(not character.isprintable() and character not in "\r\n\t\f\ufeff" for character in text):
        return None
    return "it is a text file; lists that name other files (concat, HLS, DASH, ...) are not followed"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SNIFFED_BYTES)
