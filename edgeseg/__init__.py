"""edgeseg: how much of each zone each class covers, from camera to MQTT. Start reading in pipeline.py."""

__version__ = "0.1.0"
