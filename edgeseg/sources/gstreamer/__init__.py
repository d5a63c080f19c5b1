"""GStreamer sources: launch lines, CSI cameras, hardware decoders of boards."""
