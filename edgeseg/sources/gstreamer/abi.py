"""The part of GStreamer's C interface that edgeseg uses, through ctypes.

Its functions and the layouts of its public structures have not changed since GStreamer 1.0, and will not
within 1.x; Debian's introspection data, where present, is held against these by a test. Nothing newer than
1.10 is used (Jetsons have 1.16 or 1.20).
"""

from __future__ import annotations

import ctypes
import locale
from collections.abc import Mapping
from ctypes import CDLL, POINTER, Structure, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from edgeseg.errors import SourceError

INSTALL = (
    "sudo apt-get install gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "gstreamer1.0-libav"
)

SECOND_NS = 1_000_000_000
NO_TIME = 2**64 - 1
# GstParseFlags, GstState, GstStateChangeReturn, GstMessageType, GstMapFlags.
FATAL_ERRORS = 1
STATE_NULL, STATE_PLAYING = 1, 4
STATE_CHANGE_FAILURE = 0
MESSAGE_ERROR = 2
MAP_READ = 1
# GstVideoColorRange, GstVideoColorMatrix.
RANGE_FULL = 1
MATRIX_BT709, MATRIX_SMPTE240M, MATRIX_BT2020 = 3, 5, 6


class GError(Structure):
    _fields_ = (("domain", c_uint32), ("code", c_int), ("message", c_char_p))


class GValue(Structure):
    _fields_ = (("type", c_size_t), ("data", c_uint64 * 2))


class MiniObject(Structure):
    _fields_ = (
        ("type", c_size_t),
        ("refcount", c_int),
        ("lockstate", c_int),
        ("flags", c_uint),
        ("copy", c_void_p),
        ("dispose", c_void_p),
        ("free", c_void_p),
        ("priv_uint", c_uint),
        ("priv_pointer", c_void_p),
    )


class Message(Structure):
    _fields_ = (
        ("mini_object", MiniObject),
        ("type", c_int),
        ("timestamp", c_uint64),
        ("src", c_void_p),
    )


class Buffer(Structure):
    _fields_ = (("mini_object", MiniObject), ("pool", c_void_p), ("pts", c_uint64))


class Colorimetry(Structure):
    _fields_ = (("range", c_int), ("matrix", c_int), ("transfer", c_int), ("primaries", c_int))


class VideoInfo(Structure):
    _fields_ = (
        ("finfo", c_void_p),
        ("interlace_mode", c_int),
        ("flags", c_int),
        ("width", c_int),
        ("height", c_int),
        ("size", c_size_t),
        ("views", c_int),
        ("chroma_site", c_int),
        ("colorimetry", Colorimetry),
        ("par_n", c_int),
        ("par_d", c_int),
        ("fps_n", c_int),
        ("fps_d", c_int),
        ("offset", c_size_t * 4),
        ("stride", c_int * 4),
        ("reserved", c_void_p * 4),
    )


class MapInfo(Structure):
    _fields_ = (
        ("memory", c_void_p),
        ("flags", c_int),
        ("data", c_void_p),
        ("size", c_size_t),
        ("maxsize", c_size_t),
        ("user_data", c_void_p * 4),
        ("reserved", c_void_p * 4),
    )


class VideoFrame(Structure):
    _fields_ = (
        ("info", VideoInfo),
        ("flags", c_int),
        ("buffer", c_void_p),
        ("meta", c_void_p),
        ("id", c_int),
        ("data", c_void_p * 4),
        ("map", MapInfo * 4),
        ("reserved", c_void_p * 4),
    )


_ERRORS = POINTER(POINTER(GError))
_FUNCTIONS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    # name: (what it returns, what it takes ...)
    "libglib-2.0.so.0": {"g_error_free": (None, POINTER(GError)), "g_free": (None, c_void_p)},
    "libgobject-2.0.so.0": {
        "g_type_check_instance_is_a": (c_int, c_void_p, c_size_t),
        "g_value_get_object": (c_void_p, POINTER(GValue)),
        "g_value_unset": (None, POINTER(GValue)),
    },
    "libgstreamer-1.0.so.0": {
        "gst_init_check": (c_int, c_void_p, c_void_p, _ERRORS),
        "gst_parse_launch_full": (c_void_p, c_char_p, c_void_p, c_int, _ERRORS),
        "gst_element_factory_find": (c_void_p, c_char_p),
        "gst_bin_get_type": (c_size_t,),
        "gst_bin_iterate_sinks": (c_void_p, c_void_p),
        "gst_iterator_next": (c_int, c_void_p, POINTER(GValue)),
        "gst_iterator_free": (None, c_void_p),
        "gst_element_set_state": (c_int, c_void_p, c_int),
        "gst_element_get_bus": (c_void_p, c_void_p),
        "gst_bus_timed_pop_filtered": (c_void_p, c_void_p, c_uint64, c_int),
        "gst_message_parse_error": (None, c_void_p, _ERRORS, POINTER(c_void_p)),
        "gst_object_get_name": (c_void_p, c_void_p),
        "gst_object_ref": (c_void_p, c_void_p),
        "gst_object_unref": (None, c_void_p),
        "gst_mini_object_unref": (None, c_void_p),
        "gst_caps_from_string": (c_void_p, c_char_p),
        "gst_sample_get_buffer": (c_void_p, c_void_p),
        "gst_sample_get_caps": (c_void_p, c_void_p),
        "gst_core_error_quark": (c_uint32,),
        "gst_resource_error_quark": (c_uint32,),
        "gst_stream_error_quark": (c_uint32,),
        "gst_parse_error_quark": (c_uint32,),
    },
    "libgstapp-1.0.so.0": {
        "gst_app_sink_get_type": (c_size_t,),
        "gst_app_sink_set_caps": (None, c_void_p, c_void_p),
        "gst_app_sink_set_max_buffers": (None, c_void_p, c_uint),
        "gst_app_sink_set_drop": (None, c_void_p, c_int),
        "gst_app_sink_try_pull_sample": (c_void_p, c_void_p, c_uint64),
        "gst_app_sink_is_eos": (c_int, c_void_p),
    },
    "libgstvideo-1.0.so.0": {
        "gst_video_info_from_caps": (c_int, POINTER(VideoInfo), c_void_p),
        "gst_video_frame_map": (c_int, POINTER(VideoFrame), POINTER(VideoInfo), c_void_p, c_int),
        "gst_video_frame_unmap": (None, POINTER(VideoFrame)),
    },
}


@lru_cache(maxsize=1)
def load() -> Any:
    """Every function above as an attribute, GStreamer initialised. Raises SourceError where it is missing.

    Once per process, and in it for good: GStreamer cannot be unloaded.
    """
    functions = SimpleNamespace()
    try:
        for library, prototypes in _FUNCTIONS.items():
            loaded = CDLL(library)
            for name, (returns, *takes) in prototypes.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = returns, takes
                setattr(functions, name, function)
    except (OSError, AttributeError) as error:
        raise SourceError("not_found", f"GStreamer is not installed ({error}); {INSTALL}") from None
    # It would make the whole process speak the user's language, decimal comma and all.
    before = locale.setlocale(locale.LC_ALL)
    problem = POINTER(GError)()
    done = functions.gst_init_check(None, None, ctypes.byref(problem))
    locale.setlocale(locale.LC_ALL, before)
    if not done:
        raise SourceError("not_found", "GStreamer does not start; reinstall it: " + INSTALL)
    return functions
