"""Commands: the subcommands of ``edgeseg``, one file or folder each."""
