"""The commands of ``edgeseg``, one file each."""
